"""The frost pictures: the five published ones, or a procedural stand-in."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal
from urllib.request import urlopen

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import RunFailed, UsageError
from ..seeds import stream
from ..system.files import write_atomic
from .severity import tables

Bytes = npt.NDArray[np.uint8]

Ints = npt.NDArray[np.int64]

Source = Literal["published", "procedural"]

FIX = 2048  # one, in OpenCV's resize

URL = "https://raw.githubusercontent.com/hendrycks/robustness/master/ImageNet-C/create_c/"

# Height and width of the published pictures; mean and deviation of their red, green and blue, measured.
STATISTICS = (
    ((600, 900), (78, 149, 166), (27, 16, 15)),
    ((315, 560), (201, 205, 214), (21, 22, 23)),
    ((315, 560), (201, 205, 214), (21, 22, 23)),
    ((350, 527), (138, 153, 165), (28, 28, 30)),
    ((495, 660), (112, 123, 135), (44, 43, 42)),
)


@dataclass(frozen=True, eq=False)
class Textures:
    """Five RGB pictures (h, w, 3)."""

    pictures: tuple[Bytes, ...]
    source: Source


def load(folder: Path | str) -> Textures:
    """The published pictures from ``folder``, each checked against its SHA-256."""
    return Textures(tuple(_decode(_checked(Path(folder) / name)) for name in _digests()), "published")


def fetch(folder: Path | str, url: str = URL, opener: Callable[[str], IO[bytes]] = urlopen) -> None:
    """Download the pictures that ``folder`` lacks; a file appears there only whole and with the right SHA-256."""
    for name, digest in _digests().items():
        path = Path(folder) / name
        if path.exists():
            continue
        try:
            with opener(url + name) as response:
                content = response.read()
        except OSError as err:
            raise RunFailed(f"cannot download {url}{name}: {err}") from err
        _check(content, digest, url + name)
        write_atomic(path, lambda p, content=content: p.write_bytes(content))  # type: ignore[misc]


@lru_cache(maxsize=1)
def procedural() -> Textures:
    """A stand-in of the published sizes, colours and contrasts: ridges of two noises with a 1/f spectrum."""
    return Textures(tuple(_ridges(k, *statistics) for k, statistics in enumerate(STATISTICS)), "procedural")


def crops(textures: Textures, scale: float, height: int, width: int, chance: Tensor) -> Tensor:
    """(n, height, width, 3) bytes: picture and corner from ``chance`` (n, 3), uniform on [0, 1).

    The last possible corner is never taken: the published draw excludes it.
    """
    bank, shapes, starts = _bank(textures, scale, height, width, chance.device)
    picture = (chance[:, 0] * len(shapes)).long()
    room = shapes[picture] - torch.tensor([height, width], device=chance.device)
    corner = (chance[:, 1:] * room).long()
    rows = corner[:, :1] + torch.arange(height, device=chance.device)
    first = starts[picture][:, None] + (rows * shapes[picture, 1:] + corner[:, 1:]) * 3
    runs = bank.unfold(0, width * 3, 1)
    return runs.index_select(0, first.view(-1)).view(-1, height, width, 3)


@lru_cache(maxsize=8)
def _bank(
    textures: Textures, scale: float, height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """All pictures, shrunk, end to end; their (height, width); where each starts."""
    shrunk = [shrink(picture, _room(picture, scale, height, width)) for picture in textures.pictures]
    starts = np.cumsum([0, *(s.size for s in shrunk)])[:-1]
    flat = np.concatenate([s.ravel() for s in shrunk])
    shapes = np.array([s.shape[:2] for s in shrunk])
    return tuple(torch.from_numpy(a).to(device) for a in (flat, shapes, starts))  # type: ignore[return-value]


def _room(picture: Bytes, scale: float, height: int, width: int) -> float:
    """``scale``, or more where the shrunk picture would not exceed the image in both directions."""
    return max(scale, (height + 1) / picture.shape[0], (width + 1) / picture.shape[1])


def shrink(picture: Bytes, scale: float) -> Bytes:
    """Plain bilinear sampling at pixel centres, without a low-pass filter, in the fixed point of OpenCV's resize."""
    left, right, part = _between(picture.shape[1], scale)
    wide = picture.astype(np.int64)
    rows = wide[:, left] * (FIX - part)[:, None] + wide[:, right] * part[:, None]
    upper, lower, part = _between(picture.shape[0], scale)
    part = part[:, None, None]
    total = ((rows[upper] >> 4) * (FIX - part) >> 16) + ((rows[lower] >> 4) * part >> 16)
    return (total + 2 >> 2).astype(np.uint8)


def _between(size: int, scale: float) -> tuple[Ints, Ints, Ints]:
    """The two source positions of each position of the shrunk axis, and the second one's weight out of ``FIX``."""
    at = np.clip((np.arange(round(size * scale)) + 0.5) / scale - 0.5, 0, size - 1).astype(np.float32)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, size - 1), np.rint((at - low) * FIX).astype(np.int64)


def _digests() -> dict[str, str]:
    return dict(tables()["frost_sha256"])


def _checked(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"frost picture {path.name} is not in {path.parent}; textures.fetch downloads it")
    content = path.read_bytes()
    _check(content, _digests()[path.name], str(path))
    return content


def _check(content: bytes, digest: str, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise UsageError(f"{where} is not the published frost picture: SHA-256 {found}, expected {digest}")


def _decode(content: bytes) -> Bytes:
    from PIL import Image

    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))  # transparency is dropped, as published


def _ridges(k: int, shape: tuple[int, int], mean: tuple[int, ...], deviation: tuple[int, ...]) -> Bytes:
    generator = stream("frost-texture-v1", k)
    crystals = -np.abs(_cloud(generator, shape, 1.2)) + 0.6 * _cloud(generator, shape, 1.6)
    crystals = (crystals - crystals.mean()) / crystals.std()
    picture = np.array(mean) + crystals[..., None] * np.array(deviation)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _cloud(generator: np.random.Generator, shape: tuple[int, int], slope: float) -> npt.NDArray[Any]:
    """Unit-variance noise whose amplitude falls with frequency to the power ``slope``."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(generator.standard_normal(shape)) / frequency**slope, s=shape)
    return field / field.std()
