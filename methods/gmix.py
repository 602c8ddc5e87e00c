"""GMix: Park, Yun and Chun, A Unified Analysis of Mixed Sample Data Augmentation: A Loss Function Perspective,
NeurIPS 2022, arXiv 2208.09913."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from catchup_bench.method import Gt, Mixup, beta


def bell(share: Tensor, centre: Tensor, height: int, width: int) -> Tensor:
    """exp(-πd²/(share·HW)) at distance d from the pixel ``centre`` (row, column): 1 there, and ``share`` of all pixels
    in sum when nothing is cut off. H×W, float64."""
    row = torch.arange(height, device=centre.device) - centre[0]
    col = torch.arange(width, device=centre.device) - centre[1]
    distance = (row[:, None] ** 2 + col**2).double()
    return (-math.pi * distance / (share.clamp_min(1e-6) * (height * width))).exp()


@dataclass(frozen=True, kw_only=True)
class GMix(Mixup):
    """A Gaussian spot of one image on the other instead of CutMix's box: the image with the smaller of λ and 1 - λ,
    λ ~ Beta(α, α), is the spot. Labels weigh what the pixels do on average.

    One λ and one centre, uniform over the pixels, per batch. α = 1 is a proposal, as the authors' code leaves it open.
    """

    title = "GMix"
    paper = "arXiv 2208.09913"
    year = 2022
    level = "input"

    layers: tuple[Literal[0]] = (0,)
    alpha: Annotated[float, Gt(0)] = 1.0

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        u = torch.rand(2, generator=gen, device=gen.device, dtype=torch.float64)
        row, col = (u[0] * x.shape[2]).floor(), (u[1] * x.shape[3]).floor()
        weight = weights(lam, torch.stack((row, col)), x.shape[2], x.shape[3])
        return torch.lerp(x[perm].float(), x.float(), weight.float()).to(x.dtype), weight.mean()


def weights(lam: Tensor, centre: Tensor, height: int, width: int) -> Tensor:
    """What each pixel of the image weighs, H×W float64."""
    spot = bell(torch.minimum(lam, 1 - lam), centre, height, width)
    return torch.where(lam < 0.5, spot, 1 - spot)
