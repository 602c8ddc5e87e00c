"""Mixing pictures made on the spot: Julia sets, dense, coloured and with structure at all scales.

Starting values are rounded and each operation of the iteration is one rounding of its own, so that every machine makes
the same pictures: the iteration would amplify any last bit.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench.method import Network

from ._chains import uniform, whole

SEED, CHUNK = 0, 8
OVERSAMPLING, ITERATIONS, ESCAPE = 2, 64, 8.0


def rounded(value: Tensor) -> Tensor:
    """To multiples of 2⁻²⁴: functions such as the cosine differ in the last bit from one machine to the next."""
    return (value * 2**24).round() / 2**24


@lru_cache(maxsize=4)
def pictures(count: int, size: int) -> Tensor:
    """``count`` square pictures, uint8 count×3×size×size on the CPU, always the same ones."""
    gen = torch.Generator().manual_seed(SEED)
    out = [julia(min(CHUNK, count - start), size, gen) for start in range(0, count, CHUNK)]
    return torch.cat(out)


@torch.no_grad()
def julia(count: int, size: int, gen: torch.Generator) -> Tensor:
    """Pictures (uint8 count×3×size×size) of z ← z² + c near a fixed point, c just outside the main cardioid."""
    u = torch.rand(count, 14, generator=gen, dtype=torch.float64)
    side = size * OVERSAMPLING
    theta, rho = 2 * math.pi * u[:, 0], 1 + 0.12 * u[:, 1]
    c = torch.polar(rho / 2, theta) - torch.polar(rho * rho / 4, 2 * theta)
    zoom = 1.5 * 0.08 ** u[:, 2]
    fixed = (1 + torch.sqrt(1 - 4 * c)) / 2 * torch.where(u[:, 6] < 0.5, 1.0, -1.0)
    centre = fixed + torch.complex(u[:, 4] - 0.5, u[:, 5] - 0.5) * (0.6 * zoom)
    turn = torch.polar(zoom, 2 * math.pi * u[:, 3])
    value = escape(parts(c), parts(centre), parts(turn), side)
    value = (value - value.mean((1, 2), keepdim=True)) / (value.std((1, 2), keepdim=True) + 1e-6)
    phase, rate = u[:, 8:11, None, None], 0.6 + 0.8 * u[:, 11:14, None, None]
    frequency = 0.25 + 0.9 * u[:, 7, None, None, None]
    colour = 0.5 + 0.5 * torch.cos(2 * math.pi * (frequency * rate * value[:, None] + phase))
    return (F.avg_pool2d(colour, OVERSAMPLING) * 255).round().to(torch.uint8)


Parts = tuple[Tensor, Tensor]


def parts(z: Tensor) -> Parts:
    """Rounded real and imaginary part of N complex numbers, each N×1×1."""
    return rounded(z.real)[:, None, None], rounded(z.imag)[:, None, None]


def escape(constant: Parts, centre: Parts, turn: Parts, side: int) -> Tensor:
    """How soon each point of a turned square grid leaves, with fractions; for points that stay, 20 times how near they
    came to the circle of radius ½. N×side×side."""
    (c, d), (centre_x, centre_y), (turn_x, turn_y) = constant, centre, turn
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1
    x, y = axis.expand(side, -1), axis[:, None].expand(-1, side)
    x, y = turn_x * x - turn_y * y + centre_x, turn_y * x + turn_x * y + centre_y
    steps, last, trap = torch.zeros_like(x), torch.zeros_like(x), torch.full_like(x, 9.0)
    inside = torch.ones_like(x, dtype=torch.bool)
    for n in range(ITERATIONS):
        x, y = (x * x).sub_(y * y).add_(c), (2 * x).mul_(y).add_(d)
        radius = (x * x).add_(y * y).sqrt_()
        near = torch.minimum(trap, (radius - 0.5).abs_())
        trap = torch.where(inside, near, trap)
        out = (radius > ESCAPE).logical_and_(inside)
        steps.masked_fill_(out, n + 1.0)
        last = torch.where(out, radius, last)
        inside.logical_and_(out.logical_not_())
        x.clamp_(-1e3, 1e3)
        y.clamp_(-1e3, 1e3)
    smooth = steps - torch.log2(last.clamp(min=ESCAPE).log() / math.log(ESCAPE))
    return torch.where(inside, 20 * trap, smooth)


class MixingSet(nn.Module):
    """Pictures on the device of the images, an eighth larger than they are, made at the first batch. They are not
    saved, as they are always the same."""

    made: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("made", torch.empty(0, dtype=torch.uint8), persistent=False)

    def fit(self, x: Tensor) -> None:
        """Make the pictures for images like ``x``, unless they are there."""
        size = 9 * max(x.shape[2:]) // 8
        if self.made.shape[-1] != size or self.made.device != x.device:
            self.made = pictures(self.count, size).to(x.device)

    def crops(self, x: Tensor, gen: torch.Generator) -> Tensor:
        """For each image of ``x`` a random picture, cut to its size at a random place: uint8, as ``x`` in shape."""
        self.fit(x)
        (n, _, height, width), size = x.shape, self.made.shape[-1]
        which = whole(gen, len(self.made), n)
        rows = whole(gen, size - height + 1, n)[:, None] + torch.arange(height, device=x.device)
        cols = whole(gen, size - width + 1, n)[:, None] + torch.arange(width, device=x.device)
        return self.made[which[:, None, None], :, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def mixing_set(net: Network) -> MixingSet:
    """The pictures that ``bind`` attached."""
    assert isinstance(net.extra, MixingSet), "bind the method to the network first"
    return net.extra


def draw_coefficients(beta: float, gen: torch.Generator, *shape: int) -> tuple[Tensor, Tensor]:
    """Exponents or factors (a, b) of two images, float32: a coin decides between Beta(β, 1) and Beta(1, β), and 1 plus
    and 0 minus a draw from Beta(1, β)."""
    coin, u, v = (uniform(gen, *shape) for _ in range(3))
    plain, low, small = u ** (1 / beta), 1 - u ** (1 / beta), 1 - v ** (1 / beta)
    a = torch.where(coin < 0.5, plain, 1 + low)
    return a.float(), torch.where(coin < 0.5, small, -small).float()


def add(m: Tensor, s: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Sum of two images about grey; it may leave [0,1]."""
    return (a * (2 * m - 1) + b * (2 * s - 1) + 1) / 2


def multiply(m: Tensor, s: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Product of powers of two images, 1 for grey; it may leave [0,1]."""
    return (2 * m) ** a * (2 * s).clamp(min=1e-37) ** b / 2
