"""CutMix: Yun et al., ICCV 2019, arXiv 1905.04899."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from catchup_bench.method import Gt, Mixup, beta, box


def paste(x: Tensor, perm: Tensor, lam: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """One box for the whole batch, filled from the partner; λ corrected to the share of pixels kept."""
    mask = box(lam, x.shape[2], x.shape[3], gen)
    return torch.where(mask, x[perm], x), 1 - mask.double().mean()


@dataclass(frozen=True, kw_only=True)
class CutMix(Mixup):
    """A box of the partner replaces the same box of the image, one box per batch, λ ~ Beta(α, α) before correction.

    ``prob`` is 0.5 on CIFAR and 1 elsewhere: the released CutMix-PyTorch, and §B.3 of the Catch-up Mix paper.
    """

    title = "CutMix"
    paper = "arXiv 1905.04899"
    year = 2019
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"cifar10": {"prob": 0.5}, "cifar100": {"prob": 0.5}}

    layers: tuple[Literal[0]] = (0,)
    alpha: Annotated[float, Gt(0)] = 1.0

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        return paste(x, perm, beta(self.alpha, gen), gen)
