"""What lies over an image: a checkerboard with holes, sparkles, a bright vignette with rays, grey lines.

Images are uint8 (n, S, S, 3); ``amount`` is a severity out of 10. What is drawn for an image comes as a tensor.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..corruptions.cells import Draws
from .noise import to_bytes

GREY = 128.0
CELLS = 40
"""Cells of the board along an axis: it is four images wide, and a cell at least a tenth of one."""
RAYS = 200
"""Sparkles have 50 up to this, exclusive, many rays."""
SPARKLES = 5
JITTER = 0.25
"""Standard deviation of the length of a ray, in its mean."""


def checkerboard_cutout(x: Tensor, amount: float, draws: Draws) -> Tensor:
    angle, scale = draws.uniform(0, 2 * math.pi), draws.uniform(0.1, 0.25) * x.shape[1]
    return cut_out(x, angle, scale.clamp(min=1), draws.uniform(0, 1, CELLS, CELLS) < amount / 10)


def cut_out(x: Tensor, angle: Tensor, scale: Tensor, holes: Tensor) -> Tensor:
    """Make every second cell of a board grey where ``holes`` (n, G, G) says so. Cells are ``scale`` pixels wide, turned
    by ``angle`` about the upper left corner."""
    n, side = x.shape[:2]
    row = torch.arange(side, device=x.device, dtype=torch.float64)
    i, j, cos, sin = row[:, None], row, angle.cos()[:, None, None], angle.sin()[:, None, None]
    width = scale[:, None, None]
    down, along = (cos * i + sin * j) / width, (-sin * i + cos * j) / width
    black = down.remainder(2).floor() == along.remainder(2).floor()
    cells = (4 * side // scale).long()[:, None, None]
    at = down.trunc().long().remainder(cells) * holes.shape[2] + along.trunc().long().remainder(cells)
    cut = black & holes.flatten(1).gather(1, at.flatten(1)).view(n, side, side)
    return torch.where(cut[..., None], int(GREY), x)


class Star(NamedTuple):
    """Rays from a centre, of n images."""

    centre: Tensor
    """Row and column, n×2."""
    rays: Tensor
    """How many, int64 of length n."""
    lengths: Tensor
    """In pixels, n×200; the first ``rays`` are used."""


def draw_star(draws: Draws, low: float, high: float, side: int, radius: float) -> Star:
    """Draw a centre between ``low`` and ``high`` of the side, and rays of mean length ``radius``."""
    rays = draws.uniform(50, RAYS).floor().long()
    lengths = radius + JITTER * radius * draws.normal(RAYS).double()
    return Star(draws.uniform(low, high, 2) * side, rays, lengths)


def glow(side: int, star: Star, exponent: float) -> Tensor:
    """Return the light of a star at each pixel, n×S×S in [0, 1]: the power of the squared ratio of the length of the
    rays on both sides, interpolated, to the distance from the centre, brighter between rays."""
    row = torch.arange(side, device=star.centre.device, dtype=torch.float64)
    down, along = row[:, None] - star.centre[:, 0, None, None], row - star.centre[:, 1, None, None]
    rays = star.rays[:, None, None]
    turn = (torch.atan2(along, down) + math.pi) / (2 * math.pi) * rays
    before = turn.trunc()
    part = turn - before

    def length(ray: Tensor) -> Tensor:
        return star.lengths.gather(1, ray.long().remainder(rays).flatten(1)).view(ray.shape)

    first = length(before)
    reach = first + part * (length(before + 1) - first)
    light = (reach**2 / (down**2 + along**2 + 1e-4)) ** exponent
    return ((1 - (part - 0.5) ** 2) * light).clamp(0, 1)[..., None]


def sparkles(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    return sparkling(x, [draw_star(draws, 0, 1, side, 0.01 * amount * side) for _ in range(SPARKLES)])


def sparkling(x: Tensor, stars: list[Star]) -> Tensor:
    """Light white stars one after the other; a ray is at least one pixel long."""
    out = x.float()
    for star in stars:
        light = glow(x.shape[1], star._replace(lengths=star.lengths.clamp(min=1)), 1.0)
        out = (out + light * (255 - out.double())).float()
    return to_bytes(out)


def inverse_sparkles(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    return vignette(x, draw_star(draws, 0.25, 0.75, side, 0.25 * side), 6.5 * amount / 50)


def vignette(x: Tensor, star: Star, exponent: float) -> Tensor:
    """Turn all white but what a star lights."""
    return to_bytes(255 + glow(x.shape[1], star, exponent) * (x.double() - 255))


def lines(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    count = int(amount / 10 * side)
    angle, spread = draws.uniform(0, 2 * math.pi), draws.uniform(0.1, 1)
    places, turns = draws.uniform(0, side, count, 2), draws.uniform(-0.5, 0.5, count)
    return lined(x, places, angle[:, None] + 2 * math.pi * spread[:, None] * turns)


def lined(x: Tensor, places: Tensor, angles: Tensor) -> Tensor:
    """Draw grey lines through ``places`` (n×L×2: row, column) at ``angles`` (n×L), each as long as two sides, smoothed
    as scikit-image's ``line_aa``."""
    side = x.shape[1]
    step = torch.stack([angles.cos(), angles.sin()], -1) * side
    shares = coverage((places - step).trunc().long(), (places + step).trunc().long(), side)
    out = x
    for share in shares.unbind(1):
        part = share[..., None]
        mixed = ((1 - part) * out.double() + part * GREY).to(torch.uint8)
        out = torch.where(part >= 0, mixed, out)
    return out


