"""RegMixup: Pinto, Yang, Lim, Torr and Dokania, Using Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out
Distribution Robustness, NeurIPS 2022, arXiv 2206.14502."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Method, Network, beta, mix_targets, one_hot, permutation, soft_loss

from .inputmixup import blend


@dataclass(frozen=True, kw_only=True)
class RegMixup(Method):
    """The loss on the images and ``eta`` times the loss on their mixup, from one pass over both, so that BatchNorm sees
    them together.

    ``reduce`` "mean" divides the sum by 1 + η, which at η = 1 is the released code's mean over all 2B; "sum" does not,
    as in the paper's objective. α = 20 on CIFAR-10 and 10 on CIFAR-100 are the released settings, 10 elsewhere is a
    proposal. One λ ~ Beta(α, α) per batch.
    """

    title = "RegMixup"
    paper = "arXiv 2206.14502"
    year = 2022
    level = "input"
    passes = "1 forward, 1 backward, of 2 views"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"cifar10": {"alpha": 20.0}}

    alpha: Annotated[float, Gt(0)] = 10.0
    eta: Annotated[float, Ge(0)] = 1.0
    reduce: Literal["mean", "sum"] = "mean"

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        perm, lam = permutation(len(x), gen), beta(self.alpha, gen)
        clean, mixed = net(torch.cat((x, blend(x, perm, lam)))).chunk(2)
        own = soft_loss(clean, target, self.criterion)
        both = own + self.eta * soft_loss(mixed, mix_targets(target, perm, lam), self.criterion)
        return both / (1 + self.eta) if self.reduce == "mean" else both
