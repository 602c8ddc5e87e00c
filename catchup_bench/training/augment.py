"""Random crops and colours for a whole batch at once, on whatever device it lies.

The boxes are drawn from uniform numbers given from outside, so that an image's crop depends on the seed, the epoch and
its position in it, and never on the batch, the device or the number of workers.
"""

import functools
import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..system.hardware import to_device

ATTEMPTS = 10

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)

CHANCES = 2 * ATTEMPTS + 2
"""Uniform numbers that a resized crop takes per image."""

GREY = (0.299, 0.587, 0.114)

ORDERS = list(itertools.permutations(range(3)))

# Principal components of ImageNet's colours (Krizhevsky et al., 2012), as in fb.resnet.torch.
COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))

VARIANCES = (0.2175, 0.0188, 0.0045)


def resized_boxes(chance: Tensor, height: int, width: int) -> Tensor:
    """Return top, left, height and width (int64 4×N) of random boxes as in torchvision's ``RandomResizedCrop``.

    8 % to 100 % of the area, ratio of the sides 3/4 to 4/3 (uniform in its logarithm), the first of ten attempts that
    fits, otherwise the largest centred box of an allowed ratio. ``chance`` is uniform on [0,1), ``CHANCES``×N.
    """
    chance = chance.double()
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * chance[:ATTEMPTS])
    low, high = (math.log(r) for r in RATIO)
    ratio = (low + (high - low) * chance[ATTEMPTS : 2 * ATTEMPTS]).exp()
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    chosen = (fits.cumsum(0) == 0).sum(0)[None]  # ATTEMPTS where none fits
    fallback = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    w, h = (
        torch.cat([tried, torch.full_like(chosen, side, dtype=torch.float64)]).gather(0, chosen)[0]
        for tried, side in zip((w, h), fallback, strict=True)
    )
    middle = chosen[0] == ATTEMPTS
    top = torch.where(middle, (height - h).div(2, rounding_mode="floor"), (chance[-2] * (height - h + 1)).floor())
    left = torch.where(middle, (width - w).div(2, rounding_mode="floor"), (chance[-1] * (width - w + 1)).floor())
    return torch.stack([top, left, h, w]).long()


def resize_boxes(x: Tensor, boxes: Tensor, interpolation: str) -> Tensor:
    """Resize each image's box to the size of the images: uint8 B×H×W×3 → the same, rounded once.

    Both axes are one matrix product per image, with the weights of Pillow's resize.
    """
    top, left, height, width = boxes.to(x.device)
    rows = _weights(top, height, x.shape[1], interpolation)
    columns = _weights(left, width, x.shape[2], interpolation)
    tall = torch.einsum("bph,bhwc->bpwc", rows, x.float())
    return torch.einsum("bqw,bpwc->bpqc", columns, tall).round_().clamp_(0, 255).to(torch.uint8)


def _weights(start: Tensor, length: Tensor, size: int, interpolation: str) -> Tensor:
    """Return float32 B×size×size: how much each source pixel gives to each pixel of the resized ``[start,
    start+length)``."""
    scale = (length / size)[:, None, None]
    pixel = torch.arange(size, device=start.device) + 0.5
    centre = start[:, None, None] + pixel[:, None] * scale
    distance = ((pixel - centre) / scale.clamp(min=1)).abs()
    weights = (1 - distance).clamp(min=0) if interpolation == "bilinear" else _cubic(distance)
    end = (start + length)[:, None, None]
    weights = weights * ((pixel > start[:, None, None]) & (pixel < end))
    return weights / weights.sum(2, keepdim=True)


def _cubic(d: Tensor) -> Tensor:
    """Evaluate Keys' kernel with a = −1/2."""
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return torch.where(d < 1, near, torch.where(d < 2, far, 0))


@functools.cache
def colour_constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the orders of three changes and the weights of grey on a device, copied there once: a copy waits for
    it."""
    return torch.tensor(ORDERS, device=device), torch.tensor(GREY, device=device)


def color_jitter(x: Tensor, chance: Tensor, strength: float) -> Tensor:
    """Multiply brightness, contrast and saturation of each image by a factor in 1 ± ``strength``, in a random order.

    ``x`` is B×3×H×W in [0,1], ``chance`` uniform on [0,1), 4×B: three factors and the order. As in fb.resnet.torch and
    the released code of CutMix (utils.py), nothing is clamped, so the result may leave [0,1].
    """
    chance = chance.to(x.device)
    factors = 1 + strength * (2 * chance[:3] - 1)
    orders, weights = colour_constants(x.device)
    order = orders[(chance[3] * len(ORDERS)).long()]
    for step in range(3):
        which = order[:, step]
        factor = factors.gather(0, which[None])[0].view(-1, 1, 1, 1)
        grey = torch.einsum("bchw,c->bhw", x, weights)[:, None]
        which = which.view(-1, 1, 1, 1)
        other = torch.where(which == 0, 0, torch.where(which == 1, grey.mean((2, 3), keepdim=True), grey))
        x = factor * x + (1 - factor) * other
    return x


def lighting(x: Tensor, normal: Tensor, deviation: float) -> Tensor:
    """Move colours along the principal components of ImageNet's (Krizhevsky et al., 2012), without clamping.

    ``x`` is B×3×H×W, ``normal`` standard normal, 3×B, on the CPU.
    """
    components = torch.tensor(COMPONENTS) * torch.tensor(VARIANCES) * deviation
    shift = to_device((components @ normal).T, x.device)
    return x + shift[:, :, None, None]


def padded(x: Tensor, pad: int, padding: str) -> Tensor:
    """Pad ``x`` (N×H×W×3) by ``pad`` pixels on every side: black, or what a mirror at the edge shows."""
    if padding == "zeros":
        return F.pad(x, (0, 0, pad, pad, pad, pad))
    for axis in (1, 2):
        size = x.shape[axis]
        index = torch.arange(-pad, size + pad).abs()
        x = x.index_select(axis, torch.where(index < size, index, 2 * (size - 1) - index))
    return x
