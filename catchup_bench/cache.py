"""Corrupted test sets on disk, so that the second model does not pay for them again. May be deleted at any time."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .errors import BenchError
from .files import write_atomic

LIMIT = 8 * 2**30
"""Bytes that the cache may take; what was used longest ago goes first."""


def folder() -> Path:
    return Path(os.environ.get("CATCHUP_BENCH_CACHE") or Path.home() / ".cache" / "catchup-bench" / "corrupted")


@cache
def code_digest(package: str) -> str:
    """SHA-256 of a package's files: what another version of the code made is not found."""
    total = hashlib.sha256()
    for path in sorted((Path(__file__).parent / package).iterdir()):
        if path.is_file():
            total.update(path.read_bytes())
    return total.hexdigest()


def cached(key: tuple[object, ...], make: Callable[[], Tensor]) -> Tensor:
    """``make()``, or what it gave before for the same ``key``: a uint8 tensor on the CPU.

    A cache that cannot be written, such as on a full disk, is done without.
    """
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    path = folder() / f"{name}.npy"
    with suppress(OSError, ValueError, EOFError):
        array = np.load(path, allow_pickle=False)
        os.utime(path)
        return torch.from_numpy(array)
    made = make().cpu()
    with suppress(BenchError, OSError):
        write_atomic(path, lambda p: _save(p, made))
        trim(LIMIT)
    return made


def _save(path: Path, tensor: Tensor) -> None:
    with path.open("wb") as f:
        np.save(f, tensor.numpy(), allow_pickle=False)


def trim(limit: int) -> None:
    """Delete what was used longest ago until at most ``limit`` bytes are left."""
    found = sorted(((p.stat().st_mtime, p.stat().st_size, p) for p in folder().glob("*.npy")), reverse=True)
    total = 0
    for _, size, path in found:
        total += size
        if total > limit:
            path.unlink(missing_ok=True)
