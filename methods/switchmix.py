"""Mixup or CutMix, a coin per batch: R. Wightman, timm (timm/data/mixup.py), as in the recipe of DeiT (Touvron et al.,
ICML 2021, arXiv 2012.12877)."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Le, Method, Network, beta, mix_targets, one_hot, soft_loss

from .cutmix import paste
from .inputmixup import blend


@dataclass(frozen=True, kw_only=True)
class SwitchMix(Method):
    """With probability ``prob`` a batch is mixed, and then by CutMix with probability ``switch_prob``, otherwise by
    mixup; λ, the box and the choice are one per batch, timm's default. Labels are always smoothed by ``smoothing``.

    Image i is paired with image B-1-i, as in timm; of an odd number the middle one keeps to itself. α of 0.8 and 1,
    and smoothing 0.1, are the recipe's.
    """

    title = "Mixup+CutMix (timm)"
    paper = "arXiv 2012.12877"
    year = 2020
    level = "input"

    prob: Annotated[float, Ge(0), Le(1)] = 1.0
    switch_prob: Annotated[float, Ge(0), Le(1)] = 0.5
    mixup_alpha: Annotated[float, Gt(0)] = 0.8
    cutmix_alpha: Annotated[float, Gt(0)] = 1.0
    smoothing: Annotated[float, Ge(0), Le(1)] = 0.1

    def plan(self, rng: np.random.Generator) -> str | None:
        mixed, cut = rng.random(2)
        if mixed >= self.prob:
            return None
        return "cutmix" if cut < self.switch_prob else "mixup"

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = (1 - self.smoothing) * one_hot(y, net.num_classes) + self.smoothing / net.num_classes
        mixed, target = self.mix(x, target, plan, gen)
        return soft_loss(net(mixed), target, self.criterion)

    def mix(self, x: Tensor, target: Tensor, plan: str | None, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images B×3×H×W and targets B×K, mixed as the plan says."""
        if plan is None:
            return x, target
        mirror = torch.arange(len(x), device=x.device).flip(0)
        if plan == "cutmix":
            x, lam = paste(x, mirror, beta(self.cutmix_alpha, gen), gen)
        else:
            lam = beta(self.mixup_alpha, gen)
            x = blend(x, mirror, lam)
        return x, mix_targets(target, mirror, lam)
