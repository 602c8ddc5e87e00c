"""Brightness and saturation, in the hue-saturation-value hexcone; contrast."""

from functools import cache

import torch
from torch import Tensor

from .cells import Draws
from .pixels import planes, to_bytes, unit
from .severity import Parameters


def contrast(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Each channel moves towards its own mean over the image."""
    n, height, width, channels = x.shape
    rows = x.view(n, height, width * channels)
    total = rows.sum(dim=1, dtype=torch.int32).view(n, width, channels).sum(dim=1)
    mean = (total.double() / (255 * height * width)).repeat(1, width)[:, None]
    return to_bytes(unit(rows).sub_(mean).mul_(c[0]).add_(mean)).view(x.shape)


def brightness(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Value + c."""
    hue, saturation, value = hsv(x)
    return rgb_bytes(hue, saturation, value.add_(c[0]).clamp_(0, 1))


def saturate(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Saturation times c[0], plus c[1]. Grey pixels count as red, so an offset tints them."""
    hue, saturation, value = hsv(x)
    return rgb_bytes(hue, saturation.mul_(c[0]).add_(c[1]).clamp_(0, 1), value)


def hsv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bytes (..., 3) to hue in [0, 1), saturation and value, each (...) float64, with scikit-image's operations.

    Choices are products with 0 and 1: exact, and much faster than ``torch.where`` on a CPU.
    """
    r, g, b = unit(planes(x))
    value = torch.maximum(torch.maximum(r, g), b)
    delta = value - torch.minimum(torch.minimum(r, g), b)
    saturation = delta / (value + _equal(value, 0))
    blue = _equal(b, value)
    green = _equal(g, value).mul_(1 - blue)
    red = 1 - blue - green
    grey = _equal(delta, 0)
    step = (g - b).mul_(red).add_((b - r).mul_(green)).add_((r - g).mul_(blue))
    hue = step.div_(delta + grey).add_(green.mul_(2)).add_(blue.mul_(4)).div_(6).mul_(1 - grey)
    return hue.add_(torch.lt(hue, 0, out=torch.empty_like(hue))), saturation, value


def rgb_bytes(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Back to bytes (..., 3)."""
    position = hue.mul_(6)
    sector = position.floor()
    fraction = position.sub_(sector)
    falling = (fraction * saturation).neg_().add_(1).mul_(value)
    rising = fraction.neg_().add_(1).mul_(saturation).neg_().add_(1).mul_(value)
    low = saturation.neg_().add_(1).mul_(value)
    levels = to_bytes(torch.stack([value, falling, low, rising])).view(-1)
    place = torch.arange(hue.numel(), device=hue.device, dtype=torch.int32)
    slot = sector.int().view(-1)
    sources = (role.index_select(0, slot).mul_(len(place)).add_(place) for role in _roles(hue.device))
    channels = [levels.index_select(0, source) for source in sources]
    return torch.stack(channels, dim=-1).view(*hue.shape, 3)


@cache
def _roles(device: torch.device) -> tuple[Tensor, ...]:
    """For red, green and blue: which of value, falling, low and rising each sixth of the hue circle takes."""
    red = [0, 1, 2, 2, 3, 0]
    return tuple(torch.tensor(red[-k:] + red[:-k], dtype=torch.int32, device=device) for k in (0, 2, 4))


def _equal(x: Tensor, y: Tensor | float) -> Tensor:
    """1.0 where equal, else 0.0."""
    return torch.eq(x, y, out=torch.empty_like(x))
