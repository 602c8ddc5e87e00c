"""AugMix's operations written with Pillow, one image at a time: the independent computation of the tests."""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor


def to_pil(u: Tensor) -> Image.Image:
    """A uint8 3×H×W tensor as a picture."""
    return Image.fromarray(u.permute(1, 2, 0).contiguous().numpy())


def to_tensor(picture: Image.Image) -> Tensor:
    """The picture as uint8 3×H×W."""
    return (
        torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(*picture.size[::-1], 3).permute(2, 0, 1)
    )


def shear(picture: Image.Image, x: float = 0.0, y: float = 0.0, right: float = 0.0, down: float = 0.0) -> Image.Image:
    matrix = (1, x, right, y, 1, down)
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)


OPS: list[Callable[[Image.Image, float, float], Image.Image]] = [
    lambda p, level, s: ImageEnhance.Color(p).enhance(level * 1.8 / 10 + 0.1),
    lambda p, level, s: ImageEnhance.Contrast(p).enhance(level * 1.8 / 10 + 0.1),
    lambda p, level, s: ImageEnhance.Brightness(p).enhance(level * 1.8 / 10 + 0.1),
    lambda p, level, s: ImageEnhance.Sharpness(p).enhance(level * 1.8 / 10 + 0.1),
    lambda p, level, s: ImageOps.autocontrast(p),
    lambda p, level, s: ImageOps.equalize(p),
    lambda p, level, s: ImageOps.posterize(p, 4 - int(level * 4 / 10)),
    lambda p, level, s: p.rotate(s * int(level * 30 / 10), resample=Image.Resampling.BILINEAR),
    lambda p, level, s: ImageOps.solarize(p, 256 - int(level * 256 / 10)),
    lambda p, level, s: shear(p, x=s * (level * 0.3 / 10)),
    lambda p, level, s: shear(p, y=s * (level * 0.3 / 10)),
    lambda p, level, s: shear(p, right=s * int(level * (p.size[0] / 3) / 10)),
    lambda p, level, s: shear(p, down=s * int(level * (p.size[1] / 3) / 10)),
    lambda p, level, s: ImageOps.mirror(p),
    lambda p, level, s: ImageOps.invert(p),
]
"""By the number of the operation: what it makes of a picture at a level out of 10, with a sign (1 or -1)."""


def apply(u: Tensor, kind: int, level: float, sign: float) -> Tensor:
    """A uint8 3×H×W image after operation ``kind``; -1 is none."""
    return u if kind < 0 else to_tensor(OPS[kind](to_pil(u), level, sign))


def pictures(height: int, width: int, seed: int = 0) -> Tensor:
    """uint8 images of several sorts: noise, smooth, dark, a few levels, constant, two colours."""
    gen = torch.Generator().manual_seed(seed)
    noise = torch.randint(256, (3, height, width), generator=gen)
    y, x = torch.arange(height)[:, None] / height, torch.arange(width) / width
    smooth = torch.stack([127.5 + 127.5 * torch.sin(a * x + b * y) for a, b in ((3, 1), (1, 5), (4, 2))]).long()
    two = torch.where(noise > 200, 250, 3)
    sorts: list[Any] = [noise, smooth, noise // 5 + 30, noise // 64 * 60, torch.full_like(noise, 77), two, smooth // 9]
    return torch.stack(sorts).to(torch.uint8)
