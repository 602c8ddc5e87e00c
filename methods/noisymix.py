"""NoisyMix: Erichson, Lim, Xu, Utrera, Cao and Mahoney, NoisyMix: Boosting Model Robustness to Common Corruptions,
arXiv 2202.01263."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Ge, Le, Lt, Network, beta, mix_targets, one_hot, permutation, soft_loss

from ._chains import NINE, consistency, views
from .inputmixup import blend
from .nfm import NoisyFeatureMixup


@dataclass(frozen=True, kw_only=True)
class NoisyMix(NoisyFeatureMixup):
    """Noisy Feature Mixup of an image and two of AugMix's views of it: all three with the same λ and the same partner,
    each with noise of its own, the additive one two and three times as strong on the views; then AugMix's consistency.

    Either noise is left out of an element with probability ``quiet``. Levels 0.5, ``quiet`` 0.65 and α = 1 are the
    released settings.
    """

    title = "NoisyMix"
    paper = "arXiv 2202.01263"
    year = 2022
    level = "input, feature"
    passes = "1 forward, 1 backward, of 3 views"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"severity": 1.0} for name in ("cub", "cars", "aircraft", "imagenet")
    }

    additive: float = 0.5
    multiplicative: float = 0.5
    quiet: Annotated[float, Ge(0), Le(1)] = 0.65
    severity: Annotated[float, Ge(0.1), Lt(10)] = 3.0
    weight: Annotated[float, Ge(0)] = 12.0

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: int | None, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        h = torch.cat((x, *views(x, 2, NINE, self.severity, gen)))
        if plan is None:
            logits = net(h)
        else:
            perm, lam = permutation(len(x), gen), beta(self.alpha, gen)
            target = mix_targets(target, perm, lam)
            thirds = (h if plan == 0 else net(h, stop=plan)).chunk(3)
            noisy = [
                self.noisy(blend(third, perm, lam), net, plan, times, self.quiet, gen)
                for times, third in enumerate(thirds, start=1)
            ]
            logits = net(torch.cat(noisy), start=plan)
        parts = logits.chunk(3)
        return soft_loss(parts[0], target, self.criterion) + self.weight * consistency(parts)
