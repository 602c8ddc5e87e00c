"""Manifold Mixup: Verma et al., ICML 2019, arXiv 1806.05236."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Ge, MinLen, Mixup, beta

from .inputmixup import blend


@dataclass(frozen=True, kw_only=True)
class ManifoldMixup(Mixup):
    """Mix λh + (1-λ)h' at a random one of three places: the input, after the first and after the second residual stage.

    Defaults: α is 2 in the released CIFAR commands, 0.2 on Tiny-ImageNet; 0.2 on ImageNet and 2 elsewhere are
      proposals. The CutMix paper takes 1 on PyramidNet-200 and on ImageNet. The places are those of the released code.
    Deviations: cross-entropy, where the released code has binary cross-entropy on the softmax: ``criterion`` = ``bce``.
    Pitfalls: ``layers`` counts the stem as 1, which is not one of the places, so the paper's layers 1 and 2 are 2 and
      3.
    """

    title = "Manifold Mixup"
    paper = "arXiv 1806.05236"
    year = 2019
    level = "input, feature"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"tinyimagenet": {"alpha": 0.2}, "imagenet": {"alpha": 0.2}}

    layers: Annotated[tuple[Annotated[int, Ge(0), "stages, 0 is the input"], ...], MinLen(1)] = (0, 2, 3)
    alpha: Annotated[float, Ge(0)] = 2.0

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.mix_features(x, perm, gen)

    def mix_features(self, h: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        return blend(h, perm, lam), lam
