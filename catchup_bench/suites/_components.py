"""Connected components of all level sets of a map at once."""

from typing import Any

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float64]
Boxes = npt.NDArray[np.int64]
NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Half of the eight; the other half are their opposites."""


def components(values: Map, thresholds: Map) -> list[tuple[npt.NDArray[np.int64], Boxes]]:
    """Return, for each of the increasing ``thresholds``, the pixel counts (C) and the boxes (C×4: left, top, right,
    bottom, half-open) of the 8-connected components of ``values`` > threshold.

    Every pixel belongs to the peak that it climbs to, along pixels that are no lower; so a component is what exceeds
    the threshold around some peaks, and two peaks are in one component where a pass between them exceeds it, too. The
    image is thus read once, and the rest is about its few peaks.
    """
    peak = climb(values)
    level = np.searchsorted(thresholds, values.ravel(), side="left")  # how many thresholds a pixel exceeds
    peaks, own = np.unique(peak, return_inverse=True)
    counts, boxes = extents(own, level, len(peaks), len(thresholds), values.shape)
    groups = [[i] for i in range(len(peaks))]
    group_of = list(range(len(peaks)))
    passes = sorted(zip(*(a.tolist() for a in saddles(own.reshape(values.shape), level)), strict=True), reverse=True)
    by_level: list[tuple[npt.NDArray[np.int64], Boxes]] = []
    at = 0
    for i in range(len(thresholds) - 1, -1, -1):  # peaks join as the level falls
        while at < len(passes) and passes[at][0] > i:
            _, a, b = passes[at]
            at += 1
            a, b = group_of[a], group_of[b]
            if a != b:
                for member in groups[b]:
                    group_of[member] = a
                groups[a] += groups[b]
                groups[b] = []
        alive = [members for members in groups if members and counts[members, i].any()]
        sums = np.array([counts[members, i].sum() for members in alive], np.int64)
        around = [[*boxes[members, i, :2].min(0), *boxes[members, i, 2:].max(0)] for members in alive]
        by_level.append((sums, np.array(around, np.int64).reshape(-1, 4)))
    return by_level[::-1]


def climb(values: Map) -> npt.NDArray[np.int64]:
    """Return for each pixel (in a row) the peak that it comes to by always going to its highest neighbour; of equal
    neighbours the later one is higher."""
    height, width = values.shape
    order = np.empty(values.size, np.int64)
    order[np.argsort(values, axis=None, kind="stable")] = np.arange(values.size)
    rank = np.full((height + 2, width + 2), -1, np.int64)
    rank[1:-1, 1:-1] = order.reshape(values.shape)
    best = rank[1:-1, 1:-1].copy()
    for down, right in [*NEIGHBOURS, *((-d, -r) for d, r in NEIGHBOURS)]:
        np.maximum(best, rank[1 + down : 1 + down + height, 1 + right : 1 + right + width], out=best)
    pixel_of = np.argsort(order)
    upwards = pixel_of[best.ravel()]
    while not np.array_equal(further := upwards[upwards], upwards):
        upwards = further
    return upwards


def extents(own: Any, level: Any, peaks: int, levels: int, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Return pixel counts (peaks×levels) and boxes (peaks×levels×4) of the pixels of each peak that exceed each
    threshold; the box of none is inside out."""
    rows, columns = np.divmod(np.arange(own.size), shape[1])
    counts = np.zeros((peaks, levels + 1), np.int64)
    np.add.at(counts, (own, level), 1)
    least = np.full((peaks, levels + 1, 2), max(shape), np.int64)
    most = np.zeros((peaks, levels + 1, 2), np.int64)
    for axis, place in enumerate((columns, rows)):
        np.minimum.at(least[..., axis], (own, level), place)
        np.maximum.at(most[..., axis], (own, level), place + 1)
    # a pixel of level l exceeds the thresholds 0 to l - 1
    above = [a[:, ::-1] for a in (counts, least, most)]
    counts = above[0].cumsum(1)[:, ::-1][:, 1:]
    least = np.minimum.accumulate(above[1], 1)[:, ::-1][:, 1:]
    most = np.maximum.accumulate(above[2], 1)[:, ::-1][:, 1:]
    return counts, np.concatenate([least, most], 2)


def saddles(own: Any, level: Any) -> tuple[Any, Any, Any]:
    """Return the highest pass between each two neighbouring peaks: its level, and the two."""
    height, width = own.shape
    level = level.reshape(own.shape)
    edges = []
    for down, right in NEIGHBOURS:
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width + min(0, right)))
        a, b = own[here], own[there]
        apart = a != b
        low, high = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        edges.append(np.stack([np.minimum(level[here], level[there])[apart], low, high]))
    every = np.concatenate(edges, 1)
    pair = every[1] * (own.max() + 1) + every[2]
    order = np.lexsort((-every[0], pair))
    first = np.unique(pair[order], return_index=True)[1]
    heights, low, high = every[:, order[first]]
    return heights, low, high
