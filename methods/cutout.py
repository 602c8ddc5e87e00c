"""Cutout: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout,
arXiv 1708.04552."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Ge, Method, Network, one_hot, soft_loss


def squares(n: int, height: int, width: int, length: int, gen: torch.Generator) -> Tensor:
    """N×1×H×W mask, true in one square per image of side 2·⌊length/2⌋, at a uniform integer centre, cut off at the
    border."""
    centre = torch.rand(2, n, 1, generator=gen, device=gen.device, dtype=torch.float64)

    def stretch(u: Tensor, size: int) -> Tensor:
        away = torch.arange(size, device=gen.device) - (u * size).floor()
        return (away >= -(length // 2)) & (away < length // 2)

    return (stretch(centre[0], height)[:, :, None] & stretch(centre[1], width)[:, None, :])[:, None]


@dataclass(frozen=True, kw_only=True)
class Cutout(Method):
    """Fill a square of every image, each at a place of its own, with the mean colour (zero after normalisation).

    Defaults: ``length`` 16 on CIFAR-10 and 8 on CIFAR-100 are the authors'; a quarter of the side elsewhere, as on
      CIFAR-100, is a proposal. The CutMix paper takes 16 on CIFAR-100 and 112 on ImageNet.
    Deviations: none.
    Pitfalls: squares are cut off at the border, so less than ``length``² pixels are filled on average; an odd
      ``length`` loses a pixel.
    """

    title = "Cutout"
    paper = "arXiv 1708.04552"
    year = 2017
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar10": {"length": 16},
        "cifar100": {"length": 8},
        "tinyimagenet": {"length": 16},
        **{name: {"length": 56} for name in ("cub", "cars", "aircraft", "imagenet")},
    }

    length: Annotated[int, Ge(0), "pixels"] = 4

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        mask = squares(len(x), x.shape[2], x.shape[3], self.length, gen)
        cut = torch.where(mask, net.mean.to(x.dtype), x)
        return soft_loss(net(cut), one_hot(y, net.num_classes), self.criterion)
