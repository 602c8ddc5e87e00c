"""Images in batches, in a fixed order, as float tensors in [0,1]."""

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

from ..system.hardware import to_device
from . import Files, Images

Source = TypeVar("Source", bound=Images | Files)


def to_unit(x: Tensor) -> Tensor:
    """Convert uint8 B×H×W×3 to float32 B×3×H×W in [0,1], channels_last."""
    return x.permute(0, 3, 1, 2).float().div_(255)


def batches(images: Images, batch_size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (x, y, index) in order, without augmentation, for evaluation; ``index`` stays on the CPU."""
    for x, y, index in zip(*(t.split(batch_size) for t in (images.x, images.y, images.index)), strict=True):
        yield to_unit(to_device(x, device)), to_device(y, device), index
