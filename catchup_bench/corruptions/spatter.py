"""Spatter: drops of water (severities 1 to 3) or mud (4 and 5) on the lens."""

import torch
from torch import Tensor

from .blur import gaussian
from .cells import Draws
from .edges import water_depth
from .pixels import batch_first, batch_last, interleave, planes
from .severity import Parameters

WATER = (175, 238, 238)

MUD = (63, 42, 20)


def spatter(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """c is (mean, deviation, sigma, threshold, strength of water or sigma of mud, 0 water or 1 mud)."""
    noise = draws.normal(*x.shape[1:3]).double().mul_(c[1]).add_(c[0])
    liquid = gaussian(noise[..., None], c[2])
    wet = torch.ge(liquid, c[3], out=torch.empty_like(liquid))
    y = planes(x).float().div_(255)
    if c[5] == 0:
        mask = water(liquid.mul_(wet), c[4])[..., 0]
    else:
        mask = mud(torch.gt(liquid, c[3], out=wet), c[4])[..., 0]
        y.mul_(1 - mask)
    for plane, level in zip(y, MUD if c[5] else WATER, strict=True):
        plane.add_(mask * torch.tensor(level / 255, dtype=torch.float32))
    return interleave(y.clamp_(0, 1).mul_(255).to(torch.uint8))


def water(liquid: Tensor, strength: float) -> Tensor:
    """(n, H, W, 1) layer to mask, float32: the layer times its depth, scaled to a maximum of ``strength``.

    The 8-bit layer overflows and wraps around at severity 3, as published. The mask does not depend on the image;
    it is made on the CPU.
    """
    layer = (liquid * 255).int().bitwise_and_(255)
    depth = water_depth(batch_last(layer.to(torch.uint8))[..., 0, :].cpu().numpy())
    mask = layer.float() * batch_first(torch.from_numpy(depth).to(layer.device))[..., None]
    top = mask.amax(dim=(1, 2, 3), keepdim=True)
    return mask.div_(top.add_(top == 0)).mul_(strength)


def mud(wet: Tensor, sigma: float) -> Tensor:
    """(n, H, W, 1) of 0 and 1 to mask, float32: smoothed, nothing below 0.8."""
    mask = gaussian(wet, sigma).float()
    return torch.ge(mask, 0.8, out=torch.empty_like(mask)).mul_(mask)
