"""Batches from images that stay on the device: crop and flip for a whole batch at once, nothing per image.

What is random about an epoch is drawn before it, in a few tensors; the loop over batches reads nothing back.
"""

from collections.abc import Iterator
from typing import Any, Generic

import torch
from torch import Tensor

from ..data import Images
from ..data.batches import Source, to_unit
from ..errors import UsageError
from ..seeds import derive
from ..system.hardware import to_device
from . import augment
from .distributed import ALONE, Group


class TrainingBatches(Generic[Source]):
    """What both loaders share: order, crop, flip and colours depend on the seed and the epoch alone, never on the
    method. ``crop`` is how places are drawn, ``color_jitter`` and ``lighting`` are strengths; 0 is none. Of every batch
    a process of ``group`` gets its share; a last batch with fewer images than processes is left out."""

    def __init__(
        self,
        images: Source,
        batch_size: int,
        *,
        seed: int,
        pad: int,
        flip: bool,
        drop_last: bool,
        device: torch.device,
        crop: str = "pad",
        interpolation: str = "bilinear",
        color_jitter: float = 0.0,
        lighting: float = 0.0,
        group: Group = ALONE,
    ) -> None:
        self.images: Source = images
        self.batch_size, self.group = batch_size, group
        self.seed, self.flip, self.choices = seed, flip, 2 * pad + 1
        self.crop, self.interpolation = crop, interpolation
        self.color_jitter, self.lighting = color_jitter, lighting
        self.y = images.y.to(device)
        full, rest = divmod(len(images), batch_size)
        self.steps = full if drop_last and full else full + (rest >= group.size)
        if batch_size < group.size or not self.steps:
            raise UsageError(f"{group.size} processes cannot share batches of {min(batch_size, len(images))} images")

    def __len__(self) -> int:
        return self.steps

    @property
    def fewest(self) -> int:
        """How many images the smallest batch of an epoch has, of a process the smallest share."""
        return min(len(self.batch(0)), len(self.batch(self.steps - 1))) // self.group.size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return (x, y) of the batches of one epoch: x float32 B×3×H×W, channels_last, in [0,1] before colours move."""
        normal, chance = self.draw_colours(epoch)
        chance = to_device(chance, self.y.device)
        for step, (x, y) in enumerate(self.cropped(epoch)):
            rows = self.rows(step)
            x = to_unit(x)
            if self.color_jitter:
                x = augment.color_jitter(x, chance[:, rows], self.color_jitter)
            if self.lighting:
                x = augment.lighting(x, normal[:, rows], self.lighting)
            yield x, y

    def cropped(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(x, y) of the batches of one epoch: x uint8 B×H×W×3."""
        raise NotImplementedError

    def batch(self, step: int) -> range:
        """The rows of an epoch that are in a batch."""
        return range(len(self.images))[step * self.batch_size : (step + 1) * self.batch_size]

    def rows(self, step: int) -> slice:
        """Those of them that are this process's share."""
        whole, rank, size = self.batch(step), self.group.rank, self.group.size
        return slice(*(whole.start + len(whole) * n // size for n in (rank, rank + 1)))

    def draw(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Order (N), crop places (K×N) and flips (N) of an epoch, drawn on the CPU for equality on all devices.

        The places are corners among those of a padded image, or uniform numbers that become a box where the height
        and the width of an image are known.
        """
        n = len(self.images)
        order = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        chances = torch.Generator().manual_seed(derive(self.seed, "augment", epoch))
        if self.crop == "pad":
            place = torch.randint(self.choices, (2, n), generator=chances)
        else:
            place = torch.rand(2 if self.crop == "window" else augment.CHANCES, n, generator=chances)
        return torch.randperm(n, generator=order), place, torch.rand(n, generator=chances) < 0.5

    def draw_colours(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Standard normal 3×N and uniform 4×N numbers for the colours of an epoch, in its order."""
        n = len(self.images) if self.color_jitter or self.lighting else 0
        colours = torch.Generator().manual_seed(derive(self.seed, "colours", epoch))
        return torch.randn(3, n, generator=colours), torch.rand(4, n, generator=colours)


class Loader(TrainingBatches[Images]):
    """Training batches from images in memory, all of one size."""

    def __init__(self, images: Images, batch_size: int, *, pad: int, padding: str = "zeros", **options: Any) -> None:
        super().__init__(images, batch_size, pad=pad, **options)
        if self.crop == "window":
            raise UsageError(
                "recipe.crop = window cuts large pictures; these images have one size: use recipe.crop = pad or resized"
            )
        height, width = images.x.shape[1:3]
        if padding == "reflect" and pad >= min(height, width):
            raise UsageError(f"recipe.pad = {pad} cannot be mirrored from images of {height}×{width} pixels")
        spread = augment.padded(images.x, pad if self.crop == "pad" else 0, padding).to(self.y.device)
        # every crop of every image as a view: choosing among them is one gather
        self.crops = spread.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)

    def cropped(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order, place, mirrored = self.draw(epoch)
        if self.crop == "resized":
            place = augment.resized_boxes(place, *self.images.x.shape[1:3])
        order, place, mirrored = (to_device(t, self.y.device) for t in (order, place, mirrored))
        for step in range(self.steps):
            rows = self.rows(step)
            i = order[rows]
            if self.crop == "resized":
                x = augment.resize_boxes(self.crops[i, 0, 0], place[:, rows], self.interpolation)
            else:
                x = self.crops[i, place[0, rows], place[1, rows]]
            if self.flip:
                x = torch.where(mirrored[rows, None, None, None], x.flip(2), x)
            yield x, self.y[i]
