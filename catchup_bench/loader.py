"""Batches from images that stay on the device: crop and flip for a whole batch at once, nothing per image.

What is random about an epoch is drawn before it, in three tensors; the loop over batches reads nothing back.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .data import Images
from .run import derive


def to_unit(x: Tensor) -> Tensor:
    """uint8 B×H×W×3 → float32 B×3×H×W in [0,1], channels_last."""
    return x.permute(0, 3, 1, 2).float().div_(255)


class Loader:
    """Training batches: order, crop and flip depend on the seed and the epoch alone, never on the method."""

    def __init__(
        self, images: Images, batch_size: int, *, seed: int, pad: int, flip: bool, drop_last: bool, device: torch.device
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed, self.flip, self.choices = seed, flip, 2 * pad + 1
        self.y = images.y.to(device)
        height, width = images.x.shape[1:3]
        padded = F.pad(images.x, (0, 0, pad, pad, pad, pad)).to(device)
        # every crop of every image as a view: choosing among them is one gather
        self.crops = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
        full, rest = divmod(len(images), batch_size)
        self.steps = full if drop_last and full else full + (rest > 0)

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(x, y) of the batches of one epoch: x float32 B×3×H×W in [0,1], channels_last."""
        order, corner, mirrored = (t.to(self.y.device) for t in self.draw(epoch))
        for step in range(self.steps):
            rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
            i = order[rows]
            x = self.crops[i, corner[0, rows], corner[1, rows]]
            if self.flip:
                x = torch.where(mirrored[rows, None, None, None], x.flip(2), x)
            yield to_unit(x), self.y[i]

    def draw(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Order (N), crop corners (2×N) and flips (N) of an epoch, drawn on the CPU for equality on all devices."""
        n = len(self.images)
        order = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        augment = torch.Generator().manual_seed(derive(self.seed, "augment", epoch))
        corner = torch.randint(self.choices, (2, n), generator=augment)
        return torch.randperm(n, generator=order), corner, torch.rand(n, generator=augment) < 0.5


def batches(images: Images, batch_size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(x, y, index) in order, without augmentation, for evaluation."""
    for x, y, index in zip(*(t.split(batch_size) for t in (images.x, images.y, images.index)), strict=True):
        yield to_unit(x.to(device, non_blocking=True)), y.to(device, non_blocking=True), index
