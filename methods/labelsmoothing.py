"""Label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
arXiv 1512.00567 (§7)."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from catchup_bench.method import Ge, Le, Method, Network, one_hot, soft_loss


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Method):
    """Smooth the targets: (1 - ε)·one-hot + ε/K.

    Defaults: ε = 0.1 is the paper's, and the CutMix paper's.
    Deviations: none.
    Pitfalls: some codes spread ε over the K-1 wrong classes. Alone it made PyramidNet-200 worse on CIFAR-100 (CutMix
      paper, Table 5), with Cutout or DropBlock better.
    """

    title = "Label smoothing"
    paper = "arXiv 1512.00567"
    year = 2016
    level = "label"

    eps: Annotated[float, Ge(0), Le(1)] = 0.1

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = (1 - self.eps) * one_hot(y, net.num_classes) + self.eps / net.num_classes
        return soft_loss(net(x), target, self.criterion)
