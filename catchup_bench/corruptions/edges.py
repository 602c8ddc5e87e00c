"""The chain of 8-bit image operations that gives spatter's water its relief, for a batch of layers at once.

Each function computes what OpenCV's of the same name does with the arguments of the published script. Arrays are
(H, W, n), in numpy, since layers do not depend on the images.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

Ints = npt.NDArray[np.int32]

Floats = npt.NDArray[np.float32]

EMBOSS = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))

FIX = 1 << 16  # the distance transform counts in 1/65536

STRAIGHT, DIAGONAL, KNIGHT = (round(step * FIX) for step in (1.0, 1.4, 2.1969))

FAR = (2**31 - 1) >> 2


def water_depth(layer: Bytes) -> Floats:
    """Distance from the drops' edges, up to 20, equalised and embossed; float32 with whole values 0..255."""
    distance = np.minimum(distance_transform(canny(layer, 50, 150)), np.float32(20))
    relief = equalize(_mean3(distance).astype(np.uint8))
    embossed = np.clip(_correlate3(relief.astype(np.int32), EMBOSS), 0, 255)
    return np.rint(_mean3(embossed)).astype(np.float32)


def _shifts(x: npt.NDArray[Any], mode: str) -> list[list[npt.NDArray[Any]]]:
    """The 3x3 neighbours of each pixel, as views: [row][column]."""
    wide = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode=mode)  # type: ignore[call-overload]
    height, width = x.shape[:2]
    return [[wide[i : i + height, j : j + width] for j in range(3)] for i in range(3)]


def _correlate3(x: Ints, kernel: tuple[tuple[int, ...], ...]) -> Ints:
    near = _shifts(x, "reflect")
    return np.asarray(sum(kernel[i][j] * near[i][j] for i in range(3) for j in range(3) if kernel[i][j]))


def _mean3(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    near = _shifts(x.astype(np.float64), "reflect")
    rows = [left + middle + right for left, middle, right in near]
    return np.asarray((rows[0] + rows[1] + rows[2]) / 9)


def canny(layer: Bytes, low: int, high: int) -> npt.NDArray[np.bool_]:
    """Edges: local maxima of the gradient above ``low`` that hang together with one above ``high``."""
    dx, dy = _sobel(layer.astype(np.int32))
    size = np.abs(dx) + np.abs(dy)
    candidates = (size > low) & _is_ridge(dx, dy, size)
    wide = np.zeros((layer.shape[0] + 2, layer.shape[1] + 2, layer.shape[2]), dtype=bool)
    edges, found = wide[1:-1, 1:-1], -1
    edges[:] = candidates & (size > high)
    while np.count_nonzero(edges) > found:  # spread to all eight neighbours that are candidates
        found = int(np.count_nonzero(edges))
        rows = wide[:-2] | wide[1:-1] | wide[2:]
        np.logical_and(rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:], candidates, out=edges)
    return edges


def _sobel(x: Ints) -> tuple[Ints, Ints]:
    near = _shifts(x, "edge")
    dx = sum(w * (row[2] - row[0]) for w, row in zip((1, 2, 1), near, strict=True))
    dy = sum(w * (near[2][j] - near[0][j]) for w, j in zip((1, 2, 1), range(3), strict=True))
    return np.asarray(dx), np.asarray(dy)


def _is_ridge(dx: Ints, dy: Ints, size: Ints) -> npt.NDArray[np.bool_]:
    """Larger than the neighbour before and not smaller than the one after, across the edge (four directions)."""
    near = _shifts(size, "constant")
    tangent = 13573  # tan(22.5 degrees) x 2^15, OpenCV's constant
    run, rise = np.abs(dx), np.abs(dy) << 15  # gradients of bytes are at most 1020: 32 bits hold all of this
    slope = run * tangent
    flat, steep = rise < slope, rise > slope + (run << 16)
    oblique, falling = ~(flat | steep), (dx ^ dy) < 0
    kinds = [flat, steep, oblique & falling, oblique & ~falling]
    before, after = [near[1][0], near[0][1], near[0][2], near[0][0]], [near[1][2], near[2][1], near[2][0], near[2][2]]
    after_counts = [size >= after[0], size >= after[1], size > after[2], size > after[3]]
    ridge = np.zeros_like(flat)
    for kind, first, last in zip(kinds, before, after_counts, strict=True):
        ridge |= kind & (size > first) & last
    return ridge


def distance_transform(edges: npt.NDArray[np.bool_]) -> Floats:
    """Chamfer distance to the nearest edge (steps 1, 1.4 and 2.1969 for a knight's move), two sweeps, fixed point."""
    height, width, n = edges.shape
    field = np.full((height + 4, width + 4, n), FAR, dtype=np.int32)
    field[2:-2, 2:-2][edges] = 0
    for rows in (field, field[::-1, ::-1]):
        for k in range(2, height + 2):
            _sweep(rows[k], rows[k - 1], rows[k - 2])
    return (field[2:-2, 2:-2] * np.float32(1 / FIX)).astype(np.float32)


def _sweep(row: Ints, above: Ints, two_above: Ints) -> None:
    """Relax a row (W + 4, n) in place from the two rows before it, then along itself."""
    width = len(row) - 4
    best = np.minimum(two_above[1:-3], two_above[3:-1])
    for source in (above[:-4], above[4:]):
        np.minimum(best, source, out=best)
    best += KNIGHT
    np.minimum(best, np.minimum(above[1:-3], above[3:-1]) + DIAGONAL, out=best)
    np.minimum(best, above[2:-2] + STRAIGHT, out=best)
    np.minimum(best, row[2:-2], out=best)
    along = np.arange(width, dtype=np.int32)[:, None] * STRAIGHT
    best -= along
    np.add(np.minimum.accumulate(best, axis=0), along, out=row[2:-2])


def equalize(x: Bytes) -> Bytes:
    """Histogram equalisation of each image; an image of one level stays as it is."""
    n, pixels = x.shape[2], x.shape[0] * x.shape[1]
    cell = x + np.arange(n) * 256
    histogram = np.bincount(cell.ravel(), minlength=256 * n).reshape(n, 256)
    first = np.take_along_axis(histogram, (histogram > 0).argmax(axis=1)[:, None], axis=1)
    above = np.maximum(np.cumsum(histogram, axis=1) - first, 0).astype(np.float32)
    table = np.clip(np.rint(above * (np.float32(255) / np.maximum(pixels - first, 1).astype(np.float32))), 0, 255)
    table = np.where(first == pixels, np.arange(256), table).astype(np.uint8)
    return np.asarray(table.ravel().take(cell))
