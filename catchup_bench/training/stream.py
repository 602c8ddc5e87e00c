"""Batches from image files: several processes open, crop and flip them ahead of the training loop.

What is random comes with each image from the loop, so batches do not depend on how many processes there are.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data import Files
from ..data.decode import open_picture, shrunk
from ..data.faults import counted
from ..errors import UsageError
from ..system.hardware import decoding_workers, to_device
from . import augment
from .loader import TrainingBatches

Task = tuple[str, Tensor, bool]
"""Path, numbers that the crop follows from, whether to flip."""


class StreamingLoader(TrainingBatches[Files]):
    """Training batches from files. ``crop`` is ``window``, a random square of the picture with its shorter side at
    8/7 of the size (256 for 224), or ``resized``, a random part of any picture.

    Raises :class:`UsageError` in the middle of an epoch for a file that cannot be decoded.
    """

    def __init__(self, images: Files, batch_size: int, *, workers: int | None = None, **options: Any) -> None:
        options.pop("padding", None)
        super().__init__(images, batch_size, **options)
        if self.crop == "pad":
            raise UsageError(
                "recipe.crop = pad is for images of one size; these are files of any: "
                "use a recipe with crop = window or resized, such as finegrained-quick, or --set recipe.crop=window"
            )
        import torchvision.transforms.v2  # noqa: F401  # seconds, once: the workers are copies of this process

        workers = decoding_workers() if workers is None else workers
        self.plan = _Plan()
        self.stream = DataLoader(
            Cropped(images.size, self.crop, self.interpolation, images.upright),
            batch_sampler=self.plan,
            num_workers=workers,
            collate_fn=together,
            pin_memory=self.y.device.type == "cuda",
            persistent_workers=workers > 0,
            worker_init_fn=quiet,
            generator=torch.Generator(),  # not the default one, from which networks draw
        )

    def cropped(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order, crop, mirrored = self.draw(epoch)
        self.plan.batches = [
            [(str(self.images.path(int(order[row]))), crop[:, row].clone(), self.flip and bool(mirrored[row]))
             for row in range(len(order))[self.rows(step)]]
            for step in range(self.steps)
        ]  # fmt: skip
        device = self.y.device
        y = self.y[to_device(order, device)]
        for step, (x, problem) in enumerate(self.stream):
            if problem:
                raise UsageError(problem)
            yield to_device(x, device), y[self.rows(step)]


class _Plan:
    """The batches of the epoch to come, each a list of tasks."""

    batches: list[list[Task]] = []

    def __iter__(self) -> Iterator[list[Task]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Cropped(Dataset[Tensor | str]):
    """Task → uint8 H×W×3, or what is wrong with the file: an error raised here would arrive with a traceback."""

    def __init__(self, size: int, crop: str, interpolation: str, upright: bool = False) -> None:
        self.size, self.crop, self.interpolation, self.upright = size, crop, interpolation, upright

    def __getitem__(self, task: Task) -> Tensor | str:
        path, position, mirrored = task
        try:
            return cut(path, position, mirrored, self.size, self.crop, self.interpolation, self.upright)
        except UsageError as err:
            return str(err)


def cut(
    path: str, position: Tensor, mirrored: bool, size: int, crop: str, interpolation: str, upright: bool = False
) -> Tensor:
    """Return the crop of one picture, uint8 size×size×3. ``position`` is what :meth:`TrainingBatches.draw` gave for
    it."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    picture = open_picture(Path(path), upright=upright)
    if crop == "window":
        picture = shrunk(picture, size)
        top, left = ((position * (torch.tensor([picture.height, picture.width]) - size + 1)).long()).tolist()
        picture = F.crop(picture, top, left, size, size)
    else:
        box = augment.resized_boxes(position[:, None], picture.height, picture.width)[:, 0].tolist()
        picture = F.resized_crop(picture, *box, [size, size], InterpolationMode(interpolation))
    if mirrored:
        picture = F.horizontal_flip(picture)
    return torch.from_numpy(np.array(picture))


def together(items: list[Tensor | str]) -> tuple[Tensor, str]:
    """Return a batch, and the first of its problems with their number."""
    if problems := [item for item in items if isinstance(item, str)]:
        return torch.empty(0), counted(problems, len(items), "images of the batch")
    return torch.stack([i for i in items if not isinstance(i, str)]), ""


def quiet(_: int) -> None:
    """Leave Ctrl-C in a worker to the main process; torch ends the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
