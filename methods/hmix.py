"""HMix: Park, Yun and Chun, A Unified Analysis of Mixed Sample Data Augmentation: A Loss Function Perspective,
NeurIPS 2022, arXiv 2208.09913."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Le, Mixup, beta, inside


@dataclass(frozen=True, kw_only=True)
class HMix(Mixup):
    """A box of the partner replaces the same box of the image, and mixup outside it makes up the rest, so that the
    image's own share is λ ~ Beta(α, α) wherever the box is.

    ``ratio`` is how much of 1 - λ the box takes: 0 is mixup, 1 CutMix (with mixup for what the border cuts off). 0.5 is
    the authors' choice; α = 1 is a proposal, as their code leaves it open.
    """

    title = "HMix"
    paper = "arXiv 2208.09913"
    year = 2022
    level = "input"

    layers: tuple[Literal[0]] = (0,)
    alpha: Annotated[float, Gt(0)] = 1.0
    ratio: Annotated[float, Ge(0), Le(1)] = 0.5

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        return torch.lerp(x[perm].float(), x.float(), self.weights(lam, x, gen)).to(x.dtype), lam

    def weights(self, lam: Tensor, x: Tensor, gen: torch.Generator) -> Tensor:
        """What each pixel of the image weighs, H×W: 0 in the box."""
        centre = torch.rand(2, generator=gen, device=gen.device, dtype=torch.float64)
        side = ((1 - lam) * self.ratio).clamp_min(0).sqrt()
        box = inside(centre[0], side, x.shape[2])[:, None] & inside(centre[1], side, x.shape[3])
        outside = (1 - box.double().mean()).clamp_min(1e-12)
        return torch.where(box, 0.0, (lam / outside).clamp(0, 1)).float()
