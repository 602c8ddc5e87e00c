"""The published CIFAR-10-C and CIFAR-100-C arrays: one file per corruption, severities stacked, mapped into memory."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import corruptions
from ..corruptions import textures
from ..data_sources import SOURCES, absent
from ..errors import UsageError
from ..system.files import file_digest, write_atomic
from .corrupted_files import check_published, mark_generated, refuse_generated
from .faults import counted
from .images import Images, stream_key

FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}


def corrupted_folder(dataset: str, data_dir: Path) -> Path:
    """Return the folder of the published arrays of ``dataset``. Raises :class:`UsageError` for one without published
    arrays."""
    if dataset not in FOLDERS:
        raise UsageError(
            f"corruption.source = official: no corrupted images of {dataset} are published, only of "
            f"{' and '.join(FOLDERS)}; write corruption.source=generated"
        )
    return data_dir / FOLDERS[dataset]


class CorruptedArrays:
    """The arrays of one dataset, checked against its test set.

    Raises :class:`UsageError` when a file is missing, short, of another type, or when the labels are of other images.
    """

    def __init__(self, dataset: str, data_dir: Path, images: Images) -> None:
        self.folder = corrupted_folder(dataset, data_dir)
        refuse_generated(self.folder)
        self.n, self.shape = len(images), tuple(images.x.shape[1:])
        labels = open_array(self.folder / "labels.npy", (5 * self.n,), None)
        if not np.array_equal(labels, np.tile(images.y.numpy(), 5)):
            raise UsageError(f"{self.folder / 'labels.npy'} are not the labels of {dataset}'s test images, five times")

    def check(self, names: Sequence[str]) -> None:
        """Raise :class:`UsageError` unless the arrays ``names`` are there, whole and those that are published: before
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
        """Read the images ``index`` at ``severity`` and no others: uint8 (len(index), H, W, 3)."""
        return torch.from_numpy(self._array(name)[(severity - 1) * self.n + index.numpy()])

    def digest(self, name: str) -> str:
        """Return the SHA-256 of the file of corruption ``name``."""
        path = self.folder / f"{name}.npy"
        state = path.stat()
        return _digest_of(path, state.st_size, state.st_mtime_ns)

    def _array(self, name: str) -> npt.NDArray[Any]:
        return open_array(self.folder / f"{name}.npy", (5 * self.n, *self.shape), np.dtype(np.uint8))


def write_corrupted(
    dataset: str, images: Images, out: Path, types: Sequence[str], data_dir: Path, tell: Callable[[str], None]
) -> list[Path]:
    """Generate corrupted test sets in the published layout: ``labels.npy`` and one array per corruption.

    A file that is there already is kept, so that an interrupted command goes on; each appears only when it is whole.
    """
    for name in types:
        corruptions.parameters(name, 32)
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
    """Return the last part of a dataset's name, without prefix and options."""
    path = dataset.split(":", 1)[-1].partition("?")[0]
    return (Path(path).resolve() if dataset.startswith("folder:") else Path(path)).name


@cache
def _digest_of(path: Path, size: int, changed: int) -> str:
    """Read a large file once in a process, as long as its size and time of change (ns) stay."""
    return file_digest(path)


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


def fetch_corrupted(name: str, folder: Path) -> None:
    from ..robustbench_bridge import fetch_corrupted as download

    if absent(name, folder) is not None:
        download(name.removesuffix("-c"), folder)


def check_corrupted(name: str, folder: Path) -> dict[str, Any]:
    """Check all 19 arrays and the labels. Raises :class:`UsageError` for one that is missing or not the published
    one."""
    if (error := absent(name, folder)) is not None:
        raise error
    top = folder / Path(SOURCES[name].needs[0]).parts[0]
    refuse_generated(top)
    count, classes = SOURCES[name].counts["test"], SOURCES[name].classes
    labels = open_array(top / "labels.npy", (count,), None)
    if not np.array_equal(np.unique(labels), np.arange(classes)) or not np.array_equal(
        labels, np.tile(labels[: count // 5], 5)
    ):
        raise UsageError(f"{top / 'labels.npy'} are not labels 0 to {classes - 1} of the same images five times")
    faults = []
    for corruption in corruptions.NAMES:
        try:
            open_array(top / f"{corruption}.npy", (count, 32, 32, 3), np.dtype(np.uint8))
        except UsageError as err:
            faults.append(str(err))
    if faults:
        raise UsageError(counted(faults, len(corruptions.NAMES), "arrays"))
    check_published(top, ["labels", *corruptions.NAMES])
    return {"folder": str(top), "arrays": len(corruptions.NAMES), "images": count, "classes": classes}


def open_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.uint8] | None) -> npt.NDArray[Any]:
    """Map an array of the published layout into memory. Raises :class:`UsageError` when it is missing or another
    one."""
    try:
        with np.errstate(over="raise"):
            array = np.lib.format.open_memmap(path, mode="r")  # np.load would also open archives and pickles
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: fetch the corrupted test set whole") from None
    except Exception as err:  # of headers that were made to break it, too
        reason = (str(err) or type(err).__name__).splitlines()[0]
        raise UsageError(f"{path} is not a whole .npy array: {reason}") from None
    if array.shape != shape:
        raise UsageError(f"{path} has the shape {array.shape}; it must have {shape}")
    if dtype is not None and array.dtype != dtype:
        raise UsageError(f"{path} holds {array.dtype}; it must hold {dtype}")
    return np.asarray(array) if dtype is None else array
