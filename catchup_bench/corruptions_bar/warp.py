"""Pixels taken from elsewhere: whirls, ripples, rotations averaged, colours magnified differently.

Images are uint8 (n, S, S, 3); ``amount`` is a severity out of 10. What is drawn for an image comes as a tensor.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..corruptions.cells import Draws
from .noise import to_bytes

WHIRLS = 3
"""Along an axis, at the sizes of :data:`catchup_bench.corruptions_bar.LARGEST`; ImageNet-C-bar's images have 5."""
TURNS = 21

Array = npt.NDArray[np.float64]


def bilinear(x: Tensor, row: Tensor, col: Tensor) -> Tensor:
    """Return x (n, S, S, 3) at places (n, h, w), float64; pixels outside are black."""
    side = x.shape[1]
    top, left = row.floor(), col.floor()
    flat = x.double().flatten(1, 2)

    def at(i: Tensor, j: Tensor) -> Tensor:
        inside = (i >= 0) & (i < side) & (j >= 0) & (j < side)
        where = (i.clamp(0, side - 1) * side + j.clamp(0, side - 1)).long().flatten(1)
        return (flat.gather(1, where[..., None].expand(-1, -1, 3)).view(*i.shape, 3)) * inside[..., None]

    down, along = (row - top)[..., None], (col - left)[..., None]
    upper = at(top, left) * (1 - along) + at(top, left + 1) * along
    lower = at(top + 1, left) * (1 - along) + at(top + 1, left + 1) * along
    return upper * (1 - down) + lower * down


def pinch_and_twirl(x: Tensor, amount: float, draws: Draws) -> Tensor:
    sign = torch.where(draws.uniform(0, 1, WHIRLS, WHIRLS) < 0.5, 1.0, -1.0).double()
    return whirled(x, sign * amount * math.pi / 20, 0.04 * amount + 0.1)


def whirled(x: Tensor, angles: Tensor, pinch: float) -> Tensor:
    """Turn and pinch each of the square parts, ``angles`` (n, G, G) by column and row; a part sees those before it."""
    side, count = x.shape[1], angles.shape[1]
    grid, radius = side // count, side // count / 2
    out = x.float()
    offset = torch.arange(grid, device=x.device, dtype=torch.float64) - radius
    down, along = torch.meshgrid(offset, offset, indexing="ij")
    far = torch.hypot(down, along)
    moved = (far <= radius) & (far >= 0.0005)
    d = torch.where(moved, far / radius, 1.0)
    factor = (math.pi / 2 * d).sin() ** -pinch
    for i in range(count):
        for j in range(count):
            turn = angles[:, i, j, None, None] * (1 - d) ** 2
            row = factor * (down * turn.cos() - along * turn.sin())
            col = factor * (down * turn.sin() + along * turn.cos())
            row, col = torch.where(moved, row, down), torch.where(moved, col, along)
            part = bilinear(out, row + (j * grid + radius), col + (i * grid + radius))
            out[:, j * grid : (j + 1) * grid, i * grid : (i + 1) * grid] = part.float()
    return to_bytes(out)


