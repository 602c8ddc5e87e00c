"""Plain empirical risk minimisation: what every other method is compared with."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from catchup_bench.method import Method, Network, one_hot, soft_loss


@dataclass(frozen=True, kw_only=True)
class Baseline(Method):
    """Cross-entropy on the augmented images."""

    title = "Baseline"
    paper = "empirical risk minimisation"
    year = 1998
    level = "none"

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        return soft_loss(net(x), one_hot(y, net.num_classes), self.criterion)
