"""Label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
arXiv 1512.00567 (§7)."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from catchup_bench.method import Ge, Le, Method, Network, one_hot, soft_loss


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Method):
    """Targets (1 - ε)·one-hot + ε/K, with ε = 0.1 as in the paper."""

    title = "Label smoothing"
    paper = "arXiv 1512.00567"
    year = 2016
    level = "label"

    eps: Annotated[float, Ge(0), Le(1)] = 0.1

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = (1 - self.eps) * one_hot(y, net.num_classes) + self.eps / net.num_classes
        return soft_loss(net(x), target, self.criterion)
