"""Pillow's image operations for a batch in which every image has an operation of its own.

Operations on single pixels are one 256-entry table per channel, geometric ones one affine map, so that one look-up and
one warp do all of them. The results are Pillow's on every pixel, on the CPU; on other devices an affine map may fall on
the other side of a pixel's edge.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IDENTITY = -1
(
    COLOR,
    CONTRAST,
    BRIGHTNESS,
    SHARPNESS,
    AUTOCONTRAST,
    EQUALIZE,
    POSTERIZE,
    ROTATE,
    SOLARIZE,
    SHEAR_X,
    SHEAR_Y,
    TRANSLATE_X,
    TRANSLATE_Y,
    MIRROR,
    INVERT,
) = range(15)


class Operations(NamedTuple):
    """One operation per image: its number, and the parameters of its kind, each of length N."""

    kind: Tensor
    dropped: Tensor
    """How many low bits posterize sets to 0, int64."""
    threshold: Tensor
    """Bytes from here on are inverted by solarize."""
    matrix: tuple[Tensor, ...]
    """Six float64 tensors (a, b, c, d, e, f): the pixel at (u, v) = (aj + bi + c, dj + ei + f) goes to column j, row
    i, with centres of pixels at halves."""
    factor: Tensor
    """Strength of the enhancements, float32; 1 changes nothing."""


def to_bytes(x: Tensor) -> Tensor:
    """Images in [0,1] as uint8; exact for images that were bytes."""
    return (x.float() * 255).round().to(torch.uint8)


def apply(x: Tensor, ops: Operations, *, nearest: bool = False, enhance: bool = False) -> Tensor:
    """uint8 N×3×H×W after each image's operation. Geometric operations interpolate bilinearly unless ``nearest``, and
    what lies outside the image is black; ``enhance`` says whether there may be enhancements (colour, contrast,
    brightness, sharpness)."""
    if enhance:
        x = enhanced(x, ops)
    x = tables(x, ops).gather(2, x.flatten(2).long()).view(x.shape).to(torch.uint8)
    return warp_nearest(x, ops.matrix) if nearest else warp(x, ops.matrix)


def of_kind(value: Tensor) -> Tensor:
    """A tensor of length N in the shape N×1×1."""
    return value[:, None, None]


def tables(x: Tensor, ops: Operations) -> Tensor:
    """N×3×256: what becomes of each byte; autocontrast and equalize go by the histogram of their channel."""
    n, v = len(x), torch.arange(256, device=x.device)
    pixels = x.flatten(2).long()
    h = torch.zeros(n, 3, 256, dtype=torch.int64, device=x.device).scatter_add_(2, pixels, torch.ones_like(pixels))
    high = ((h > 0) * v).amax(2, keepdim=True)
    low = 255 - ((h > 0) * (255 - v)).amax(2, keepdim=True)
    width = (high - low).double()
    scale = torch.full_like(width, 255.0) / width.clamp(min=1)  # a number over a tensor is rounded twice
    stretched = torch.where(high <= low, v, (v.double() * scale - low * scale).trunc().clamp(0, 255).long())
    step = (h.sum(2, keepdim=True) - h.gather(2, high)) // 255
    flat = torch.where(step == 0, v, ((step // 2 + h.cumsum(2) - h) // step.clamp(min=1)).clamp(max=255))
    posterized = v & ~((1 << of_kind(ops.dropped)) - 1)
    solarized = torch.where(v < of_kind(ops.threshold), v, 255 - v)
    table = v.expand(n, 3, 256)
    for kind, other in (
        (AUTOCONTRAST, stretched),
        (EQUALIZE, flat),
        (POSTERIZE, posterized),
        (SOLARIZE, solarized),
        (INVERT, 255 - v),
    ):
        table = torch.where(of_kind(ops.kind == kind), other, table)
    return table


def affine(
    kind: Tensor, shear: Tensor, shift_x: Tensor, shift_y: Tensor, degrees: Tensor, height: int, width: int
) -> tuple[Tensor, ...]:
    """The matrix of each image's operation, given the parameters it would have (float64, length N); the identity for
    operations that move nothing.

    A shear keeps the top left corner where it is; positive shifts move the picture left and up; rotation is counter-
    clockwise about the centre.
    """
    zero, rotates = torch.zeros_like(shear), kind == ROTATE
    angle = -torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    y, x = height / 2, width / 2
    a = torch.where(rotates, cos, torch.where(kind == MIRROR, zero - 1, zero + 1))
    b = torch.where(rotates, sin, torch.where(kind == SHEAR_X, shear, zero))
    c = torch.where(rotates, x - (cos * x + sin * y), torch.where(kind == TRANSLATE_X, shift_x, zero))
    c = torch.where(kind == MIRROR, zero + width, c)
    d = torch.where(rotates, -sin, torch.where(kind == SHEAR_Y, shear, zero))
    e = torch.where(rotates, cos, zero + 1)
    f = torch.where(rotates, y - (cos * y - sin * x), torch.where(kind == TRANSLATE_Y, shift_y, zero))
    return a, b, c, d, e, f


def centres(x: Tensor) -> tuple[Tensor, Tensor]:
    """Column (W) and row (H×1) of the pixels' centres, float64."""
    j = torch.arange(x.shape[3], device=x.device).double() + 0.5
    i = torch.arange(x.shape[2], device=x.device).double() + 0.5
    return j, i[:, None]


