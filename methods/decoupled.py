"""DecoupleMix: Liu, Li, Wang, Tan, Wu and Li, Harnessing Hard Mixed Samples with Decoupled Regularizer, NeurIPS 2023,
arXiv 2203.10761."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from catchup_bench.method import Ge, Method, Network, soft_loss

from ._bases import BASES, make_base

SMALLEST = 1e-3
"""A label that weighs no more is none: the image is not mixed."""


@dataclass(frozen=True, kw_only=True)
class Decoupled(Method):
    """Another mixup (``base``, with its ``alpha``) whose loss also asks, of a mixed image, that each of its two classes
    wins against all but the other one.

    The two terms weigh ``eta`` times the label's weight to the power ``power``. ``mode`` says which of them there are:
    both, that of the larger weight (more) or that of the smaller (less). ``official`` exchanges the two coefficients
    for all images of a batch whose first mixed image has an own label above its partner's, as the released code does.
    η = 0.1, power 1 and both are the released defaults; the authors' configurations differ by ``base``.
    """

    title = "DecoupleMix"
    paper = "arXiv 2203.10761"
    year = 2023
    level = "input, feature"

    base: str = "cutmix"
    alpha: float = 1.0
    eta: Annotated[float, Ge(0)] = 0.1
    power: Annotated[float, Ge(0)] = 1.0
    mode: Literal["both", "more", "less"] = "both"
    official: bool = False
    mixer: Method | None = field(default_factory=lambda: None, repr=False)
    """The bound base; no option."""

    def __post_init__(self) -> None:
        super().__post_init__()
        make_base(self.base, self.alpha, self.criterion, BASES)

    def bind(self, net: Network) -> Self:
        return replace(self, mixer=make_base(self.base, self.alpha, self.criterion, BASES).bind(net))

    def bound(self) -> Method:
        """The base as used with the network."""
        assert self.mixer is not None, "bind the method to the network first"
        return self.mixer

    def start_epoch(self, net: Network) -> None:
        self.bound().start_epoch(net)

    def plan(self, rng: np.random.Generator) -> Hashable:
        return self.bound().plan(rng)

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        def criterion(logits: Tensor, target: Tensor) -> Tensor:
            return soft_loss(logits, target, self.criterion) + self.eta * self.term(logits, target, y)

        return replace(self.bound(), criterion=criterion).loss(net, x, y, plan, gen)

    def term(self, logits: Tensor, target: Tensor, y: Tensor) -> Tensor:
        """The decoupled terms, mean over the batch, for targets (B×K) of at most two classes; ``y`` are the images' own
        labels."""
        weights, classes = target.topk(2, dim=1)
        larger, smaller = (weights**self.power).unbind(1)
        larger, smaller = larger * (self.mode != "less"), smaller * (self.mode != "more")
        mixed = weights[:, 1] > SMALLEST
        if self.official:
            partner = torch.where(classes[:, 0] == y, classes[:, 1], classes[:, 0])
            first = mixed.int().argmax(keepdim=True)
            swap = (y > partner).gather(0, first)
            larger, smaller = torch.where(swap, smaller, larger), torch.where(swap, larger, smaller)
            mixed = mixed & (weights[:, 0] != weights[:, 1])
        first_wins, second_wins = (against_all_but(logits, classes, i, mixed) for i in (0, 1))
        return torch.where(mixed, larger * first_wins + smaller * second_wins, 0.0).mean()


def against_all_but(logits: Tensor, classes: Tensor, which: int, mixed: Tensor) -> Tensor:
    """Cross-entropy (B) of class ``classes[:, which]`` in a softmax without the other of the two, in fp32; with all
    classes where not ``mixed``."""
    other = classes[:, 1 - which, None] == torch.arange(logits.shape[1], device=logits.device)
    # a soft target would multiply 0 and -∞
    left = logits.float().masked_fill(other & mixed[:, None], -math.inf)
    return F.cross_entropy(left, classes[:, which], reduction="none")
