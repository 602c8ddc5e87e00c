"""Plain empirical risk minimisation: what every other method is compared with."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from catchup_bench.method import Method, Network, one_hot, soft_loss


@dataclass(frozen=True, kw_only=True)
class Baseline(Method):
    """Train with cross-entropy on the augmented images.

    Defaults: none of its own; the recipe has them all.
    Deviations: the released codes of Manifold Mixup, PuzzleMix and Co-Mixup train their plain network with binary
      cross-entropy on the softmax, which is ``criterion`` = ``bce``.
    Pitfalls: mixups take more epochs to converge (CutMix paper, §4.1.1), so on a short schedule it may beat them.
    """

    title = "Baseline"
    paper = "empirical risk minimisation"
    year = 1998
    level = "none"

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        return soft_loss(net(x), one_hot(y, net.num_classes), self.criterion)
