"""The published CIFAR-10-C and CIFAR-100-C arrays: one file per corruption, severities stacked, mapped into memory."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import corruptions
from .corruptions import textures
from .data import Images, load, stream_key
from .data.corrupted_files import check_published, mark_generated, refuse_generated
from .data.faults import counted
from .errors import UsageError
from .files import write_atomic
from .npy import opened

FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}


def folder(dataset: str, data_dir: Path) -> Path:
    """Where the published arrays of ``dataset`` lie. Raises :class:`UsageError` for one without published arrays."""
    if dataset not in FOLDERS:
        raise UsageError(
            f"corruption.source = official: no corrupted images of {dataset} are published, only of "
            f"{' and '.join(FOLDERS)}; write corruption.source=generated"
        )
    return data_dir / FOLDERS[dataset]


class Arrays:
    """The arrays of one dataset, checked against its test set.

    Raises :class:`UsageError` when a file is missing, short, of another type, or when the labels are of other images.
    """

    def __init__(self, dataset: str, data_dir: Path, images: Images) -> None:
        self.folder = folder(dataset, data_dir)
        refuse_generated(self.folder)
        self.n, self.shape = len(images), tuple(images.x.shape[1:])
        labels = opened(self.folder / "labels.npy", (5 * self.n,), None)
        if not np.array_equal(labels, np.tile(images.y.numpy(), 5)):
            raise UsageError(f"{self.folder / 'labels.npy'} are not the labels of {dataset}'s test images, five times")

    def check(self, names: Sequence[str]) -> None:
        """Raises :class:`UsageError` unless the arrays ``names`` are there, whole and those that are published: before
        the first is evaluated."""
        faults = []
        for name in names:
            try:
                self._array(name)
            except UsageError as err:
                faults.append(str(err))
        if faults:
            raise UsageError(counted(faults, len(names), "arrays"))
        check_published(self.folder, ["labels", *names])

    def read(self, name: str, severity: int, index: Tensor) -> Tensor:
        """uint8 (len(index), H, W, 3): the images ``index`` at ``severity``; only these are read."""
        return torch.from_numpy(self._array(name)[(severity - 1) * self.n + index.numpy()])

    def _array(self, name: str) -> npt.NDArray[Any]:
        return opened(self.folder / f"{name}.npy", (5 * self.n, *self.shape), np.dtype(np.uint8))


def write(dataset: str, out: Path, types: Sequence[str], data_dir: Path, tell: Callable[[str], None]) -> list[Path]:
    """Generate corrupted test sets in the published layout: ``labels.npy`` and one array per corruption.

    A file that is there already is kept, so that an interrupted command goes on; each appears only when it is whole.
    """
    for name in types:
        corruptions.parameters(name, 32)
    images = load(dataset, "test", data_dir)
    bank = textures.load(data_dir / "frost") if (data_dir / "frost").is_dir() else None
    key = stream_key(dataset, images)
    target = out / FOLDERS.get(dataset, f"{_plain(dataset)}-C")
    mark_generated(target, {"dataset": key, "test_sha256": images.digest(), "made by": "catchup-bench data corrupt"})
    labels = target / "labels.npy"
    if not labels.exists():
        write_atomic(labels, lambda p: _save(p, np.tile(images.y.numpy(), 5)))
    for name in types:
        path = target / f"{name}.npy"
        if not path.exists():
            tell(f"{path}" + (f" ({corruptions.frost_source(bank)} textures)" if name == "frost" else ""))
            write_atomic(path, partial(_write_severities, images=images, name=name, dataset=key, bank=bank))
    return [labels, *(target / f"{name}.npy" for name in types)]


def _plain(dataset: str) -> str:
    """The last part of a dataset's name, without prefix and options."""
    path = dataset.split(":", 1)[-1].partition("?")[0]
    return (Path(path).resolve() if dataset.startswith("folder:") else Path(path)).name


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with path.open("wb") as f:
        np.save(f, array, allow_pickle=False)


def _write_severities(path: Path, *, images: Images, name: str, dataset: str, bank: textures.Textures | None) -> None:
    shape = (5 * len(images), *images.x.shape[1:])
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for i, severity in enumerate(corruptions.SEVERITIES):
        x = corruptions.corrupt(images.x, name, severity, indices=images.index.tolist(), dataset=dataset, textures=bank)
        array[i * len(images) : (i + 1) * len(images)] = x.numpy()
    array.flush()
