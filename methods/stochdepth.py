"""Stochastic depth: Huang, Sun, Liu, Sedra and Weinberger, Deep Networks with Stochastic Depth, ECCV 2016,
arXiv 1603.09382."""

from dataclasses import dataclass
from typing import Annotated, Self

from catchup_bench.method import Ge, Lt, Network

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

    rate: Annotated[float, Ge(0), Lt(1)] = 0.5

    def bind(self, net: Network) -> Self:
        from torchvision.ops import StochasticDepth

        set_drop(net, self.rate, lambda p, block: StochasticDepth(p, "row"))
        return self
