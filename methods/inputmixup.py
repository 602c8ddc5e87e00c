"""Input mixup: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from catchup_bench.method import Ge, Mixup, beta, partners


def blend(h: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """λh + (1-λ)h[perm], computed in fp32, in the dtype and memory format of ``h``; bit-equal to ``h`` at λ = 1."""
    return torch.lerp(partners(h, perm).float(), h.float(), lam.float()).to(h.dtype)


@dataclass(frozen=True, kw_only=True)
class InputMixup(Mixup):
    """Mix images and labels: x̃ = λx + (1-λ)x', ỹ = λy + (1-λ)y', one λ ~ Beta(α, α) per batch.

    Defaults: α = 0.2 is what the fine-grained code of the Catch-up Mix group lists for mixup, and PuzzleMix's README on
      Tiny-ImageNet. The original CIFAR code, PuzzleMix's README on CIFAR-100, the CutMix paper and OpenMixup take 1.
    Deviations: none.
    Pitfalls: libraries call other things mixup: timm smooths labels and pairs by flipping the batch, torchvision pairs
      by rolling it.
    """

    title = "InputMixup"
    paper = "arXiv 1710.09412"
    year = 2018
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {}

    layers: Annotated[tuple[Literal[0]], "the input; manifold mixes elsewhere"] = (0,)
    alpha: Annotated[float, Ge(0)] = 0.2

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        return blend(x, perm, lam), lam
