"""The published CIFAR-10-C and CIFAR-100-C arrays: one file per corruption, severities stacked, mapped into memory."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .data import Images
from .errors import UsageError

FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}


def folder(dataset: str, data_dir: Path) -> Path:
    """Where the arrays of ``dataset`` lie; a dataset without published ones has no such folder."""
    return data_dir / FOLDERS.get(dataset, f"{dataset}-C")


class Arrays:
    """The arrays of one dataset, checked against its test set.

    Raises :class:`UsageError` when a file is missing, short, of another type, or when the labels are of other images.
    """

    def __init__(self, dataset: str, data_dir: Path, images: Images) -> None:
        self.folder = folder(dataset, data_dir)
        self.n, self.shape = len(images), tuple(images.x.shape[1:])
        labels = self._open("labels", (5 * self.n,), None)
        if not np.array_equal(labels, np.tile(images.y.numpy(), 5)):
            raise UsageError(f"{self.folder / 'labels.npy'} are not the labels of {dataset}'s test images, five times")

    def read(self, name: str, severity: int, index: Tensor) -> Tensor:
        """uint8 (len(index), H, W, 3): the images ``index`` at ``severity``; only these are read."""
        array = self._open(name, (5 * self.n, *self.shape), np.dtype(np.uint8))
        return torch.from_numpy(array[(severity - 1) * self.n + index.numpy()])

    def _open(self, name: str, shape: tuple[int, ...], dtype: np.dtype[np.uint8] | None) -> npt.NDArray[Any]:
        path = self.folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise UsageError(f"{path} is missing: fetch the corrupted test set whole") from None
        except (ValueError, OSError, EOFError) as err:
            raise UsageError(f"{path} is not a whole .npy array: {err}") from None
        if array.shape != shape:
            raise UsageError(f"{path} has the shape {array.shape}; it must have {shape}")
        if dtype is not None and array.dtype != dtype:
            raise UsageError(f"{path} holds {array.dtype}; it must hold {dtype}")
        return np.asarray(array) if dtype is None else array
