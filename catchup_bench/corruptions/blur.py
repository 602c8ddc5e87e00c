"""Gaussian, defocus and zoom blur: fixed kernels."""

import math
import warnings
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .cells import Draws
from .pixels import batch_first, batch_last, pad, to_bytes, unit
from .severity import Parameters

Array = npt.NDArray[np.float64]

Floats = npt.NDArray[np.float32]


def gaussian_blur(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    return to_bytes(gaussian(x, c[0]))


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """(n, H, W, C) float64, smoothed up to int(4 sigma + 1/2) pixels away, edges replicated; bytes become [0, 1].

    Same order of operations as ``scipy.ndimage.gaussian_filter``, hence the same bits.
    """
    weights = gaussian_weights(sigma, int(4 * sigma + 0.5))
    wide = pad(x, len(weights) - 1)
    wide = unit(wide) if x.dtype == torch.uint8 else wide
    return _symmetric(_symmetric(wide, weights, 1), weights, 2)


def gaussian_weights(sigma: float, radius: int) -> list[float]:
    """Weights at distances 0..radius; the whole kernel sums to 1."""
    kernel = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    return [float(w) for w in (kernel / kernel.sum())[radius:]]


def _symmetric(x: Tensor, weights: list[float], axis: int) -> Tensor:
    """Correlation along ``axis`` with a symmetric kernel, where it fits."""
    radius = len(weights) - 1
    size = x.shape[axis] - 2 * radius
    total = x.narrow(axis, radius, size) * weights[0]
    for k in range(radius, 0, -1):
        total += (x.narrow(axis, radius - k, size) + x.narrow(axis, radius + k, size)).mul_(weights[k])
    return total


def defocus_blur(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Correlation with an anti-aliased disk; the border is mirrored without repeating the edge."""
    kernel = defocus_kernel(*c)
    radius = len(kernel) // 2
    return to_bytes(_fourfold(unit(pad(x, radius, "mirror")), kernel[radius:, radius:]))


def _fourfold(x: Tensor, quadrant: Floats) -> Tensor:
    """Correlation with a kernel that both flips leave as it is; ``quadrant`` starts at its centre."""
    radius = len(quadrant) - 1
    columns = [_pair(x, k, radius, 2) for k in range(radius + 1)]
    total = torch.zeros_like(columns[0].narrow(1, radius, x.shape[1] - 2 * radius))
    for k, weights in enumerate(quadrant):
        used = [(column, float(w)) for column, w in zip(columns, weights, strict=True) if w > 0]
        if used:
            row = used[0][0] * used[0][1]
            for column, w in used[1:]:
                row += column * w
            total += _pair(row, k, radius, 1)
    return total


def _pair(x: Tensor, offset: int, radius: int, axis: int) -> Tensor:
    """x moved by ``offset`` both ways along ``axis`` and added, where a kernel of ``radius`` fits."""
    size = x.shape[axis] - 2 * radius
    ahead = x.narrow(axis, radius + offset, size)
    return ahead if offset == 0 else ahead + x.narrow(axis, radius - offset, size)


@cache
def defocus_kernel(radius: float, sigma: float) -> Floats:
    """The published disk: whole cells within ``radius``, smoothed by 3x3 (above radius 8: 5x5) Gaussian weights.

    float32 as published. The grid's own border is mirrored too, so that radius 8 and 10, which reach it, sum to
    1.013 and 1.011: as published. Zero margins are cut off.
    """
    reach, taps = (8, 1) if radius <= 8 else (int(radius), 2)
    grid = np.arange(-reach, reach + 1)
    disk = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    weights = np.array(gaussian_weights(sigma, taps), dtype=np.float32)
    disk = _smooth_rows(_smooth_rows(disk, weights).T, weights)
    disk[disk < 1e-18] = 0
    keep = int(np.abs(grid[disk.any(axis=0)]).max())
    return np.ascontiguousarray(disk[reach - keep : reach + keep + 1, reach - keep : reach + keep + 1])


def _smooth_rows(x: Floats, weights: Floats) -> Floats:
    taps = len(weights) - 1
    wide = np.pad(x, ((0, 0), (taps, taps)), mode="reflect")
    total = weights[0] * x
    for k in range(1, taps + 1):
        total += weights[k] * (wide[:, taps - k : x.shape[1] + taps - k] + wide[:, taps + k : x.shape[1] + taps + k])
    return total


def zoom_blur(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Mean of the image, once more than its share, and of centre-zoomed copies: one fixed linear map.

    The 1e-7 decides exact integers alike whatever the order of the sums; the reference sums in float32, where such
    values fall to either side.
    """
    n, height, width, channels = x.shape
    operator = _zoom_operator(height, width, c[2], int(c[3]), x.device)
    flat = batch_last(x).view(height * width, channels * n).double()
    return batch_first((operator @ flat).add_(1e-7).int().to(torch.uint8).view(height, width, channels, n))


def zoom_factors(step: float, count: int) -> Array:
    """1, 1 + step, ... as a floating-point range of the published script makes them."""
    return np.asarray(1 + np.arange(count) * ((1 + step) - 1))


@cache
def zoom_matrix(size: int, factor: float) -> Array:
    """(size, size): the centre of a line, ceil(size / factor) long, stretched linearly and cut back to ``size``."""
    from scipy.ndimage import zoom

    crop = math.ceil(size / factor)
    top = (size - crop) // 2
    rows = zoom(np.eye(size)[top : top + crop], (factor, 1), order=1)
    trim = (len(rows) - size) // 2
    return np.asarray(rows[trim : trim + size])


@cache
def _zoom_operator(height: int, width: int, step: float, count: int, device: torch.device) -> Tensor:
    """The sparse (H W, H W) matrix of zoom blur."""
    from scipy.sparse import csr_array, eye_array, kron

    total = csr_array(eye_array(height * width))
    for factor in zoom_factors(step, count):
        total = total + kron(csr_array(zoom_matrix(height, factor)), csr_array(zoom_matrix(width, factor)), "csr")
    total = total / (count + 1)
    parts = [torch.from_numpy(part).to(device) for part in (total.indptr, total.indices, total.data)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch announces sparse CSR as a beta once per process
        return torch.sparse_csr_tensor(parts[0], parts[1], parts[2], size=total.shape)