def coverage(start: Tensor, end: Tensor, side: int) -> Tensor:
    """Return how much of each pixel lines cover, n×L×S×S float64; below 0 where a line does not come.

    Zingl's algorithm (A rasterizing algorithm for drawing curves, 2012) for all lines at once: ``start`` and ``end``
    are whole pixels (n×L×2: row, column), which may lie outside the image. A pixel that is set twice has the later
    value.
    """
    shares = torch.full((start[..., 0].numel(), side * side + 1), -1.0, dtype=torch.float64, device=start.device)
    (r, c), (r1, c1) = start.reshape(-1, 2).unbind(1), end.reshape(-1, 2).unbind(1)
    dr, dc = (r1 - r).abs(), (c1 - c).abs()
    sign_r, sign_c = torch.where(r < r1, 1, -1), torch.where(c < c1, 1, -1)
    err, length = dc - dr, torch.hypot(dc.double(), dr.double()).clamp(min=1)

    def put(on: Tensor, row: Tensor, col: Tensor, far: Tensor) -> None:
        shown = on & (row >= 0) & (row < side) & (col >= 0) & (col < side)
        at = torch.where(shown, row * side + col, side * side)  # the last place is thrown away
        shares.scatter_(1, at[:, None], (1 - far.abs() / length)[:, None])

    drawing = torch.ones_like(r, dtype=torch.bool)
    for _ in range(4 * side + 2):  # a line spans at most two sides, rounded, and takes a step in each direction
        put(drawing, r, c, (err - dc + dr).double())
        now, col = err, c
        across = drawing & (2 * now >= -dc)
        drawing = drawing & ~(across & (c == c1))
        across = across & drawing
        put(across & ((now + dr) < length), r + sign_r, c, (now + dr).double())
        err, c = torch.where(across, err - dr, err), torch.where(across, c + sign_c, c)
        down = drawing & (2 * now <= dr)
        drawing = drawing & ~(down & (r == r1))
        down = down & drawing
        put(down & ((dc - now) < length), r, col + sign_c, (dc - now).double())
        err, r = torch.where(down, err + dc, err), torch.where(down, r + sign_r, r)
    return shares[:, :-1].view(*start.shape[:2], side, side)
