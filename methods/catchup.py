"""Catch-up Mix: Kang, Kang and Kim, Catch-Up Mix: Catch-Up Class for Struggling Filters in CNN, AAAI 2024,
arXiv 2401.13193 (§2.2 and Algorithm 1)."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Mixup, Network, beta, check

from .cutmix import paste
from .inputmixup import blend


def relative_importance(h: Tensor, perm: Tensor) -> Tensor:
    """RFI, B×C in fp32 or finer: each map's share of the sample's summed L2 norms, minus the same of its partner.

    Norms are accumulated in fp32 (the squares of half-precision maps overflow); a sample of zeros has shares of zero.
    """
    norms = torch.linalg.vector_norm(h.detach(), dim=(2, 3), dtype=torch.promote_types(h.dtype, torch.float32))
    share = norms / norms.sum(1, keepdim=True).clamp_min(1e-12)
    return share - share[perm]


def keep_lowest(score: Tensor, lam: Tensor) -> Tensor:
    """B×C mask of the ⌊λC⌋ channels of lowest score in each row; ties go to the lower channel index.

    Ranks, not a threshold: exactly ⌊λC⌋ are kept also among dead channels, whose scores are all zero.
    """
    ranks = score.argsort(dim=1, stable=True).argsort(dim=1)
    return ranks < (lam * score.shape[1]).floor()


class MixChannels(torch.autograd.Function):
    """``where(mask, h, h[perm])`` with a gradient that gathers by the inverse permutation: a third of the time of the
    scattered one on a CPU, and in a fixed order of additions on a GPU."""

    @staticmethod
    def forward(h: Tensor, perm: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, h, h[perm])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        perm, mask = ctx.saved_tensors
        back = perm.argsort()
        return torch.where(mask, grads[0], 0).add_(torch.where(mask[back], 0, grads[0][back])), None, None


def mix_channels(h: Tensor, perm: Tensor, mask: Tensor) -> Tensor:
    """Each of the B×C maps is the sample's own where the mask is true and its partner's elsewhere."""
    mixed: Tensor = MixChannels.apply(h, perm, mask[:, :, None, None])
    return mixed


@dataclass(frozen=True, kw_only=True)
class CatchUpMix(Mixup):
    """Keep, at a random layer, the channels of each sample that are weak relative to its partner's and take the
    partner's for the rest, so that struggling filters have to carry the prediction.

    k ~ U{0, …, 5}: k = 0 mixes the input (``input_mix``), k > 0 the features after stage k; every batch is mixed.
    λ ~ Beta(α, α) per batch. ``channels`` = ``random`` is the ablation of §B.2. No ``layers`` given means all of the
    network's.

    Defaults: α is 10 (§B.3), on CIFAR-100 1 (the row of Table 10 that gives the headline 82.24 %; the text says 0.5); 1
      on CIFAR-10 and 10 on ImageNet are proposals. CutMix with α = 1 at the input (§B.1).
    Deviations: no code was released; this is §2.2 and Algorithm 1.
    Pitfalls: the label takes λ itself, not ⌊λC⌋/C. Its gain over CutMix on CIFAR-100 is that of 2000 epochs; a short
      schedule may not show it.
    """

    title = "Catch-up Mix"
    paper = "arXiv 2401.13193"
    year = 2024
    level = "input, feature"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"cifar100": {"alpha": 1.0}, "cifar10": {"alpha": 1.0}}

    layers: tuple[Annotated[int, Ge(0)], ...] = ()
    alpha: Annotated[float, Gt(0)] = 10.0
    input_mix: Literal["cutmix", "inputmixup", "none"] = "cutmix"
    input_alpha: Annotated[float, Gt(0)] | None = None
    channels: Literal["rfi", "random"] = "rfi"

    def bind(self, net: Network) -> Self:
        layers = self.layers or tuple(range(len(net.stages) + 1))
        if self.input_mix == "none":
            layers = tuple(k for k in layers if k > 0)
        check(len(layers) > 0, "layers", self.layers, "at least one stage from 1 when input_mix is none")
        return Mixup.bind(replace(self, layers=layers), net)

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """CutMix with α = 1 or input mixup with α = 0.2 (§B.1), independent of the α of the features."""
        if self.input_mix == "cutmix":
            return paste(x, perm, beta(self.input_alpha or 1.0, gen), gen)
        lam = beta(self.input_alpha or 0.2, gen)
        return blend(x, perm, lam), lam

    def mix_features(self, h: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        if self.channels == "rfi":
            score = relative_importance(h, perm)
        else:
            score = torch.rand(h.shape[:2], generator=gen, device=h.device)
        return mix_channels(h, perm, keep_lowest(score, lam)), lam
