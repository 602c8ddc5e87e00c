"""Two noises with a spectrum: blue, which hides pixels, and brownish, which is added.

Images are uint8 (n, S, S, 3); ``amount`` is a severity out of 10. What is drawn for an image comes as a tensor.
"""

import math

import torch
from torch import Tensor

from ..corruptions.cells import Draws


def blue_noise_sample(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    return sampled(x, 0.3 * amount - 2.5, draws.uniform(0, 2 * math.pi, *phases(side)))


def sampled(x: Tensor, threshold: float, phase: Tensor) -> Tensor:
    """Keep the pixels where noise of unit variance, whose amplitude grows with frequency, is above ``threshold``; make
    the others black."""
    noise = coloured(distance(x.shape[1], x.device), phase)
    return x * (noise > threshold)[..., None]


def brownish_noise(x: Tensor, amount: float, draws: Draws) -> Tensor:
    side = x.shape[1]
    return added(x, 6.4 * amount, draws.uniform(0, 2 * math.pi, 3, *phases(side)))


def added(x: Tensor, intensity: float, phase: Tensor) -> Tensor:
    """Add noise whose amplitude falls with the square of frequency, of its own for each channel; ``intensity`` is its
    standard deviation in grey levels."""
    power = 1 / (distance(x.shape[1], x.device) ** 2 + 1)
    noise = coloured(power, phase).permute(0, 2, 3, 1)
    return to_bytes(x + intensity * noise)


def phases(side: int) -> tuple[int, ...]:
    """Return the shape of the phases of one noise: half of its spectrum, and for an odd side the middle column."""
    return (side * (side // 2) + (side // 2) * (side % 2),)


def distance(side: int, device: torch.device) -> Tensor:
    """Return the distance of each place of a centred spectrum from S/2, float64 (S, S)."""
    offset = torch.arange(side, device=device, dtype=torch.float64) - side / 2
    return torch.hypot(offset[:, None], offset[None, :])


def coloured(power: Tensor, phase: Tensor) -> Tensor:
    """Return noise (…, S, S) of unit variance with the centred amplitudes ``power`` (S, S) and ``phase`` (…, see
    :func:`phases`) in [0, 2π): the spectrum's right half is its left half, turned by 180 degrees."""
    side, half = len(power), len(power) // 2
    left = phase[..., : side * half].unflatten(-1, (side, half))
    parts = [left, left.flip((-2, -1))]
    if side % 2:
        column = phase[..., side * half :, None]
        parts.insert(1, torch.cat([column, torch.zeros_like(column[..., :1, :]), column.flip(-2)], -2))
    spectrum = power * torch.polar(torch.ones_like(power), torch.cat(parts, -1))
    noise = torch.fft.ifft2(spectrum.roll((half, half), (-2, -1))).real
    return noise / noise.std((-2, -1), correction=0, keepdim=True)


def to_bytes(x: Tensor) -> Tensor:
    """Return grey levels as bytes: clipped and truncated."""
    return x.clamp(0, 255).to(torch.uint8)
