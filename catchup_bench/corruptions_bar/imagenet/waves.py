"""What is added to an image and follows from a formula of the place: a plane wave, rings that wave, plasma.

Images are uint8 (n, S, S, 3); ``amount`` is a severity out of 10. What is drawn for an image comes as a tensor of
length n, or n×k.
"""

import math

import torch
from torch import Tensor

from ...corruptions.cells import Draws
from ..noise import to_bytes


def places(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (S×1) and the columns (S) of an image, float64."""
    place = torch.arange(x.shape[1], device=x.device, dtype=torch.float64)
    return place[:, None], place


def of_each(value: Tensor) -> Tensor:
    """Return one number for each image (n) so that it meets n×S×S."""
    return value[:, None, None]


def single_frequency_greyscale(x: Tensor, amount: float, draws: Draws) -> Tensor:
    larger = draws.uniform(-math.pi, math.pi)
    pair = torch.stack([larger, draws.uniform(-1, 1) * larger.abs()], 1)
    pair = torch.where(draws.uniform(0, 1)[:, None] < 0.5, pair, pair.flip(1))
    return waved(x, 19.6 * amount, pair, draws.uniform(0, 2 * math.pi))


def waved(x: Tensor, intensity: float, frequency: Tensor, phase: Tensor) -> Tensor:
    """Add a sine to all channels; ``frequency`` is n×2 (along columns, along rows), in radians per pixel."""
    row, col = places(x)
    angle = col * of_each(frequency[:, 0]) + row * of_each(frequency[:, 1]) + of_each(phase)
    return to_bytes(x + (intensity * angle.sin())[..., None])


def cocentric_sine_waves(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    centre, frequency = draws.uniform(0, side, 2), draws.uniform(0, 10)
    amplitude, width = draws.uniform(0, side / 10), draws.uniform(0, side / 10)
    return ringed(x, 12.8 * amount, centre, frequency, amplitude, width.clamp(min=1e-9))


def ringed(x: Tensor, intensity: float, centre: Tensor, frequency: Tensor, amplitude: Tensor, width: Tensor) -> Tensor:
    """Add a sawtooth of the distance from ``centre`` (n×2: column, row), of period ``width`` > 0, to all channels. The
    distance waves by ``amplitude`` with ``frequency`` periods around the centre."""
    row, col = places(x)
    along, down = col - of_each(centre[:, 0]), row - of_each(centre[:, 1])
    angle = torch.atan2(along, down) * of_each(frequency)
    distance = (along**2 + down**2).sqrt() + angle.sin() * of_each(amplitude)
    tooth = distance.remainder(of_each(width)) / of_each(width) - 0.5
    return to_bytes(x + (intensity * tooth)[..., None])


MOST_BENDS = 6
"""Plasma is bent 4, 5 or 6 times."""


def plasma_noise(x: Tensor, amount: float, draws: Draws) -> Tensor:
    time, bends = draws.uniform(0, 6 * math.pi), draws.uniform(4, MOST_BENDS + 1).floor()
    sharpness, scale = draws.uniform(0.5, 1), draws.uniform(0.075, 0.2) * x.shape[1]
    return blended(x, 6.4 * amount, plasma(x, time, bends, sharpness, scale))


def blended(x: Tensor, intensity: float, noise: Tensor) -> Tensor:
    """Replace the share ``intensity``/255 of images by ``noise`` in [-1, 1]."""
    return to_bytes((1 - intensity / 255) * x.double() + intensity * noise)


def plasma(x: Tensor, time: Tensor, bends: Tensor, sharpness: Tensor, scale: Tensor) -> Tensor:
    """Return colours in [-1, 1], n×S×S×3: sines of places that are bent ``bends`` times, by sines of each other at
    rising frequencies."""
    row, col = places(x)
    time, sharpness = of_each(time), of_each(sharpness)
    along, down = col / of_each(scale), row / of_each(scale)
    for k in range(MOST_BENDS):
        frequency, slowness, falling = 1.93**k, 1.15**k, (2.25 - sharpness) ** k
        first = (down * frequency + time / slowness).cos() / falling
        second = (along * frequency + time / slowness).sin() / falling
        on = of_each(bends > k)
        along, down = (
            torch.where(on, along + first - 0.3 * second, along),
            torch.where(on, down + second + 0.3 * first, down),
        )
    return torch.stack([(along - time).sin(), ((along + down + time.sin()) * 0.5).sin(), (down + time).sin()], -1)
