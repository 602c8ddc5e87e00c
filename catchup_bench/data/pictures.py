"""Image files as pixels: opened, shrunk and cropped one by one; a whole test set decoded once and kept on the disk.

Pillow shrinks (bilinear, with its low-pass filter), through torchvision's functions, so that an image has the same
bytes on every machine.
"""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from .. import cache
from ..errors import UsageError
from ..hardware import workers
from .images import Files, Images

Pixels = npt.NDArray[np.uint8]
View = Callable[[Any, int], Pixels]
"""(Pillow image, size) → size×size×3."""
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
"""What is decoded, whatever a file is called: Pillow would hand others to programs, as EPS to Ghostscript."""


def opened(path: Path) -> Any:
    """The picture in ``path`` as a Pillow image in RGB. Raises :class:`UsageError` when it cannot be decoded, or has
    more than Pillow's ``MAX_IMAGE_PIXELS`` (89 million)."""
    from PIL import Image

    with decoding(f"the image {path}"), Image.open(path, formats=FORMATS) as picture:
        return picture.convert("RGB")


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Whatever Pillow raises, as one :class:`UsageError` naming ``what``; its warning of decompression bombs, too."""
    from PIL import Image, UnidentifiedImageError

    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        yield
    except Exception as err:  # damaged bytes raise many kinds
        known = "it is no image" if isinstance(err, UnidentifiedImageError) else getattr(err, "strerror", None)
        reason = known or str(err) or type(err).__name__
        raise UsageError(f"cannot read {what}: {reason.splitlines()[0]}") from None


def shrunk(picture: Any, size: int) -> Any:
    """The shorter side at 8/7 of ``size``: 256 pixels for 224."""
    from torchvision.transforms.v2 import functional as F

    return F.resize(picture, [size * 8 // 7])


def centre(picture: Any, size: int) -> Pixels:
    """How test images are shown: shorter side at 256, the middle 224×224 of it."""
    from torchvision.transforms.v2 import functional as F

    return np.asarray(F.center_crop(shrunk(picture, size), [size, size]))


def stretched(picture: Any, size: int) -> Pixels:
    """Return the whole picture at size×size pixels, its shape changed."""
    from torchvision.transforms.v2 import functional as F

    return np.asarray(F.resize(picture, [size, size]))


def whole(picture: Any, size: int) -> Pixels:
    """An image that has the right size already."""
    if picture.size != (size, size):
        raise UsageError(f"it has {picture.width}×{picture.height} pixels, where all must have {size}×{size}")
    return np.asarray(picture)


def decoded(files: Files, view: View = centre) -> Images:
    """All images of ``files`` in memory that the disk backs: decoded the first time, mapped after.

    Raises :class:`UsageError` naming the first image that cannot be read; nothing is kept then.
    """
    key = ("pictures-1", view.__name__, files.size, files.names.tobytes(), files.stat.numpy().tobytes())
    shape = (len(files), files.size, files.size, 3)
    array = cache.mapped(key, shape, lambda f: _write(files, view, f))
    return Images(torch.from_numpy(array), files.y, files.index)


def each(files: Files, view: View) -> Iterator[Pixels]:
    """The images in order, a few at a time in several threads: decoding leaves Python's lock alone."""

    def one(row: int) -> Pixels:
        path = files.path(row)
        picture = opened(path)
        try:
            return view(picture, files.size)
        except UsageError as err:
            raise UsageError(f"cannot use the image {path}: {err}") from None

    with ThreadPoolExecutor(max(1, workers())) as pool:
        for start in range(0, len(files), 256):
            yield from pool.map(one, range(start, min(start + 256, len(files))))


def sizes(files: Files) -> torch.Tensor:
    """Return width and height of every picture in pixels, float32 N×2, from the beginnings of the files. Raises
    :class:`UsageError` for one that is no picture."""
    from PIL import Image

    found = []
    for row in range(len(files)):
        path = files.path(row)
        with decoding(f"the image {path}"), Image.open(path, formats=FORMATS) as picture:
            found.append(picture.size)
    return torch.tensor(found, dtype=torch.float32)


def _write(files: Files, view: View, out: BinaryIO) -> None:
    for pixels in each(files, view):
        out.write(pixels.tobytes())
