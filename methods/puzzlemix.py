"""Puzzle Mix: Kim, Choo and Song, Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup, ICML 2020,
arXiv 2009.06962 (Eq. 4 to 8)."""

from dataclasses import dataclass
from math import comb, gcd
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from catchup_bench.method import Ge, Gt, Lt, MinLen, beta, mix_targets, permutation

from ._grid import minimise
from ._saliency import Mixed, SaliencyMixup, divisible, shares
from ._transport import arrange, cut, join


def prior(lam: Tensor, labels: int) -> Tensor:
    """-log of the binomial probability of each mixing level, from the own image (level 1) to the partner (level 0)."""
    top = labels - 1
    chance = [comb(top, i) * lam ** (top - i) * (1 - lam) ** i for i in range(labels)]
    return -(torch.stack(chance) + 1e-8).log()


def gap(above: Tensor, below: Tensor, k: int) -> Tensor:
    """Mean |difference| across each border between vertically adjacent blocks of k×k cells: B×(b-1)×b."""
    across = (above[:, :, k - 1 : -1 : k] - below[:, :, k::k]).abs().mean(1)
    return across.unflatten(2, (-1, k)).mean(3)


def borders(own: Tensor, other: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Costs between vertical neighbours s, t for the data term (of keeping one's own, of taking the other: B×b×b)
    and the smoothness term (B×(b-1)×b), from the four gaps d between what s and what t may show.

    For masks of 0 and 1 the split is exact up to a constant: d_ac = a-dependent + c-dependent + w(a - c)².
    """
    d11, d10, d01, d00 = (gap(p, q, k) for p in (own, other) for q in (own, other))
    keep = F.pad(d11 + d10, (0, 0, 0, 1)) + F.pad(d11 + d01, (0, 0, 1, 0))
    take = F.pad(d00 + d01, (0, 0, 0, 1)) + F.pad(d00 + d10, (0, 0, 1, 0))
    return keep / 2, take / 2, (d10 + d01 - d11 - d00) / 2


@dataclass(frozen=True, kw_only=True)
class PuzzleMix(SaliencyMixup):
    """Keep by a mask of ``labels`` levels on a b×b grid (b drawn from ``blocks``) what is salient in either image,
    smoothly where the images are smooth; then move salient patches into the cells that the mask keeps.

    λ ~ Beta(α, α) per batch is the prior of the mask, ``eta`` its weight; ``beta`` and ``gamma`` weigh smoothness of
    the mask and of the pixels, compared as means over ``neigh``² pixels. ``t_eps`` is the price of moving a patch
    across the image, ``t_size`` the patch's side in pixels (0: the block's).

    Defaults: the released code (the plain commands of its README for CIFAR-100 and Tiny-ImageNet; ``imagenet/``), and
      for fine-grained sets the code of GuidedMixup's authors.
    Deviations: the mask problem is solved exactly up to b = 4 and by dual ascent (``iterations``) beyond, where the
      released code calls swap moves on integers that can overflow. Cross-entropy, where it has binary cross-entropy on
      the softmax (``criterion`` = ``bce``) for CIFAR and Tiny-ImageNet. Its adversarial noise, an option for other rows
      of its paper, is left out.
    Pitfalls: the label's weight is the mask's mean, for which λ is only a prior. Images must be square with an even
      side; b is halved until it divides it.
    """

    title = "PuzzleMix"
    paper = "arXiv 2009.06962"
    year = 2020
    level = "input"
    passes = "2 forward, 2 backward"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "tinyimagenet": {"clean_lam": 1.0, "t_size": 0},
        **{name: {"clean_lam": 1.0, "t_size": 0, "neigh": 2} for name in ("cub", "cars", "aircraft")},
        "imagenet": {"t_size": 0, "neigh": 2},
    }

    alpha: Annotated[float, Gt(0)] = 1.0
    blocks: Annotated[tuple[Annotated[int, Ge(2)], ...], MinLen(1)] = (2, 4, 8, 16)
    labels: Annotated[int, Ge(2)] = 3
    eta: Annotated[float, Ge(0)] = 0.2
    beta: Annotated[float, Ge(0)] = 1.2
    gamma: Annotated[float, Ge(0), Lt(1), "which keeps the energy submodular"] = 0.5
    neigh: Annotated[int, Ge(1), "pixels"] = 4
    transport: bool = True
    t_eps: Annotated[float, Gt(0)] = 0.8
    t_size: Annotated[int, Ge(0), "pixels, 0 is the block"] = 4
    iterations: Annotated[int, Ge(1)] = 60

    def choose(self, rng: np.random.Generator) -> int:
        return self.blocks[int(rng.integers(len(self.blocks)))]

    def mix(self, x: Tensor, target: Tensor, saliency: Tensor, plan: int, gen: torch.Generator) -> Mixed:
        perm, lam = permutation(len(x), gen), beta(self.alpha, gen).float()
        mask = self.mask(x, shares(saliency, divisible(x, plan)), perm, lam)
        return self.puzzle(x, saliency, perm, mask), mix_targets(target, perm, mask.mean((1, 2)))

    def mask(self, x: Tensor, share: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
        """The best B×b×b mask, 1 where the image is kept, for saliency shares B×b×b and prior λ."""
        cost = minimise(*self.problem(x, share, perm, lam), self.iterations, convex=True)
        return 1 - cost / (self.labels - 1)

    def problem(self, x: Tensor, share: Tensor, perm: Tensor, lam: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The energy of masks as unary costs, label distances and weights (see :mod:`._grid`); label l is the level
        1 - l/(L-1). Keeping the image costs the partner's saliency."""
        b, levels = share.shape[1], torch.linspace(1, 0, self.labels, device=x.device)
        block = x.shape[3] // b
        fine = gcd(self.neigh, block)
        own = F.avg_pool2d(x.float(), fine)
        other, smooth = own[perm], self.beta / (16 * b)
        keep, take, down = borders(own, other, block // fine)
        keep_t, take_t, across = (t.mT for t in borders(own.mT, other.mT, block // fine))
        keep = share[perm] + smooth * self.gamma * (keep + keep_t)
        take = share + smooth * self.gamma * (take + take_t)
        unary = levels * keep[..., None] + (1 - levels) * take[..., None] + self.eta / b**2 * prior(lam, self.labels)
        distance = (levels[:, None] - levels).square()[None]
        return unary, distance, smooth * (1 + self.gamma * down), smooth * (1 + self.gamma * across)

    def puzzle(self, x: Tensor, saliency: Tensor, perm: Tensor, mask: Tensor) -> Tensor:
        """Both images put together by ``mask``, with their patches moved first when ``transport`` is on."""
        b, side = mask.shape[1], x.shape[3]
        n = side // gcd(self.t_size, side // b) if self.t_size and self.transport else b
        mask = mask.repeat_interleave(n // b, 1).repeat_interleave(n // b, 2)
        own = torch.arange(n * n, device=x.device).expand(len(x), -1)
        other = own
        if self.transport:
            share = shares(saliency, n)
            both = arrange(torch.cat([share, share[perm]]), torch.cat([mask > 0, mask < 1]), self.t_eps)
            own, other = both.chunk(2)
        patches = cut(x, n)
        first = torch.arange(len(x), device=x.device)[:, None]
        keep = mask.flatten(1)[..., None]
        return join(keep * patches[first, own] + (1 - keep) * patches[perm[:, None], other], x)
