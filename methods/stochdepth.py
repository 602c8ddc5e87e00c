"""Stochastic depth: Huang, Sun, Liu, Sedra and Weinberger, Deep Networks with Stochastic Depth, ECCV 2016,
arXiv 1603.09382."""

from dataclasses import dataclass
from typing import Self

from catchup_bench.method import Network, check

from ._residual import set_drop
from .baseline import Baseline


@dataclass(frozen=True, kw_only=True)
class StochDepth(Baseline):
    """Leave out residual branch l of L, sample by sample, with probability l/L · ``rate``, and divide what is kept by
    its probability, so that evaluation needs no scaling.

    Defaults: ``rate`` 0.5 is the paper's for CIFAR. The CutMix paper takes 0.25 on PyramidNet-200 and ResNet-50.
    Deviations: the paper leaves a branch out for a whole batch, and scales in evaluation.
    Pitfalls: a network must have residual blocks. No time is saved, since a branch is computed for all samples.
    """

    title = "StochDepth"
    paper = "arXiv 1603.09382"
    year = 2016
    level = "network"

    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.rate < 1, "rate", self.rate, "0 to less than 1")

    def bind(self, net: Network) -> Self:
        from torchvision.ops import StochasticDepth

        set_drop(net, self.rate, lambda p, block: StochasticDepth(p, "row"))
        return self
