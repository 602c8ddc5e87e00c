"""Images seen through moving water.

Images are uint8 (n, S, S, 3); ``amount`` is a severity out of 10.
"""

import math

import torch
from torch import Tensor

from ...corruptions.cells import Draws
from ..noise import to_bytes
from ..warp import bilinear
from .waves import of_each, places

ETA = 4.0
"""Ratio of the refractive indices."""
FLAT = 1e-3
"""Water is level where its normal is within this of upright, in cosines."""
BRIGHTNESS = 0.005
STEPS = 5


def caustic_refraction(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    light = caustics(x, draws.uniform(0.5, 2), draws.uniform(0.75, 1.25) * side)
    return refracted(x, smoothed(light), 0.05 * amount * side, 0.2 * amount)


def caustics(x: Tensor, time: Tensor, size: Tensor) -> Tensor:
    """Return the light at the bottom of waves with a period of ``size`` pixels, n×S×S in [0, 1]."""
    row, col = (place.expand(len(x), *x.shape[1:3]) for place in places(x))
    down, along = ((p / of_each(size)).remainder(1) * 6.28318530718 - 250 for p in (row, col))
    moved, turned, total = down, along, torch.ones_like(down)
    for k in range(STEPS):
        t = of_each(time) * (1 - 3.5 / (k + 1))
        moved, turned = (
            down + ((t - moved).cos() + (t + turned).sin()),
            along + ((t - turned).sin() + (t + moved).cos()),
        )
        first, second = down / ((moved + t).sin() / BRIGHTNESS), along / ((turned + t).cos() / BRIGHTNESS)
        total = total + 1 / (first**2 + second**2).sqrt()
    return (1.17 - (total / STEPS) ** 1.4).abs().pow(8).clamp(0, 1)


def smoothed(light: Tensor) -> Tensor:
    """Return ``light`` (n×S×S) blurred by a Gaussian of one pixel up to four, mirrored at the edges."""
    weights = [math.exp(-0.5 * k * k) for k in range(-4, 5)]
    side = light.shape[1]
    at = torch.arange(-4, side + 4, device=light.device)
    at = torch.where(at < 0, -1 - at, torch.where(at >= side, 2 * side - 1 - at, at))
    for axis in (1, 2):
        wide = light.index_select(axis, at)
        light = torch.zeros_like(light)
        for k, weight in enumerate(weights):  # one by one: a sum of a batch is that of each image
            light += weight / sum(weights) * wide.narrow(axis, k, side)
    return light


def refracted(x: Tensor, light: Tensor, depth: float, lighting: float) -> Tensor:
    """Take each pixel from where a ray that falls straight onto water of the shape ``light`` (n×S×S) reaches the
    ground at ``depth`` pixels, and light it by the slope times ``lighting``. What lies outside is black."""
    side = x.shape[1]
    wide = torch.nn.functional.pad(light, (1, 1, 1, 1))
    down = wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]
    along = wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]
    length = (down**2 + along**2 + 1).sqrt()
    upright, sine = 1 / length, (down**2 + along**2).sqrt() / length
    # Snell's law: the sine of the ray below is that above over ETA; the normal's share of its sideways part is this
    bend = (1 - (sine / ETA) ** 2).sqrt() - upright / ETA
    bend = torch.where(upright >= 1 - FLAT, 0.0, bend)
    row, col = (place.expand(len(x), side, side) for place in places(x))
    shifted = (
        place + (slope / length * bend * depth * 1000).round() / 1000 for place, slope in ((row, down), (col, along))
    )
    seen = bilinear(x.float() / 255, *shifted)
    lit = seen + ((down - along) * lighting)[..., None]
    return to_bytes(lit.clamp(0, 1) * 255)
