"""MoEx: Li, Wu, Lim, Belongie and Weinberger, On Feature Normalization and Data Augmentation, CVPR 2021,
arXiv 2002.11102."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Le, MinLen, Mixup, partners


def moments(h: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and √(variance + ε) over the channels at each position, both B×1×H×W; the variance is the unbiased one."""
    var, mean = torch.var_mean(h, dim=1, keepdim=True)
    return mean, (var + eps).sqrt()


def exchange(h: Tensor, perm: Tensor, eps: float) -> Tensor:
    """(h - μ)/σ·σ' + μ' with the moments of the partner, in fp32, in the dtype of ``h``; nothing is detached."""
    wide = h.float()
    mean, std = moments(wide, eps)
    scale = partners(std, perm) / std
    return torch.addcmul(partners(mean, perm) - mean * scale, wide, scale).to(h.dtype)


@dataclass(frozen=True, kw_only=True)
class MoEx(Mixup):
    """Give each sample its partner's positional moments after the stem; its own label keeps the fixed weight ``lam``.

    Defaults: λ = 0.5 with ``prob`` 0.25 on CIFAR and 0.9 with 1 on ImageNet are the released settings; 0.9 with 0.5
      elsewhere is a proposal, as nothing is stated.
    Deviations: one pass through the stem and one swap, as in the released ImageNet code; the CIFAR code runs the stem
      twice, which updates its BatchNorm twice.
    Pitfalls: λ is fixed and no share of the image, whose content stays its own. The released setting for CIFAR was
      chosen for PyramidNet-200.
    """

    title = "MoEx"
    paper = "arXiv 2002.11102"
    year = 2021
    level = "feature"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar10": {"lam": 0.5, "prob": 0.25},
        "cifar100": {"lam": 0.5, "prob": 0.25},
        "imagenet": {"prob": 1.0},
    }

    layers: Annotated[tuple[Annotated[int, Ge(1), "stages, 1 is the stem"], ...], MinLen(1)] = (1,)
    prob: Annotated[float, Ge(0), Le(1)] = 0.5
    lam: Annotated[float, Ge(0), Le(1)] = 0.9
    eps: Annotated[float, Gt(0)] = 1e-5

    def mix_features(self, h: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        return exchange(h, perm, self.eps), torch.full((), self.lam, device=h.device)
