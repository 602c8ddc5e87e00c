"""DropBlock: Ghiasi, Lin and Le, DropBlock: A Regularization Method for Convolutional Networks, NeurIPS 2018,
arXiv 1810.12890."""

from dataclasses import dataclass
from typing import Annotated, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench.method import Ge, Gt, Le, Network, check

from .baseline import Baseline


def seed_rate(rate: float, block: int, height: int, width: int) -> float:
    """γ of Eq. 1: how likely a valid place must be the corner of a block, for a share ``rate`` to be dropped."""
    places = (height - block + 1) * (width - block + 1)
    return min(1.0, rate / block**2 * height * width / places)


class BlockDrop(nn.Module):
    """In training, zeroes blocks of each map and scales what is left so that the batch keeps its mean.

    Corners are drawn per sample and channel among the places where a whole block fits, so even blocks work too
    (torchvision's takes odd ones); a map smaller than a block is one block.
    """

    def __init__(self, rate: float, block: int) -> None:
        super().__init__()
        self.rate = rate
        self.block = block

    def forward(self, h: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return h
        height, width = h.shape[2:]
        b = min(self.block, height, width)
        corners = torch.empty(*h.shape[:2], height - b + 1, width - b + 1, device=h.device)
        corners.bernoulli_(seed_rate(self.rate, b, height, width))
        kept = 1 - F.max_pool2d(F.pad(corners, [b - 1] * 4), b, stride=1)
        scale = kept.numel() / kept.sum().clamp_min(1)
        return h * (kept * scale).to(h.dtype)


@dataclass(frozen=True, kw_only=True)
class DropBlock(Baseline):
    """Drop a share 1 - ``keep`` of the maps after each of the last ``groups`` stages, in blocks of ``block`` pixels.

    Defaults: 0.9 and 4 are the CutMix paper's on PyramidNet-200 (§4.1.2); two groups is the paper's placement on
      ImageNet.
    Deviations: the share is the same from the first step on, where the paper lets it grow.
    Pitfalls: a map smaller than a block is one block. The stages of a network must be sequences of blocks.
    """

    title = "DropBlock"
    paper = "arXiv 1810.12890"
    year = 2018
    level = "network"

    keep: Annotated[float, Gt(0), Le(1)] = 0.9
    block: Annotated[int, Ge(1), "pixels"] = 4
    groups: Annotated[int, Ge(1), "stages"] = 2

    def bind(self, net: Network) -> Self:
        check(self.groups <= len(net.stages), "groups", self.groups, f"1 to {len(net.stages)} for this network")
        for stage in list(net.stages)[-self.groups :]:
            if not isinstance(stage, nn.Sequential):
                raise ValueError("dropblock needs a network whose stages are sequences of blocks")
            stage.append(BlockDrop(1 - self.keep, self.block))
        return self
