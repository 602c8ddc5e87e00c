"""Images in a turbulent grey mist (K. Perlin, An image synthesizer, SIGGRAPH 1985).

Images are uint8 (n, S, S, 3); ``amount`` is a severity out of 10.
"""

import torch
from torch import Tensor

from ...corruptions.cells import Draws
from ..noise import to_bytes

LATTICE = 256
"""Points of the lattice along an axis before it repeats itself, and gradients."""
LEVELS = 256
"""Components of gradients are multiples of 1/256 before their length becomes 1."""
ACROSS = 7
"""Cells of the lattice across an image in the coarsest octave."""
OCTAVES = (1, 2, 4, 8, 16)


def perlin_noise(x: Tensor, amount: float, draws: Draws) -> Tensor:
    order = draws.uniform(0, 1, LATTICE).argsort(1)
    gradients = draws.uniform(-LEVELS, LEVELS, LATTICE, 2).floor() / LEVELS
    return misted(x, 0.05 * amount, turbulence(x.shape[1], order, unit(gradients)))


def unit(vectors: Tensor) -> Tensor:
    """Return vectors of length 1 in the same directions; that of length 0 stays."""
    length = vectors.square().sum(-1, keepdim=True).sqrt()
    return vectors / torch.where(length > 0, length, 1.0)


def misted(x: Tensor, share: float, depth: Tensor) -> Tensor:
    """Replace ``share`` of images by the light of ``depth`` (n×S×S, from -1 black to 1 white)."""
    light = (0.5 * depth + 0.5).clamp(0, 1)[..., None]
    return to_bytes(((1 - share) * x.float()).double() + 255 * share * light)


def turbulence(side: int, order: Tensor, gradients: Tensor) -> Tensor:
    """Return the sum of the absolute noise of the octaves, each weighted by its period, n×S×S float64."""
    place = torch.arange(side, device=order.device, dtype=torch.float64) * (1 / (side / ACROSS))
    total = torch.zeros(len(order), side, side, dtype=torch.float64, device=order.device)
    for octave in OCTAVES:
        total += gradient_noise(place * octave, order, gradients).abs() / octave
    return total


def gradient_noise(place: Tensor, order: Tensor, gradients: Tensor) -> Tensor:
    """Return Perlin's noise at ``place`` × ``place`` (S each, in cells of the lattice), n×S×S.

    The gradient of a point of the lattice is that of ``gradients`` (n×256×2) at a place that ``order``, a permutation
    of 0 to 255 (n×256), scatters its coordinates to.
    """
    low = place.floor()
    part = place - low
    near = low.long().remainder(LATTICE)
    eased = part**2 * (3 - 2 * part)

    def at(down: int, along: int) -> Tensor:
        """Return the noise of one corner alone: its gradient times the way from it."""
        rows, cols = (near + down).remainder(LATTICE), (near + along).remainder(LATTICE)
        hashed = (order[:, rows, None] + cols).remainder(LATTICE).flatten(1)
        which = order.gather(1, hashed)
        gradient = gradients.gather(1, which[..., None].expand(-1, -1, 2)).unflatten(1, (len(rows), len(cols)))
        return (part - down)[:, None] * gradient[..., 0] + (part - along) * gradient[..., 1]

    down = eased[:, None]
    left = at(0, 0) + down * (at(1, 0) - at(0, 0))
    right = at(0, 1) + down * (at(1, 1) - at(0, 1))
    return 1.5 * (left + eased * (right - left))
