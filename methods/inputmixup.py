"""Input mixup: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Mixup, beta, check, partners


def blend(h: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """λh + (1-λ)h[perm], computed in fp32, in the dtype and memory format of ``h``; bit-equal to ``h`` at λ = 1."""
    return torch.lerp(partners(h, perm).float(), h.float(), lam.float()).to(h.dtype)


@dataclass(frozen=True, kw_only=True)
class InputMixup(Mixup):
    """x̃ = λx + (1-λ)x', ỹ = λy + (1-λ)y', one λ ~ Beta(α, α) per batch.

    α = 0.2 is what the group of the Catch-up Mix paper lists for mixup; the original CIFAR code uses 1.
    """

    title = "InputMixup"
    paper = "arXiv 1710.09412"
    year = 2018
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {}

    alpha: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.alpha >= 0, "alpha", self.alpha, "0 or more")
        check(self.layers == (0,), "layers", self.layers, "(0,), the input; manifold mixes elsewhere")

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        return blend(x, perm, lam), lam
