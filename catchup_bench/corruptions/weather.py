"""Fog, snow and frost: a layer that does not depend on the image, laid over it."""

import torch
from torch import Tensor

from .blur import zoom_matrix
from .cells import Draws
from .motion import streak
from .pixels import batch_first, batch_last, interleave, planes, to_bytes, unit
from .severity import Parameters, frost_scale
from .textures import Textures, crops

WIBBLE = 100.0


def fog(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Add c[0] times a plasma fractal, then scale so that the image's maximum stays; c[1] is the decay."""
    height, width = x.shape[1:3]
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = plasma(draws.uniform(-1, 1, side * side - 1, last=True), side, c[1])[:height, :width, None]
    brightest = unit(x.view(len(x), -1).amax(dim=1))
    return batch_first(to_bytes(unit(batch_last(x)).add_(cloud * c[0]).mul_(brightest).div_(brightest + c[0])))


def plasma(noise: Tensor, side: int, decay: float) -> Tensor:
    """Diamond-square height maps (side, side, n) in [0, 1], which wrap around; ``noise``: (side^2 - 1, n) in [-1, 1).

    Each new cell is the mean of four plus w U(-w, w), so the amplitude goes with the square of w.
    """
    field = torch.zeros(side, side, noise.shape[1], dtype=noise.dtype, device=noise.device)
    step, wibble, used = side, WIBBLE, 0
    while step >= 2:
        half, cells = step // 2, (side // step) ** 2
        perturb = (noise[used : used + 3 * cells] * wibble).mul_(wibble).view(3, side // step, side // step, -1)
        corners, centres = field[::step, ::step], field[half::step, half::step]
        pairs = corners + corners.roll(-1, 0)
        centres[:] = pairs.add_(pairs.roll(-1, 1)).div_(4).add_(perturb[0])
        upper = (centres + centres.roll(1, 0)).add_(corners + corners.roll(-1, 1))
        field[::step, half::step] = upper.div_(4).add_(perturb[1])
        left = (centres + centres.roll(1, 1)).add_(corners + corners.roll(-1, 0))
        field[half::step, ::step] = left.div_(4).add_(perturb[2])
        step, wibble, used = half, wibble / decay, used + 3 * cells
    field -= field.amin(dim=(0, 1))
    return field.div_(field.amax(dim=(0, 1)))


def snow(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """c is (mean, deviation, zoom, threshold, radius, sigma, share of the image that is not whitened)."""
    noise = draws.normal(*x.shape[1:3]).double().mul_(c[1]).add_(c[0])
    flakes = snow_layer(noise, c, draws.uniform(-135, -45))
    y = whiten(planes(x).float().div_(255), c[6]).double()
    return interleave(to_bytes(y.add_(flakes).add_(flakes.flip(1, 2))))


def snow_layer(noise: Tensor, c: Parameters, degrees: Tensor) -> Tensor:
    """(n, H, W) noise, enlarged, cut off below the threshold, smeared along ``degrees``: (n, H, W) in [0, 1]."""
    if c[2] != 1:
        down, across = (torch.from_numpy(zoom_matrix(size, c[2])).to(noise.device) for size in noise.shape[1:])
        noise = down @ noise @ across.T
    kept = torch.ge(noise, c[3], out=torch.empty_like(noise)).mul_(noise)
    return unit(streak(to_bytes(kept)[..., None], int(c[4]), c[5], degrees))[..., 0]


def whiten(y: Tensor, share: float) -> Tensor:
    """(3, n, H, W) mixed with a brighter grey copy of itself, float32 as published."""
    r, g, b = y
    grey = (r * 0.299).add_(g * 0.587).add_(b * 0.114).mul_(1.5).add_(0.5)
    return torch.maximum(y, grey).mul_(1 - share).add_(y.mul_(share))


def frost(x: Tensor, c: Parameters, draws: Draws, *, textures: Textures) -> Tensor:
    """c[0] times the image plus c[1] times a random piece of one of five frost pictures."""
    height, width = x.shape[1:3]
    pieces = crops(textures, frost_scale(min(height, width)), height, width, draws.uniform(0, 1, 3))
    y = x.double().mul_(c[0]).add_(pieces.double().mul_(c[1]))
    return y.clamp_(0, 255).int().to(torch.uint8)
