"""Decode image files: they are shrunk and cropped one by one; a whole test set decoded once and kept on the disk.

One rule for every reader, whatever a dataset's layout: :func:`as_rgb`.

Pillow shrinks (bilinear, with its low-pass filter), through torchvision's functions, so that an image has the same
bytes on every machine.
"""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from ..errors import UsageError
from ..system import cache as cache_on_disk
from ..system.hardware import decoding_workers
from .faults import counted
from .images import Files, Images

Pixels = npt.NDArray[np.uint8]

View = Callable[[Any, int], Pixels]
"""(Pillow image, size) → size×size×3."""

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP", "AVIF")
"""What is decoded, whatever a file is called: Pillow would hand others to programs, as EPS to Ghostscript."""
BACKGROUND = (255, 255, 255)
"""White, on which browsers and viewers show what is transparent."""


@cache
def endings() -> frozenset[str]:
    """Return the file name endings of :data:`FORMATS`, in lower case."""
    from PIL import Image

    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in FORMATS)


def open_picture(file: Path | BinaryIO, name: str = "", upright: bool = False) -> Any:
    """Return the picture in ``file``, of several frames the first, as a Pillow image in RGB.

    ``name`` stands for the file in errors. ``upright`` turns it as its EXIF orientation says, which torchvision's
    readers, and with them the published results on the official datasets, leave alone. Raises :class:`UsageError`
    when it cannot be decoded, when its pixels have no stated range, and when it has more than Pillow's
    ``MAX_IMAGE_PIXELS`` (89 million).
    """
    from PIL import Image, ImageOps

    with decoding(name or f"the image {file}"), Image.open(file, formats=FORMATS) as picture:
        if upright:
            ImageOps.exif_transpose(picture, in_place=True)
        return as_rgb(picture)


def as_rgb(picture: Any) -> Any:
    """Return a Pillow image of any mode in 8-bit RGB, what is transparent shown on :data:`BACKGROUND`.

    Integers of 9 to 16 bits are scaled by their whole range, so that black and white stay what they are. Raises
    ``ValueError`` for floating-point and 32-bit pixels: no range is stated for them.
    """
    from PIL import Image

    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        return _of_16_bits(picture)
    if picture.mode in ("I", "F"):
        kind = "floating-point" if picture.mode == "F" else "32-bit"
        raise ValueError(f"its pixels are {kind} numbers, whose black and white are not stated: save 8 or 16 bits")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, BACKGROUND)
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")


def _of_16_bits(picture: Any) -> Any:
    from PIL import Image

    bits = max(getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,)))
    values = np.asarray(picture).astype(np.int64)
    grey = (values * 255 + (2**bits - 1) // 2) // (2**bits - 1)
    if (clear := picture.info.get("transparency")) is not None:
        grey[values == clear] = BACKGROUND[0]
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


BITS_PER_SAMPLE = 258
"""The tag of TIFF: Pillow gives 12-bit files the mode of 16-bit ones."""


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Raise one :class:`UsageError` naming ``what`` for whatever Pillow raises, its warning of decompression bombs
    included."""
    from PIL import Image, UnidentifiedImageError

    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        yield
    except UsageError:
        raise
    except Exception as err:  # damaged bytes raise many kinds
        known = "it is no image" if isinstance(err, UnidentifiedImageError) else getattr(err, "strerror", None)
        reason = known or str(err) or type(err).__name__
        raise UsageError(f"cannot read {what}: {reason.splitlines()[0]}") from None


def shrunk(picture: Any, size: int) -> Any:
    """Resize the shorter side to 8/7 of ``size``: 256 pixels for 224. Raises :class:`UsageError` for a strip so narrow
    that it would grow beyond what :func:`open_picture` lets in."""
    from PIL import Image
    from torchvision.transforms.v2 import functional as F

    short, long = sorted(picture.size)
    side = size * 8 // 7
    if long * side * side > (Image.MAX_IMAGE_PIXELS or long * side * side) * short:
        raise UsageError(f"its {picture.width}×{picture.height} pixels are too narrow to be shown at {size}×{size}")
    return F.resize(picture, [size * 8 // 7])


def centre(picture: Any, size: int) -> Pixels:
    """Crop a test image: the middle 224×224 after resizing the shorter side to 256."""
    from torchvision.transforms.v2 import functional as F

    return np.asarray(F.center_crop(shrunk(picture, size), [size, size]))


def stretched(picture: Any, size: int) -> Pixels:
    """Return the whole picture at size×size pixels, its shape changed."""
    from torchvision.transforms.v2 import functional as F

    return np.asarray(F.resize(picture, [size, size]))


def sizes(files: Files) -> torch.Tensor:
    """Return width and height of every picture in pixels, float32 N×2, from the beginnings of the files. Raises
    :class:`UsageError` for one that is no picture."""
    from PIL import Image

    pairs = []
    for row in range(len(files)):
        path = files.path(row)
        with decoding(f"the image {path}"), Image.open(path, formats=FORMATS) as picture:
            pairs.append(picture.size)
    return torch.tensor(pairs, dtype=torch.float32)


def whole(picture: Any, size: int) -> Pixels:
    """Return an image that has the right size already."""
    if picture.size != (size, size):
        raise UsageError(f"it has {picture.width}×{picture.height} pixels, where all must have {size}×{size}")
    return np.asarray(picture)


def decoded(files: Files, view: View = centre) -> Images:
    """Return all images of ``files`` in memory that the disk backs: decoded the first time, mapped after.

    Raises :class:`UsageError` naming the first image that cannot be read, and how many; nothing is kept then.
    """
    rule = ("upright",) if files.upright else ()
    key = ("pictures-2", view.__name__, files.size, *rule, files.names.tobytes(), files.stat.numpy().tobytes())
    shape = (len(files), files.size, files.size, 3)
    array = cache_on_disk.mapped(key, shape, lambda f: _write(files, view, f))
    return Images(torch.from_numpy(array), files.y, files.index)


def each(files: Files, view: View) -> Iterator[Pixels]:
    """Yield the images in order, a few at a time in several threads: decoding leaves Python's lock alone.

    Raises as :func:`decoded`, once all have been tried.
    """

    def one(row: int) -> Pixels | UsageError:
        path = files.path(row)
        try:
            picture = open_picture(path, upright=files.upright)
        except UsageError as err:
            return err
        try:
            return view(picture, files.size)
        except UsageError as err:
            return UsageError(f"cannot use the image {path}: {err}")

    faults: list[str] = []
    with ThreadPoolExecutor(max(1, decoding_workers())) as pool:
        for start in range(0, len(files), 256):
            for pixels in pool.map(one, range(start, min(start + 256, len(files)))):
                if isinstance(pixels, UsageError):
                    faults.append(str(pixels))
                elif not faults:
                    yield pixels
    if faults:
        raise UsageError(counted(faults, len(files), "images"))


def _write(files: Files, view: View, out: BinaryIO) -> None:
    for pixels in each(files, view):
        out.write(pixels.tobytes())