def at(flat: Tensor, row: Tensor, col: Tensor, size: torch.Size) -> Tensor:
    """Pixels N×3×H×W at N×H×W places (any real type) of images N×3×HW; places outside take the nearest pixel."""
    height, width = size[2:]
    where = (row.clamp(0, height - 1) * width + col.clamp(0, width - 1)).long().flatten(1)
    return flat.gather(2, where[:, None].expand(-1, size[1], -1)).view(size)


def warp(x: Tensor, matrix: tuple[Tensor, ...]) -> Tensor:
    """Affine map of uint8 images with bilinear interpolation, cut off (not rounded) to bytes, black outside."""
    a, b, c, d, e, f = map(of_kind, matrix)
    j, i = centres(x)
    u, v = a * j + b * i + c, d * j + e * i + f
    seen = (u >= 0) & (u < x.shape[3]) & (v >= 0) & (v < x.shape[2])
    left, top = (u - 0.5).floor(), (v - 0.5).floor()
    along, down = (u - 0.5 - left)[:, None], (v - 0.5 - top)[:, None]
    flat = x.double().flatten(2)

    def between(row: Tensor) -> Tensor:
        first = at(flat, row, left, x.shape)
        return first + (at(flat, row, left + 1, x.shape) - first) * along

    upper = between(top)
    return torch.where(seen[:, None], upper + (between(top + 1) - upper) * down, 0.0).floor().to(torch.uint8)


def warp_nearest(x: Tensor, matrix: tuple[Tensor, ...]) -> Tensor:
    """Affine map of uint8 images to the nearest pixel, black outside; in Pillow's fixed point of 16 bits."""

    def fixed(value: Tensor) -> Tensor:
        return (value * 65536 + 0.5).floor().long()

    a, b, c, d, e, f = map(of_kind, matrix)
    j, i = torch.arange(x.shape[3], device=x.device), torch.arange(x.shape[2], device=x.device)[:, None]
    col = (fixed(c + (a + b) * 0.5) + fixed(a) * j + fixed(b) * i) >> 16
    row = (fixed(f + (d + e) * 0.5) + fixed(d) * j + fixed(e) * i) >> 16
    seen = (col >= 0) & (col < x.shape[3]) & (row >= 0) & (row < x.shape[2])
    return torch.where(seen[:, None], at(x.flatten(2), row, col, x.shape), 0)


def enhanced(x: Tensor, ops: Operations) -> Tensor:
    """Each image with an enhancement blended with its degenerate: grey, mean grey, black or smoothed."""
    wide = x.int()
    grey = (19595 * wide[:, :1] + 38470 * wide[:, 1:2] + 7471 * wide[:, 2:] + 32768) >> 16
    mean = (grey.double().mean((1, 2, 3), keepdim=True) + 0.5).floor().int()
    kind = of_kind(ops.kind)[:, None]
    start = torch.where(kind == COLOR, grey, torch.zeros_like(wide))
    start = torch.where(kind == CONTRAST, mean, start)
    start = torch.where(kind == SHARPNESS, smooth(wide), start)
    factor = of_kind(ops.factor)[:, None]
    blended = (start.float() + factor * (wide - start).float()).floor().clamp(0, 255).to(torch.uint8)
    return torch.where((kind >= COLOR) & (kind <= SHARPNESS), blended, x)


def smooth(x: Tensor) -> Tensor:
    """Rounded mean of 3×3 pixels, the middle one counted five times; pixels on the border are unchanged."""
    height, width = x.shape[2:]
    p = F.pad(x, (1, 1, 1, 1))
    rows = p[:, :, :-2] + p[:, :, 1:-1] + p[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * x
    j, i = torch.arange(width, device=x.device), torch.arange(height, device=x.device)[:, None]
    border = (j == 0) | (j == width - 1) | (i == 0) | (i == height - 1)
    return torch.where(border, x, (2 * total + 13) // 26)
