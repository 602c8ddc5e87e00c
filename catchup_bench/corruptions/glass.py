"""Glass blur: pixels take the place of near neighbours, between two Gaussian blurs."""

import torch
from torch import Tensor

from .blur import gaussian
from .cells import Draws
from .pixels import to_bytes
from .severity import Parameters


def glass_blur(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """c is (sigma, reach, passes)."""
    sigma, reach, passes = c[0], int(c[1]), int(c[2])
    height, width, channels = x.shape[1:]
    smooth = to_bytes(gaussian(x, sigma))
    if min(height, width) > 2 * reach:
        bits = draws.bits(passes, height - 2 * reach, width - 2 * reach)
        source = shuffle(*offsets(bits, reach), reach, height, width)
        smooth = smooth.view(-1, channels).index_select(0, source).view(x.shape)
    return to_bytes(gaussian(smooth, sigma))


def offsets(bits: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """(dy, dx), each uniform on -reach..reach-1, from the two halves of 32 random bits."""
    dx = ((bits & 0xFFFF) * (2 * reach) >> 16) - reach
    dy = ((bits >> 16 & 0xFFFF) * (2 * reach) >> 16) - reach
    return dy, dx


def shuffle(dy: Tensor, dx: Tensor, reach: int, height: int, width: int) -> Tensor:
    """Flat source (n H W,) of each pixel after all passes; ``dy``, ``dx``: (n, passes, H - 2 reach, W - 2 reach).

    The published script means to swap two pixels, but its tuple assignment on array rows copies: (h, w) takes the
    value at (h + dy, w + dx), which stays. h and w run downwards from H - reach and W - reach to reach + 1.
    """
    n, passes = dy.shape[:2]
    place = torch.arange(n * height * width, device=dy.device, dtype=torch.int32).view(n, height, width)
    visited = slice(reach + 1, height - reach + 1), slice(reach + 1, width - reach + 1)
    rank = torch.zeros_like(place[0])  # the later in raster order, the earlier visited
    rank[visited] = torch.arange(1, dy[0, 0].numel() + 1, device=dy.device, dtype=torch.int32).view(dy.shape[2:])
    total = place.reshape(-1)
    for k in range(passes):
        source = place.clone()
        source[:, *visited] += dy[:, k] * width + dx[:, k]
        total = total.index_select(0, _resolve(source.view(-1), place.view(-1), rank.view(-1), reach))
    return total


def _resolve(source: Tensor, place: Tensor, rank: Tensor, reach: int) -> Tensor:
    """Follow sources that were themselves overwritten earlier in the same pass; ``rank`` is 0 where never visited.

    Places are nodes 0..m-1, their values before the pass nodes m..2m-1. With reach 1 no source comes earlier.
    """
    if reach == 1:
        return source
    m, pixels = len(source), len(rank)
    here, there = rank.repeat(m // pixels), rank.index_select(0, source % pixels)
    parent = torch.cat([source + m * ((here == 0) | (there <= here)), place + m])
    while bool((parent[:m] < m).any()):
        parent = parent.index_select(0, parent)
    return parent[:m] - m
