"""Co-Mixup: Kim, Choo, Jeong and Song, Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity, ICLR 2021,
arXiv 2102.03065 (Eq. 3 and Algorithm 1)."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from catchup_bench.method import Ge, Gt, Le

from ._labelling import Partition, label_all
from ._saliency import Mixed, SaliencyMixup, divisible, shares
from ._transport import cut, join


def peak_distances(saliency: Tensor) -> Tensor:
    """L1 distances between the images' most salient places, B×B: the arg max of means over 8×8 pixels."""
    windows = F.avg_pool2d(saliency[:, None], min(8, saliency.shape[-1]), stride=1)[:, 0]
    place = windows.flatten(1).argmax(1)
    width = windows.shape[2]
    row, column = place // width, place % width
    return ((row[:, None] - row).abs() + (column[:, None] - column).abs()).float()


def dirichlet(alpha: float, groups: int, count: int, gen: torch.Generator) -> Tensor:
    """Draws from Dirichlet(α, …, α), groups×count, float64; by the sampler beneath ``catchup_bench.method.beta``."""
    weights = torch.full((groups, count), alpha, dtype=torch.float64, device=gen.device)
    return torch._sample_dirichlet(weights, generator=gen)


def partitions(count: int, part: int, device: torch.device) -> list[Tensor]:
    """The indices 0..count-1 in rows of ``part``, and those left over as a row of their own."""
    index, full = torch.arange(count, device=device), count - count % part
    return [rows.view(-1, size) for rows, size in ((index[:full], part), (index[full:], count - full)) if len(rows)]


@dataclass(frozen=True, kw_only=True)
class CoMixup(SaliencyMixup):
    """Turn a partition of ``part`` images into as many mixed ones: every cell of every output shows one image, or the
    mean of two, so that outputs are salient and smooth (``beta``) and together use the inputs evenly (``gamma``).

    An input that other outputs show more than ``tau`` images' worth of pays for each cell; ``omega`` weighs the
    distance between the inputs' salient places in that. ``eta`` weighs a prior drawn from Dirichlet(α) for each
    partition. ``niter`` rounds over the outputs are made.

    Defaults: the README of the released code, for all sets.
    Deviations: each output is solved exactly among the ``labels`` best labels, where the released code makes swap
      moves. Cross-entropy, where it has binary cross-entropy on the softmax: ``criterion`` = ``bce``. The last
      partition may be smaller.
    Pitfalls: at the released learning rate of 0.2 training diverges with cross-entropy (issue 6 of its repository): use
      0.1. The grid of ``blocks`` cells is halved until it divides the image.
    """

    title = "Co-Mixup"
    paper = "arXiv 2102.03065"
    year = 2021
    level = "input"
    passes = "2 forward, 2 backward"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {}

    clean_lam: Annotated[float, Ge(0)] = 1.0
    part: Annotated[int, Ge(1), "images"] = 20
    blocks: Annotated[int, Ge(2)] = 4
    alpha: Annotated[float, Gt(0)] = 2.0
    beta: Annotated[float, Ge(0)] = 0.32
    gamma: Annotated[float, Ge(0)] = 1.0
    eta: Annotated[float, Ge(0)] = 0.05
    tau: Annotated[float, Ge(0)] = 0.83
    omega: Annotated[float, Ge(0), Le(1)] = 0.001
    niter: Annotated[int, Ge(1)] = 4
    labels: Annotated[int, Ge(4)] = 9

    def choose(self, rng: np.random.Generator) -> int:
        return self.blocks

    def mix(self, x: Tensor, target: Tensor, saliency: Tensor, plan: int, gen: torch.Generator) -> Mixed:
        n = divisible(x, plan)
        share, apart = shares(saliency, n), peak_distances(saliency)
        whole, problems, starts = partitions(len(x), self.part, x.device), [], []
        for rows in whole:
            problems.append(self.partition(share[rows], apart[rows[:, :, None], rows[:, None]], gen))
            starts.append(torch.randint(rows.shape[1], (*rows.shape, n * n), generator=gen, device=x.device))
        labels = label_all(problems, starts)
        sources = [i.gather(1, z.flatten(1)).view(-1, n * n, 2) for i, z in zip(whole, labels, strict=True)]
        return compose(x, target, torch.cat(sources), n)

    def partition(self, share: Tensor, apart: Tensor, gen: torch.Generator) -> Partition:
        """The labelling problem of P partitions of m images: saliency shares P×m×n×n and peak distances P×m×m."""
        groups, count, n, _ = share.shape
        scale = 1 / n**2
        draw = dirichlet(self.alpha, groups, count, gen).float()
        cost = -share.flatten(2) - self.eta * scale * (draw + 1e-8).log()[..., None]
        far = count * apart / apart.sum((1, 2), keepdim=True).clamp_min(1)
        return Partition(
            cost=cost,
            affinity=(1 - self.omega) * torch.eye(count, device=share.device) + self.omega * far,
            smooth=self.beta * scale,
            crowd=self.gamma * scale,
            limit=self.tau * n**2,
            rounds=self.niter,
            kept=self.labels,
        )


def compose(x: Tensor, target: Tensor, sources: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mixed images and targets from the two ``sources`` (twice the same, where pure) of every cell: B×n²×2 indices."""
    patches = cut(x, n)
    cell = torch.arange(n * n, device=x.device)
    mixed = (patches[sources[..., 0], cell] + patches[sources[..., 1], cell]) / 2
    return join(mixed, x), target[sources].mean((1, 2))
