"""AlignMixup: Venkataramanan, Kijak, Amsaleg and Avrithis, CVPR 2022, arXiv 2103.15375; the classifier without the
autoencoder, which is what the authors released."""

from dataclasses import dataclass, replace
from math import log
from typing import Annotated, Self

import numpy as np
import torch
from torch import Tensor

from catchup_bench.method import (
    Ge,
    Gt,
    Mixup,
    Network,
    beta,
    check,
    mix_targets,
    one_hot,
    partners,
    permutation,
    soft_loss,
)

from ._head import classifier, classify, pooled_map
from .inputmixup import blend

PARTNER, SAMPLE = 1, 2


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """‖a_i - b_j‖² of the columns of ``a`` and ``b`` (both B×C×r, fp32) as B×r×r, by expansion, never negative."""
    norms = a.square().sum(1)[:, :, None] + b.square().sum(1)[:, None, :]
    return torch.baddbmm(norms, a.mT, b, alpha=-2).clamp_min(0)


def transport(cost: Tensor, eps: float, steps: int, tolerance: float) -> Tensor:
    """Sinkhorn's plan (B×r×r; marginals 1/r, those of the columns met exactly) for ``cost``, in the log domain.

    Stops when the potentials of the rows move by less than ``tolerance`` in sum over positions and mean over the
    batch. All ``steps`` are computed and those after the stop are not taken, so that no one waits for the device.

    What is iterated is the logarithm of the plan and not of its potentials: a step is then two log-softmaxes, each one
    operation, and the numbers that decide stay small. All entries of a row move as far as its potential does.
    """
    r, batch = cost.shape[1], len(cost)
    mass = log(1 / r + 1e-8)
    plan = (cost / -eps).permute(1, 2, 0).contiguous() - mass  # the batch last, so that both sums run along it
    going = torch.ones((), dtype=torch.bool, device=cost.device)
    for _ in range(steps):
        rows = plan.log_softmax(1)
        moved = torch.linalg.vector_norm(rows[:, 0] - plan[:, 0], 1)
        plan = torch.where(going, rows.log_softmax(0), plan)
        going = going & (moved >= tolerance * batch / eps)
    return (plan + mass).exp().permute(2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class AlignMixup(Mixup):
    """Mix inputs, or last feature maps after optimal transport has aligned their positions.

    At the last map, A and A' (C×r), the transport plan times r is R, detached; a coin says whether λA + (1-λ)A'Rᵀ
    ("partner" is moved) or λAR + (1-λ)A' ("sample" is moved) is pooled. λ ~ Beta(α, α) per batch. No ``layers`` given
    means input and last map.

    Defaults: α = 2, ε = 0.1 and at most 100 iterations, for all sets: the released code.
    Deviations: none from the released code; the paper's variant with an autoencoder is not released, and not here.
    Pitfalls: a network must end in global average pooling and one linear layer. Where the sample is moved, λ = 1 does
      not give its own map back.
    """

    title = "AlignMixup"
    paper = "arXiv 2103.15375"
    year = 2022
    level = "input, feature"

    layers: tuple[Annotated[int, Ge(0)], ...] = ()
    alpha: Annotated[float, Gt(0)] = 2.0
    eps: Annotated[float, Gt(0)] = 0.1
    steps: Annotated[int, Ge(1)] = 100
    tolerance: Annotated[float, Ge(0)] = 0.1

    def bind(self, net: Network) -> Self:
        classifier(net)
        last = len(net.stages)
        check(set(self.layers) <= {0, last}, "layers", self.layers, f"0 (the input) and {last} (the last map)")
        return Mixup.bind(replace(self, layers=self.layers or (0, last)), net)

    def plan(self, rng: np.random.Generator) -> int | None:
        """0 mixes the input, ``PARTNER`` and ``SAMPLE`` say which map is moved onto the other."""
        layer = super().plan(rng)
        return (PARTNER, SAMPLE)[int(rng.integers(2))] if layer else layer

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: int | None, gen: torch.Generator) -> Tensor:
        if not plan:
            return super().loss(net, x, y, plan, gen)
        perm, lam = permutation(len(x), gen), beta(self.alpha, gen)
        h = self.mix_aligned(pooled_map(net, x), perm, lam, plan)
        return soft_loss(classify(net, h), mix_targets(one_hot(y, net.num_classes), perm, lam), self.criterion)

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        return blend(x, perm, lam), lam

    def mix_aligned(self, h: Tensor, perm: Tensor, lam: Tensor, plan: int) -> Tensor:
        """Maps (B×C×h×w) mixed with their partners', one of the two moved, in fp32."""
        with torch.autocast(h.device.type, enabled=False):
            a = h.flatten(2).float()
            b = partners(a, perm)
            with torch.no_grad():
                cost = squared_distances(a.contiguous(), b.contiguous())
                r = transport(cost, self.eps, self.steps, self.tolerance) * a.shape[2]
            mixed = torch.lerp(b @ r.mT, a, lam.float()) if plan == PARTNER else torch.lerp(b, a @ r, lam.float())
            return mixed.view(h.shape).to(h.dtype)
