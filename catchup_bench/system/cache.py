"""A cache on disk of what is slow to make: corrupted test sets and decoded images. It may be deleted at any time."""

import hashlib
import math
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import BenchError, RunFailed
from .files import sweep, write_atomic

LIMIT = 8 * 2**30
"""Bytes that each kind may take; what was used longest ago goes first."""

IMAGES_LIMIT = 24 * 2**30
"""The same for decoded images: ImageNet's validation set has 7 GiB."""


def folder(kind: str = "corrupted") -> Path:
    """Return the folder of the ``corrupted`` test sets, or of decoded ``images``."""
    given = os.environ.get("CATCHUP_BENCH_CACHE")
    if given:
        return Path(given) if kind == "corrupted" else Path(given) / kind
    return Path.home() / ".cache" / "catchup-bench" / kind


@cache
def code_digest(package: str) -> str:
    """Return the SHA-256 of a package's files, so that what another version of the code made is not used."""
    total = hashlib.sha256()
    for path in sorted((Path(__file__).parents[1] / package).iterdir()):
        if path.is_file():
            total.update(path.read_bytes())
    return total.hexdigest()


def cached(key: tuple[object, ...], make: Callable[[], Tensor]) -> Tensor:
    """Return ``make()``, or what it gave before for the same ``key``: a uint8 tensor on the CPU.

    A cache that cannot be written, such as on a full disk, is done without.
    """
    path = folder() / f"{_name(key)}.npy"
    with suppress(OSError, ValueError, EOFError):
        array = np.load(path, allow_pickle=False)
        os.utime(path)
        return torch.from_numpy(array)
    made = make().cpu()
    with suppress(BenchError, OSError):
        write_atomic(path, lambda p: _save(p, made))
        trim(LIMIT)
    return made


def mapped(key: tuple[object, ...], shape: tuple[int, ...], write: Callable[[BinaryIO], None]) -> npt.NDArray[np.uint8]:
    """Return the uint8 array of ``shape`` whose bytes ``write`` puts into a file, or put there before for the same
    ``key``, mapped into memory (changes to it stay private). Without a disk to write to, it lies in memory."""
    path = folder("images") / f"{_name(key)}.npy"
    with suppress(OSError, ValueError, EOFError):
        return _mapped(path, shape)
    try:
        write_atomic(path, lambda p: _fill(p, shape, write))
    except RunFailed:
        return _in_memory(shape, write)
    trim(IMAGES_LIMIT, "images")
    return _mapped(path, shape)


def _name(key: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:32]


def _mapped(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{path} is not what it should be")
    os.utime(path)
    return np.asarray(array)


def _fill(path: Path, shape: tuple[int, ...], write: Callable[[BinaryIO], None]) -> None:
    """Write the array instead of mapping it: a full disk is then an error and not a signal."""
    with path.open("wb") as f:
        np.lib.format.write_array_header_1_0(f, {"descr": "|u1", "fortran_order": False, "shape": shape})
        write(f)


def _in_memory(shape: tuple[int, ...], write: Callable[[BinaryIO], None]) -> npt.NDArray[np.uint8]:
    import io

    buffer = io.BytesIO(bytes(math.prod(shape)))
    write(buffer)
    return np.frombuffer(buffer.getbuffer(), np.uint8).reshape(shape)


def _save(path: Path, tensor: Tensor) -> None:
    with path.open("wb") as f:
        np.save(f, tensor.numpy(), allow_pickle=False)


def trim(limit: int, kind: str = "corrupted") -> None:
    """Delete what was used longest ago until at most ``limit`` bytes are left, and what was never finished. What was
    used last stays in any case."""
    sweep(folder(kind), age=3600)
    files = sorted(((p.stat().st_mtime, p.stat().st_size, p) for p in folder(kind).glob("*.npy")), reverse=True)
    total = 0
    for rank, (_, size, path) in enumerate(files):
        total += size
        if rank and total > limit:
            path.unlink(missing_ok=True)
