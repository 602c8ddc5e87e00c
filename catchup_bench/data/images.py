"""What a dataset hands out. Images are uint8 N×H×W×3 tensors, never normalised; labels are int64."""

import hashlib
import os
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data_sources import GENERIC, HELD_OUT
from ..errors import UsageError
from .faults import counted


@dataclass(frozen=True)
class Images:
    """A labelled set of images. ``index`` is each image's position in the official split: its stable identity."""

    x: Tensor
    y: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.y)

    @property
    def size(self) -> int:
        """Return the height in pixels."""
        return int(self.x.shape[1])

    def take(self, rows: Tensor) -> "Images":
        return Images(self.x[rows], self.y[rows], self.index[rows])

    def digest(self) -> str:
        """Return the SHA-256 of pixels, labels and indices, in order."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256()
        for part in (self.x, self.y, self.index):
            total.update(part.cpu().contiguous().numpy().data)
        return total.hexdigest()


SMALLEST = 8
"""Pixels of height and width from which on every method and suite works. Saliency is blurred over a border of 3; and at
4 pixels networks of width 4 lost finite losses at random, at 8 never (PyTorch 2.14.1 on an AVX-512 CPU)."""


def check_size(width: int, height: int, name: str) -> None:
    """Raise :class:`UsageError` for images that are too small to train or to evaluate on."""
    if min(width, height) < SMALLEST:
        raise UsageError(
            f"{name} has images of {width}×{height} pixels; they must have at least {SMALLEST}×{SMALLEST}: enlarge them"
        )


def check_labels(y: Tensor, classes: int, name: str) -> None:
    """Raise :class:`UsageError` unless every label is a class: 0 to ``classes`` - 1."""
    bad = y[(y < 0) | (y >= classes)]
    if len(bad):
        raise UsageError(
            f"{name} has {len(bad):,} of {len(y):,} labels that are no class, such as {int(bad[0])}; "
            f"they must lie in 0 to {classes - 1}"
        )


def as_images(x: Tensor, labels: list[int], classes: int, name: str) -> Images:
    """Return a whole split in official order. Raises :class:`UsageError` for a label that is no class."""
    images = Images(x, torch.tensor(labels), torch.arange(len(labels)))
    check_labels(images.y, classes, name)
    return images


@dataclass(frozen=True)
class Files:
    """A labelled list of image files, opened when they are needed. ``names`` are paths below ``root`` (bytes: a
    million Python strings would be copied into every worker), ``stat`` is N×2: bytes and time of change in ns.
    ``size`` is the height and width in pixels of what a network is shown, ``upright`` whether pictures are turned as
    their EXIF orientation says."""

    root: Path
    names: npt.NDArray[np.bytes_]
    y: Tensor
    index: Tensor
    stat: Tensor
    size: int
    upright: bool = False

    @classmethod
    def of(cls, root: Path, names: list[str], labels: list[int], size: int, upright: bool = False) -> "Files":
        """List all of ``names``. Raises :class:`UsageError` when one is missing or empty, or when there is none."""
        if not names:
            raise UsageError(f"{root} holds no images: fetch or unpack the dataset again")
        stats, faults = [], []
        for name in names:
            try:
                state = (root / name).stat()
            except OSError:
                faults.append(f"{root / name} is missing: fetch or unpack the dataset again")
                continue
            if state.st_size == 0:
                faults.append(f"{root / name} is empty: fetch or unpack the dataset again")
            stats.append((state.st_size, state.st_mtime_ns))
        if faults:
            raise UsageError(counted(faults, len(names), "images"))
        encoded = np.array([os.fsencode(n) for n in names])
        return cls(root, encoded, torch.tensor(labels), torch.arange(len(names)), torch.tensor(stats), size, upright)

    def __len__(self) -> int:
        return len(self.y)

    def path(self, row: int) -> Path:
        return self.root / os.fsdecode(self.names[row])

    def take(self, rows: Tensor) -> "Files":
        names = self.names[rows.numpy()]
        return replace(self, names=names, y=self.y[rows], index=self.index[rows], stat=self.stat[rows])

    def digest(self) -> str:
        """Return the SHA-256 of names, sizes in bytes, labels and indices, in order; the pixels are not read.

        Names are in Unicode's composed form (NFC): some file systems store another.
        """
        names: bytes = b"\n".join(self.names.tolist())
        if not names.isascii():
            names = os.fsencode(unicodedata.normalize("NFC", os.fsdecode(names)))
        total = hashlib.sha256(names)
        for part in (self.stat[:, 0], self.y, self.index):
            total.update(part.contiguous().numpy().data)
        return total.hexdigest()


@dataclass(frozen=True)
class Located:
    """Images of a split in official order, each with the box of its object: ``boxes`` is float32 N×4, left, top, right
    and bottom in pixels of the images, so that a box over the whole image is (0, 0, width, height)."""

    images: Images
    boxes: Tensor


Labelled = TypeVar("Labelled", bound=Images | Files)


def stream_key(name: str, images: Images | Files) -> str:
    """Return what random numbers that belong to ``images``, a whole split, are keyed by: what the data is.

    A dataset of the table is what it is called. Of any other it is the digest of the images, since how a path is
    written says nothing about them.
    """
    return f"sha256:{images.digest()}" if name.removeprefix(HELD_OUT).startswith(GENERIC) else name


def subset(images: Labelled, fraction: float, key: str, seed: int) -> Labelled:
    """Return the same share of every class, chosen by ``key`` and ``seed``: the images whose hashed index comes first.

    The subset of a smaller fraction lies inside that of a larger one, and neither depends on storage order. Raises
    :class:`UsageError` when a class would be left without an image.
    """
    if fraction == 1:
        return images
    order = [hashlib.sha256(f"{key}/{seed}/{i}".encode()).digest() for i in images.index.tolist()]
    chosen: list[int] = []
    for label in images.y.unique().tolist():
        rows = (images.y == label).nonzero()[:, 0].tolist()
        count = round(len(rows) * fraction)
        if count == 0:
            raise UsageError(f"--fraction {fraction} leaves class {label} without an image: give more")
        chosen += sorted(rows, key=order.__getitem__)[:count]
    return cast(Labelled, images.take(torch.tensor(sorted(chosen))))
