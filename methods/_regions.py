"""Boxes whose place and size live on the device, and resizing into them with shapes that never change.

The box is the one of ``catchup_bench.method.box``, kept as two spans so that its bounds stay at hand. Each pixel of
the box is mapped back to where ``F.interpolate`` would read it, in the same float32 arithmetic.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from catchup_bench.method import inside


class Span(NamedTuple):
    """A box along one axis: ``mask`` (bool, length of the axis), and 0-d ``start`` and ``length`` in pixels."""

    mask: Tensor
    start: Tensor
    length: Tensor

    @property
    def stop(self) -> Tensor:
        return self.start + self.length


class Box(NamedTuple):
    """Rows and columns of a box that is the same for the whole batch."""

    rows: Span
    cols: Span

    @property
    def mask(self) -> Tensor:
        """H×W, true inside."""
        return self.rows.mask[:, None] & self.cols.mask

    @property
    def share(self) -> Tensor:
        """Share of the image's pixels inside, float64 in [0, 1]."""
        return self.rows.mask.double().mean() * self.cols.mask.double().mean()


def draw_box(share: Tensor, height: int, width: int, gen: torch.Generator) -> Box:
    """A box whose sides are √share of the image's, at a uniform integer centre, cut off at the border."""
    centre = torch.rand(2, generator=gen, device=gen.device, dtype=torch.float64)
    side = share.double().clamp_min(0).sqrt()
    return Box(span(inside(centre[0], side, height)), span(inside(centre[1], side, width)))


def span(mask: Tensor) -> Span:
    """The span that a mask with one run of ``True`` describes; an empty one starts at 0."""
    return Span(mask, mask.int().argmax(), mask.sum())


def offsets(target: Span) -> Tensor:
    """Float32 distance of every pixel of the axis from the first pixel of ``target``."""
    return (torch.arange(len(target.mask), device=target.mask.device) - target.start).float()


def nearest(target: Span, size: int) -> Tensor:
    """For each pixel of ``target``, which of ``size`` pixels ``F.interpolate`` mode nearest reads; any valid index
    outside."""
    length = target.length.clamp_min(1).float()
    scale = torch.full_like(length, size) / length  # a number over a tensor would be its reciprocal times the number
    return (offsets(target) * scale).floor().long().clamp(0, size - 1)


def bilinear(target: Span, source: Span) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel of ``target``, the two pixels of ``source`` between which ``F.interpolate`` mode bilinear with
    ``align_corners=True`` interpolates, and the weight of the second."""
    scale = (source.length - 1).clamp_min(0).float() / (target.length - 1).clamp_min(1).float()
    where = (offsets(target) * scale).clamp_min(0)
    last = (source.length - 1).clamp_min(0)
    low = torch.minimum(where.long(), last)
    high = torch.minimum(low + 1, last)
    return source.start + low, source.start + high, (where - low).clamp(0, 1)


def shrink_into(x: Tensor, box: Box) -> Tensor:
    """Whole images (B×C×H×W) resized to ``box`` by nearest neighbours, at its place; arbitrary outside."""
    rows, cols = nearest(box.rows, x.shape[2]), nearest(box.cols, x.shape[3])
    return x.index_select(2, rows).index_select(3, cols)


def move_into(x: Tensor, source: Box, box: Box) -> Tensor:
    """The region ``source`` of images (B×C×H×W) resized bilinearly to ``box``, at its place; arbitrary outside."""
    top, bottom, down = bilinear(box.rows, source.rows)
    left, right, along = bilinear(box.cols, source.cols)
    h = torch.lerp(x.index_select(2, top).float(), x.index_select(2, bottom).float(), down[:, None])
    return torch.lerp(h.index_select(3, left), h.index_select(3, right), along).to(x.dtype)


def cover(x: Tensor, patch: Tensor, mask: Tensor) -> Tensor:
    """``patch`` where ``mask`` is true and ``x`` elsewhere, in the memory format of ``x``."""
    return torch.where(~mask, x, patch)  # the format is that of the first of the two
