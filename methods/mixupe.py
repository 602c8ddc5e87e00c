"""MixupE: Zou, Verma, Mittal, Tang, Pham, Kannala, Bengio, Solin and Kawaguchi, MixupE: Understanding and Improving
Mixup from Directional Derivative Perspective, UAI 2023, arXiv 2212.13381."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Method, Network, beta, mix_targets, one_hot, permutation, soft_loss

from .inputmixup import blend


@dataclass(frozen=True, kw_only=True)
class MixupE(Method):
    """Mixup, and for the images as they are a push of the logit of the class above the mean logit, each weighed by its
    predicted probability; the gradient is scaled so that the loss keeps mixup's value.

    This is the third version of the authors' code, which trains their published networks: the term is left out for
    images whose logit lies ``threshold`` or more above already, and α = 2, η = 0.001 and threshold 1 are their settings
    on CIFAR-100. BatchNorm's running statistics move twice per step, as there.
    """

    title = "MixupE"
    paper = "arXiv 2212.13381"
    year = 2023
    level = "input"
    passes = "2 forward, 2 backward"

    alpha: Annotated[float, Gt(0)] = 2.0
    eta: Annotated[float, Ge(0)] = 0.001
    threshold: float = 1.0

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        perm, lam = permutation(len(x), gen), beta(self.alpha, gen)
        mixed = soft_loss(net(blend(x, perm, lam)), mix_targets(target, perm, lam), self.criterion)
        lead = leads(net(x), target)
        share = self.alpha / (2 * self.alpha + 1)  # 1 - E[λ] for λ ~ Beta(α + 1, α)
        total = mixed - self.eta * share * (lead * (lead < self.threshold)).mean()
        return total * (mixed.abs() / total.abs().clamp_min(1e-12)).detach()


def leads(logits: Tensor, target: Tensor) -> Tensor:
    """How far the logit of the class lies above the mean logit under the network's own prediction, in fp32; length
    B."""
    with torch.autocast(logits.device.type, enabled=False):
        z = logits.float()
        return ((target - z.softmax(1)) * z).sum(1)
