"""The 14 operations of torchvision's TrivialAugmentWide and RandAugment, at one of 31 equal steps of strength."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import _imageops as image

FIRST, COUNT = image.IDENTITY, 14
"""The identity, and the operations from colour to the shift along y."""
BINS = 31


class Strongest(NamedTuple):
    """What the last step stands for: slope, pixels along x and y, degrees, distance of an enhancement's factor from 1,
    and bits that posterize leaves out."""

    shear: float
    shift_x: float
    shift_y: float
    degrees: float
    enhancement: float
    bits: int


def apply_at(u: Tensor, kind: Tensor, step: Tensor, negative: Tensor, strongest: Strongest) -> Tensor:
    """uint8 images after their operations ``kind`` at ``step`` (int64, length N, 0 to 30), in the other direction where
    ``negative``; to the nearest pixel, black outside. As torchvision does it to a PIL image."""
    sign = torch.where(negative, -1.0, 1.0).double()

    def at(most: float) -> Tensor:
        return torch.linspace(0, most, BINS, device=u.device)[step].double()

    matrix = image.affine(
        kind,
        at(strongest.shear) * sign,
        -at(strongest.shift_x).floor() * sign,
        -at(strongest.shift_y).floor() * sign,
        at(strongest.degrees) * sign,
        u.shape[2],
        u.shape[3],
    )
    dropped = (torch.arange(BINS, device=u.device) / ((BINS - 1) / strongest.bits)).round().long()[step]
    threshold = torch.linspace(1, 0, BINS, device=u.device)[step].double() * 255
    factor = (1 + at(strongest.enhancement) * sign).float()
    ops = image.Operations(kind, dropped, threshold, matrix, factor)
    return image.apply(u, ops, nearest=True, enhance=True)
