"""Chunks of images, and the random numbers that belong to their indices.

A cell is a run of consecutive image indices inside one block of ``draws.BLOCK``. Each cell draws from its own
stream, always for all its images, and hands out the rows that are wanted: an image's numbers depend on the key,
its index and its size, on nothing else. Cells also bound the memory, and are small enough for the CPU's caches.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..seeds import BLOCK, stream

CELL_PIXELS = 51_200


def cell_size(height: int, width: int) -> int:
    """Images in a cell: the largest divisor of ``BLOCK`` whose images have no more than ``CELL_PIXELS`` pixels."""
    divisors = (n for n in range(BLOCK, 0, -1) if BLOCK % n == 0)
    return next((n for n in divisors if n * height * width <= CELL_PIXELS), 1)


class Draws:
    """Random numbers of the images ``rows`` (0..size-1) of a cell, drawn by numpy and moved to ``device``.

    Tensors come as (n, *shape), or (*shape, n) with ``last``, n = len(rows).
    """

    def __init__(self, key: Sequence[str | int], size: int, rows: npt.NDArray[np.int64], device: torch.device) -> None:
        self.key, self.size, self.rows, self.device = key, size, rows, device
        self._generator: np.random.Generator | None = None

    def bits(self, *shape: int, last: bool = False) -> Tensor:
        """32 random bits a value, as int32."""
        if self._generator is None:
            self._generator = stream(*self.key)
        count = self.size * math.prod(shape)
        words: npt.NDArray[np.uint64] = self._generator.bit_generator.random_raw((count + 1) // 2)
        values = words.view(np.int32)[:count].reshape((*shape, self.size) if last else (self.size, *shape))
        if not np.array_equal(self.rows, np.arange(self.size)):
            values = values.take(self.rows, axis=-1 if last else 0)
        return torch.from_numpy(values).to(self.device)

    def uniform(self, low: float, high: float, *shape: int, last: bool = False) -> Tensor:
        """Uniform on [low, high), float64."""
        return self.bits(*shape, last=last).double().mul_((high - low) * 2.0**-32).add_((high + low) / 2)

    def normal(self, *shape: int, last: bool = False) -> Tensor:
        """Standard normal, float32: a unit combination of two 16-bit quantiles, within 1e-6 of the normal law.

        Two table look-ups are several times faster than numpy's own normal numbers.
        """
        bits = self.bits(*shape, last=last)
        first, second = _quantiles(self.device)
        low = first.index_select(0, (bits & 0xFFFF).view(-1))
        high = second.index_select(0, bits.bitwise_right_shift_(16).add_(0x8000).view(-1))
        return low.add_(high).view(bits.shape)


@cache
def _quantiles(device: torch.device) -> tuple[Tensor, Tensor]:
    """0.8 and 0.6 times 65,536 equally likely standard normal values; 0.8^2 + 0.6^2 = 1."""
    from scipy.special import ndtri

    values = ndtri((np.arange(65_536) + 0.5) / 65_536)
    return tuple(torch.tensor(w * values, dtype=torch.float32, device=device) for w in (0.8, 0.6))  # type: ignore[return-value]


def cells(
    indices: Sequence[int], height: int, width: int, device: torch.device, *key: str | int
) -> Iterator[tuple[slice | Tensor, Draws]]:
    """(positions in ``indices``, their draws), cell by cell; positions are a slice where they can be."""
    wanted = np.asarray(indices, dtype=np.int64)
    size = cell_size(height, width)
    order = np.argsort(wanted // size, kind="stable")
    starts = np.flatnonzero(np.diff(wanted[order] // size)) + 1
    for positions in np.split(order, starts) if len(order) else ():
        first = int(wanted[positions[0]]) // size * size
        draws = Draws((*key, first // BLOCK, first % BLOCK), size, wanted[positions] - first, device)
        yield _as_slice(positions, device), draws


def _as_slice(positions: npt.NDArray[np.int64], device: torch.device) -> slice | Tensor:
    first = int(positions[0])
    if np.array_equal(positions, np.arange(first, first + len(positions))):
        return slice(first, first + len(positions))
    return torch.from_numpy(positions).to(device)
