"""Saliency from the gradient of the loss, and the step shared by the mixups that are guided by it."""

from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench.method import Ge, Le, Method, Network, check, frozen_statistics, one_hot, soft_loss

Mixed = tuple[Tensor, Tensor]


class Known(torch.autograd.Function):
    """A number whose gradients with respect to some parameters are there already, so that a loss may contain it
    without keeping the graph behind it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, count: int, *tensors: Tensor) -> Tensor:
        """``tensors``: ``count`` parameters, then their ``count`` gradients."""
        ctx.save_for_backward(*tensors[count:])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        known = ctx.saved_tensors
        return (None, None, *(grads[0] * g for g in known), *(None for _ in known))


def magnitude(grad: Tensor, std: Tensor) -> Tensor:
    """√(mean over channels of g²), B×H×W in fp32, of a gradient with respect to images in [0,1]; times ``std`` it is
    the gradient with respect to normalised images, which the released codes use."""
    return (grad.float() * std).square().mean(1).sqrt()


def look(net: Network, x: Tensor, y: Tensor, weight: float, frozen: bool) -> tuple[Tensor, Tensor]:
    """Saliency (B×H×W) of the images for their own labels, and ``weight`` times the clean cross-entropy.

    At weight 0 no gradient of a weight is computed, and ``frozen`` says whether BatchNorm runs on its running
    statistics. Otherwise one pass in training mode gives both the gradient of the images and those of the weights,
    which the returned term carries.
    """
    image = x.detach().requires_grad_()
    if weight > 0:
        loss = weight * F.cross_entropy(net(image).float(), y)
        params = [p for p in net.parameters() if p.requires_grad]
        grad, *grads = torch.autograd.grad(loss, [image, *params], allow_unused=True)
        return magnitude(grad, net.std), carry(loss, params, grads)
    with frozen_statistics(net) if frozen else nullcontext():
        loss = F.cross_entropy(net(image).float(), y, reduction="sum")  # no 1/B: it cancels, and would cost digits
    return magnitude(torch.autograd.grad(loss, image)[0], net.std), loss.new_zeros(())


def carry(value: Tensor, params: Sequence[nn.Parameter], grads: Sequence[Tensor | None]) -> Tensor:
    """``value`` as a term of a loss whose gradients are ``grads`` (``None``: the parameter was not used)."""
    known = [(p, g) for p, g in zip(params, grads, strict=True) if g is not None]
    term: Tensor = Known.apply(value.detach(), len(known), *(p for p, _ in known), *(g for _, g in known))
    return term


def shares(saliency: Tensor, n: int) -> Tensor:
    """B×n×n block means that sum to 1 per image (all zero where there is no saliency)."""
    blocks = F.avg_pool2d(saliency[:, None], saliency.shape[-1] // n)[:, 0]
    return blocks / blocks.sum((1, 2), keepdim=True).clamp_min(1e-30)


def divisible(x: Tensor, n: int) -> int:
    """The first of n, n/2, n/4, … into which the side of the square images can be divided."""
    side = x.shape[-1]
    check(x.shape[-2] == side, "image size", tuple(x.shape[-2:]), "square images")
    check(side % 2 == 0, "image size", side, "an even number of pixels")
    while side % n:
        n = max(2, n // 2)
    return n


@dataclass(frozen=True, kw_only=True)
class SaliencyMixup(Method):
    """Mixups that need the saliency of the clean batch: look at it, mix it, classify the mixed images.

    ``prob`` is the probability that a batch is mixed at all (none given: the method's own). ``clean_lam`` > 0 adds
    the clean loss: times ``clean_lam``·2/K beside ``bce`` (the released codes; 2/K brings cross-entropy to BCE's
    scale), times ``clean_lam`` beside ``ce`` (the fine-grained code of GuidedMixup's authors).
    """

    prob: Annotated[float, Ge(0), Le(1)] | None = 1.0
    clean_lam: Annotated[float, Ge(0)] = 0.0

    def plan(self, rng: np.random.Generator) -> Hashable:
        return self.choose(rng) if self.chance == 1 or rng.random() < self.chance else None

    @property
    def chance(self) -> float:
        """The probability that a batch is mixed."""
        return 1.0 if self.prob is None else self.prob

    def choose(self, rng: np.random.Generator) -> Hashable:
        """The plan of a batch that is mixed."""
        return "mix"

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        if plan is None:
            return soft_loss(net(x), target, self.criterion)
        saliency, clean = self.look(net, x, y)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            mixed, target = self.mix(x, target, saliency, plan, gen)
        return soft_loss(net(mixed), target, self.criterion) + clean

    def look(self, net: Network, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Saliency B×H×W and the clean term of the loss."""
        return look(net, x, y, self.clean_weight(net), frozen=True)

    def clean_weight(self, net: Network) -> float:
        return self.clean_lam * (2 / net.num_classes if self.criterion == "bce" else 1)

    def mix(self, x: Tensor, target: Tensor, saliency: Tensor, plan: Any, gen: torch.Generator) -> Mixed:
        """Mixed images, like ``x``, and their B×K targets."""
        raise NotImplementedError
