"""ShakeDrop: Yamada, Iwamura, Akiba and Kise, ShakeDrop Regularization for Deep Residual Learning, IEEE Access 2019,
arXiv 1802.02375."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

import torch
from torch import Tensor, nn

from catchup_bench.method import Ge, Le, Network

from ._residual import set_drop
from .baseline import Baseline


class Shake(torch.autograd.Function):
    """Multiplies by one factor forward and by another backward."""

    @staticmethod
    def forward(h: Tensor, ahead: Tensor, back: Tensor) -> Tensor:
        return h * ahead

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * ctx.saved_tensors[0], None, None


class ShakeBranch(nn.Module):
    """A residual branch times b + α - bα forward and b + β - bβ backward (Eq. 6); times its mean, 1 - ``rate``, in
    evaluation.

    The gate b ~ Bernoulli(1 - rate) is one per layer and batch, α ~ U(-1, 1) and β ~ U(0, 1) one per sample.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h * (1 - self.rate)
        gate = torch.rand((), device=h.device) >= self.rate
        alpha, beta = torch.rand(2, len(h), 1, 1, 1, device=h.device)
        ahead, back = torch.where(gate, 1, 2 * alpha - 1), torch.where(gate, 1, beta)
        out = Shake.apply(h, ahead.to(h.dtype), back.to(h.dtype))
        assert isinstance(out, torch.Tensor)
        return out


@dataclass(frozen=True, kw_only=True)
class ShakeDrop(Baseline):
    """Shake residual branches, block l of L with probability l/L · ``rate``.

    Defaults: ``rate`` 0.5 is the paper's.
    Deviations: the paper's branches end in BatchNorm, without which what is shaken has no bound and training diverges.
      A branch that ends in a convolution is given one.
    Pitfalls: by that BatchNorm the network has parameters that the plain one has not. The accuracy that the Catch-up
      Mix paper prints for it, 83.86 %, is a slip: its source has 84.92 %.
    """

    title = "ShakeDrop"
    paper = "arXiv 1802.02375"
    year = 2019
    level = "network"

    rate: Annotated[float, Ge(0), Le(1)] = 0.5

    def bind(self, net: Network) -> Self:
        set_drop(net, self.rate, shaken)
        return self


def shaken(rate: float, block: nn.Module) -> nn.Module:
    """What stands on the branch of ``block``: its closing BatchNorm where it lacks one, and the shaking."""
    last = [m for m in block.body.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)][-1]  # type: ignore[union-attr]
    if isinstance(last, nn.BatchNorm2d):
        return ShakeBranch(rate)
    return nn.Sequential(nn.BatchNorm2d(last.out_channels), ShakeBranch(rate))
