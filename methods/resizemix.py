"""ResizeMix: Qin, Fang, Zhang, Liu, Wang and Wang, ResizeMix: Mixing Data with Preserved Object Information and True
Labels, Computational Visual Media 2023, arXiv 2012.11101."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Le, Mixup, beta, check, inside

from ._regions import Box, cover, shrink_into, span


@dataclass(frozen=True, kw_only=True)
class ResizeMix(Mixup):
    """The whole partner, shrunk by nearest neighbours, is pasted over a box of the image; λ is the share of pixels
    kept.

    The box's sides are τ of the image's, at a uniform integer centre, and cut off at the border, where the partner is
    squeezed. τ ~ Beta(α, α), drawn again from the uniform distribution on ``scope`` when it is outside: at α = 1, the
    default, τ is uniform on ``scope``, as in the paper. One τ and one box per batch, in all batches, as in OpenMixup.
    """

    title = "ResizeMix"
    paper = "arXiv 2012.11101"
    year = 2020
    level = "input"

    layers: tuple[Literal[0]] = (0,)
    alpha: Annotated[float, Gt(0)] = 1.0
    scope: tuple[Annotated[float, Ge(0), Le(1)], Annotated[float, Ge(0), Le(1)]] = (0.1, 0.8)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.scope[0] <= self.scope[1], "scope", self.scope, "two numbers, the smaller one first")

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        box = draw_box(self.draw_scale(gen), x.shape[2], x.shape[3], gen)
        return cover(x, shrink_into(x[perm], box), box.mask), 1 - box.share

    def draw_scale(self, gen: torch.Generator) -> Tensor:
        """τ as a 0-d float64 tensor."""
        low, high = self.scope
        scale = beta(self.alpha, gen)
        other = low + (high - low) * torch.rand((), generator=gen, device=gen.device, dtype=torch.float64)
        return torch.where((scale < low) | (scale > high), other, scale)


def draw_box(scale: Tensor, height: int, width: int, gen: torch.Generator) -> Box:
    """A box whose sides are ``scale`` of the image's, at a uniform integer centre, cut off at the border."""
    centre = torch.rand(2, generator=gen, device=gen.device, dtype=torch.float64)
    return Box(span(inside(centre[0], scale, height)), span(inside(centre[1], scale, width)))
