"""Noisy Feature Mixup: Lim, Erichson, Utrera, Xu and Mahoney, ICLR 2022, arXiv 2110.02180."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Mixup, Network, beta, mix_targets, one_hot, permutation, soft_loss

from ._noise import add_noise
from .inputmixup import blend


@dataclass(frozen=True, kw_only=True)
class NoisyFeatureMixup(Mixup):
    """Manifold Mixup, and at the layer where it mixes, noise that adds and noise that multiplies.

    The layers are the input and what follows each residual stage but the last, as in the released code; the noise on
    the input is that of the normalised image. Levels 0.4 and 0.2 are those of its experiments; α = 1 is one of the
    three values tried there.
    """

    title = "Noisy Feature Mixup"
    paper = "arXiv 2110.02180"
    year = 2022
    level = "input, feature"
    relatives: ClassVar[dict[str, tuple[str, ...]]] = {"": ("gaussian_noise", "speckle_noise")}

    layers: tuple[Annotated[int, Ge(0)], ...] = ()
    alpha: Annotated[float, Gt(0)] = 1.0
    additive: Annotated[float, Ge(0)] = 0.4
    multiplicative: Annotated[float, Ge(0)] = 0.2

    def bind(self, net: Network) -> Self:
        layers = self.layers or (0, *range(2, len(net.stages)))
        return Mixup.bind(replace(self, layers=layers), net)

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: int | None, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        if plan is None:
            return soft_loss(net(x), target, self.criterion)
        perm, lam = permutation(len(x), gen), beta(self.alpha, gen)
        mixed = blend(x if plan == 0 else net(x, stop=plan), perm, lam)
        noisy = self.noisy(mixed, net, plan, 1, 0.0, gen)
        return soft_loss(net(noisy, start=plan), mix_targets(target, perm, lam), self.criterion)

    def noisy(self, h: Tensor, net: Network, plan: int, times: int, quiet: float, gen: torch.Generator) -> Tensor:
        """Images or features with noise, the additive one ``times`` as strong."""
        if plan == 0:
            return add_noise(h, times * self.additive, self.multiplicative, gen, net.mean, net.std, quiet)
        return add_noise(h, times * self.additive, self.multiplicative, gen, quiet=quiet)
