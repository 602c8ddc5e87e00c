"""The four noises: an independent draw for each channel of each pixel."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .cells import Draws
from .severity import Parameters


def gaussian_noise(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """x + N(0, sigma)."""
    noise = draws.normal(*x.shape[1:]).mul_(255 * c[0])
    return _clip(noise.add_(x))


def speckle_noise(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """x + x N(0, sigma)."""
    noise = draws.normal(*x.shape[1:]).mul_(c[0]).mul_(x)
    return _clip(noise.add_(x))


def impulse_noise(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Each value is lost with probability c, and then is 0 or 255 with equal odds."""
    hit, salt = impulses(draws.bits(*x.shape[1:]), c[0])
    return (x * (1 - hit)).add_(salt.mul_(255))


def shot_noise(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Poisson(c x) / c: the noise of counting about c photons in a white pixel."""
    counts = photons(x, c[0], draws.bits(*x.shape[1:]))
    return _count_bytes(c[0], x.device).index_select(0, counts.view(-1)).view(x.shape)


def impulses(bits: Tensor, amount: float) -> tuple[Tensor, Tensor]:
    """(hit, salt) as bytes 0 or 1 from 32 bits: hit below ``amount``, salt in the lower half of that."""
    hit = bits < round((amount - 0.5) * 2**32)
    salt = bits < round((amount / 2 - 0.5) * 2**32)
    return hit.view(torch.uint8), salt.view(torch.uint8)


def photons(x: Tensor, c: float, bits: Tensor) -> Tensor:
    """Poisson counts of mean c x / 255, int32, exact to 32 bits, by Walker's alias method.

    There are only 256 means, so two look-ups in tables replace the rejection sampling of a general Poisson draw.
    """
    keep, counts, width = _alias_tables(c, x.device)
    shift = 32 - int(math.log2(width))
    cell = (bits >> shift).bitwise_and_(width - 1).add_(x.int().mul_(width)).view(-1)
    fraction = (bits & ((1 << shift) - 1)).view(-1)
    other = torch.ge(fraction, keep.index_select(0, cell), out=fraction)
    return counts.index_select(0, cell.mul_(2).add_(other)).view(x.shape)


def _clip(y: Tensor) -> Tensor:
    return y.clamp_(0, 255).int().to(torch.uint8)


@cache
def _count_bytes(c: float, device: torch.device) -> Tensor:
    """Count -> byte."""
    values = np.clip(np.arange(int(4 * c) + 256) / c, 0, 1) * 255
    return torch.from_numpy(values.astype(np.uint8)).to(device)


@cache
def _alias_tables(c: float, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """(threshold (256 K,), counts (256 K 2,), K): what a random cell keeps, and the two counts it chooses from."""
    probability, lowest = poisson_window(c)
    width = probability.shape[1]
    keep, alias = _alias(probability)
    columns = np.stack(np.broadcast_arrays(np.arange(width), alias), axis=-1)
    counts = (columns + lowest[:, None, None]).astype(np.int32)
    levels = 1 << (32 - int(math.log2(width)))
    threshold = np.minimum(np.rint(keep * levels), 2**31 - 1).astype(np.int32)
    return torch.from_numpy(threshold.ravel()).to(device), torch.from_numpy(counts.ravel()).to(device), width


def poisson_window(c: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Poisson probabilities (256, K) of the 256 byte values, and the count of each first column.

    K is a power of two of at least 16 standard deviations, so what lies outside is below 1e-14.
    """
    from scipy.special import gammaln, xlogy

    mean = np.arange(256) * c / 255
    width = 1 << math.ceil(math.log2(16 * math.sqrt(c) + 16))
    lowest = np.maximum(0, np.floor(mean - width / 2)).astype(np.int64)
    count = lowest[:, None] + np.arange(width)
    probability = np.exp(xlogy(count, mean[:, None]) - mean[:, None] - gammaln(count + 1.0))
    return probability / probability.sum(axis=1, keepdims=True), lowest


def _alias(probability: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Walker's tables, row by row at once: the least likely open column is topped up by the most likely one."""
    rows = np.arange(len(probability))
    rest = probability * probability.shape[1]
    keep, alias = np.ones_like(rest), np.zeros(rest.shape, dtype=np.int64)
    is_open = np.zeros_like(rest)
    for _ in range(rest.shape[1]):
        least, most = np.argmin(rest + is_open, axis=1), np.argmax(rest - is_open, axis=1)
        keep[rows, least], alias[rows, least] = rest[rows, least], most
        rest[rows, most] -= 1 - rest[rows, least]
        is_open[rows, least] = np.inf
    return keep, alias