def ripple(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    return rippled(x, 0.0025 * amount * side, draws.uniform(0.1, 0.3, 2) * side, draws.uniform(0, 2 * math.pi, 2))


def rippled(x: Tensor, amplitude: float, wavelengths: Tensor, phases: Tensor) -> Tensor:
    """Move rows and columns by sines of their own place; ``wavelengths`` and ``phases`` are n×2 (row, column)."""
    n, side = x.shape[:2]
    place = torch.arange(side, device=x.device, dtype=torch.float64)
    both = place + amplitude * (2 * math.pi * place / wavelengths[..., None] + phases[..., None]).sin()
    row, col = both[:, 0, :, None].expand(n, side, side), both[:, 1, None, :].expand(n, side, side)
    return to_bytes(bilinear(x, row, col))


def circular_motion_blur(x: Tensor, amount: float, draws: Draws) -> Tensor:
    """Average rotations by up to 1.5 ``amount`` degrees to both sides, the middle ones the most, by cubic splines;
    corners are black where a rotation leaves the image."""
    side = x.shape[1]
    sources, weights = (t.to(x.device) for t in rotations(side, 1.5 * amount))
    unit = (x.float() / 255).double()
    coefficients = spline(spline(unit, 1), 2).flatten(1, 2)
    total = torch.zeros_like(coefficients)
    for source, weight in zip(sources, weights, strict=True):  # one by one: a sum of a batch is that of each image
        total += coefficients.index_select(1, source) * weight[:, None]
    return to_bytes(total.float().view(x.shape) * 255)


@cache
def rotations(side: int, degrees: float) -> tuple[Tensor, Tensor]:
    """Return the weighted mean of rotations: for each pixel (of S²) the K coefficients of which it is a sum, and their
    weights, both K×S²."""
    share = np.linspace(-1, 1, TURNS)
    weights = np.exp(-2 * share**2)
    total = [dict[int, float]() for _ in range(side * side)]
    middle = (side - 1) / 2
    i, j = (v.ravel() - middle for v in np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    for angle, weight in zip(np.deg2rad(share * degrees), weights / weights.sum(), strict=True):
        cos, sin = math.cos(angle), math.sin(angle)
        row, col = cos * i + sin * j + middle, -sin * i + cos * j + middle
        out = np.flatnonzero((row >= 0) & (row <= side - 1) & (col >= 0) & (col <= side - 1))
        (rows, down), (cols, along) = taps(row[out], side), taps(col[out], side)
        places = (rows[:, :, None] * side + cols[:, None, :]).reshape(len(out), -1)
        shares = (weight * down[:, :, None] * along[:, None, :]).reshape(len(out), -1)
        for pixel, sources, values in zip(out.tolist(), places.tolist(), shares.tolist(), strict=True):
            sums = total[pixel]
            for source, value in zip(sources, values, strict=True):
                sums[source] = sums.get(source, 0.0) + value
    most = max(map(len, total))
    index, factor = np.zeros((most, side * side), np.int64), np.zeros((most, side * side))
    for pixel, sums in enumerate(total):
        index[: len(sums), pixel], factor[: len(sums), pixel] = [*sums], [*sums.values()]
    return torch.from_numpy(index), torch.from_numpy(factor)


def taps(place: Array, side: int) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the four samples that a cubic B-spline takes at each place, mirrored at the ends, and their weights."""
    low = np.floor(place)
    y = place - low
    z = 1 - y
    near = (y * y * (y - 2) * 3 + 4) / 6, (z * z * (z - 2) * 3 + 4) / 6
    first = z * z * z / 6
    weights = np.stack([first, *near, 1 - first - near[0] - near[1]], -1)
    sample = np.abs(low.astype(np.int64)[:, None] + np.arange(-1, 3))
    return np.where(sample > side - 1, 2 * (side - 1) - sample, sample), weights


def spline(x: Tensor, axis: int) -> Tensor:
    """Return the coefficients of the cubic splines through the samples along ``axis``, mirrored at the ends (Unser et
    al., B-spline signal processing, 1993)."""
    pole = math.sqrt(3) - 2
    c = list((6 * x).unbind(axis))
    last = len(c) - 1
    start = c[0] + pole**last * c[last]
    for k in range(1, last):
        start = start + (pole**k + pole ** (2 * last - k)) * c[k]
    c[0] = start / (1 - pole ** (2 * last))
    for k in range(1, last + 1):
        c[k] = c[k] + pole * c[k - 1]
    c[last] = (pole * c[last - 1] + c[last]) * (pole / (pole * pole - 1))
    for k in range(last - 1, -1, -1):
        c[k] = pole * (c[k + 1] - c[k])
    return torch.stack(c, axis)


def transverse_chromatic_abberation(x: Tensor, amount: float, draws: Draws) -> Tensor:
    return dispersed(x, (1, 1 + 0.025 * amount, 1 + 0.05 * amount), draws.uniform(0, 1, 3).argsort(1))


def dispersed(x: Tensor, factors: Sequence[float], which: Tensor) -> Tensor:
    """Magnify each channel about the middle by one of ``factors``, at least 1, as a cubic B-spline smooths it: by that
    at its place in ``which`` (n×3)."""
    out = x
    for i, factor in enumerate(factors):
        out = torch.where((which == i)[:, None, None], magnified(x, factor), out)
    return out


def magnified(x: Tensor, scale: float) -> Tensor:
    """Return the middle of images that are ``scale`` times as large, rounded to bytes."""
    side = x.shape[1]
    large = round(side * scale)
    place = (np.arange(side, dtype=np.float64) + (large - side) // 2) * ((side - 1) / (large - 1))
    samples, weights = taps(place, side)
    at, by = torch.from_numpy(samples).to(x.device), torch.from_numpy(weights).to(x.device)
    wide, total = x.double(), torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    for i in range(4):
        rows = wide.index_select(1, at[:, i]) * by[:, i, None, None]
        for j in range(4):
            total += rows.index_select(2, at[:, j]) * by[:, j, None]
    return (total + 0.5).floor().clamp(0, 255).to(torch.uint8)
