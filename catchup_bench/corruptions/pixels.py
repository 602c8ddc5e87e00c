"""Bytes to numbers and back, and borders.

Everything the corruptions do to a pixel is plain IEEE arithmetic, one operation at a time and without fused
multiply-add, so that a result depends neither on the batch around an image nor on the device.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BORDERS = {"nearest": "edge", "mirror": "reflect", "reflect": "symmetric"}  # SciPy's names -> numpy.pad's


def unit(x: Tensor) -> Tensor:
    """Bytes to float64 in [0, 1]."""
    return x.double().div_(255)


def to_bytes(y: Tensor) -> Tensor:
    """Numbers meant for [0, 1] to bytes: clip, scale, truncate. Overwrites ``y``."""
    return y.clamp_(0, 1).mul_(255).int().to(torch.uint8)


def border_indices(size: int, before: int, after: int, border: str) -> npt.NDArray[np.int64]:
    """Source positions of an axis of ``size`` with ``before`` and ``after`` more positions at its ends."""
    return np.pad(np.arange(size), (before, after), mode=BORDERS[border])  # type: ignore[call-overload]


@cache
def _padding(height: int, width: int, radius: int, border: str, device: torch.device) -> Tensor:
    rows, columns = (border_indices(size, radius, radius, border) for size in (height, width))
    return torch.from_numpy((rows[:, None] * width + columns).reshape(-1)).to(device)


def pad(x: Tensor, radius: int, border: str = "nearest") -> Tensor:
    """(n, H, W, C) with ``radius`` more pixels on each side."""
    n, height, width, channels = x.shape
    if radius == 0:
        return x
    source = _padding(height, width, radius, border, x.device)
    return x.reshape(n, -1, channels).index_select(1, source).view(n, height + 2 * radius, -1, channels)


def planes(x: Tensor) -> Tensor:
    """(n, H, W, 3) to contiguous (3, n, H, W): per-pixel numbers then broadcast over the colours."""
    return x.movedim(-1, 0).contiguous()


def interleave(y: Tensor) -> Tensor:
    """(3, n, H, W) to contiguous (n, H, W, 3)."""
    return torch.stack(y.unbind(0), dim=-1)


def batch_last(x: Tensor) -> Tensor:
    """(n, ...) to contiguous (..., n): per-image numbers then broadcast along the fastest axis."""
    return x.reshape(len(x), -1).t().contiguous().view(*x.shape[1:], len(x))


def batch_first(x: Tensor) -> Tensor:
    """(..., n) to contiguous (n, ...)."""
    return x.reshape(-1, x.shape[-1]).t().contiguous().view(x.shape[-1], *x.shape[:-1])
