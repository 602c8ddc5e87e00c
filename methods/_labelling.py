"""The labelling problem of Co-Mixup (Kim, Choo, Jeong and Song, arXiv 2102.03065, Eq. 3 and Algorithm 1), for many
partitions at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ._grid import minimise

BONUS, NEVER = 5e-4, 1e4
"""What a label of two images is cheaper than their mean (released code); the cost of a label that is not offered."""

ABSENT = -1
"""Stands for the images of an output that a partition lacks."""


@dataclass(frozen=True)
class Partition:
    """P partitions of m images on N = n² cells. Output i gives every cell s a label z_is, an image or a pair:

        Σ_is c(z_is, s) + ``smooth`` Σ_i Σ_{s~t} [z_is ≠ z_it] + ``crowd`` Σ_{i≠k} n_i·A n_k [A n_k > ``limit``]

    with n_i the number of cells of each image in output i. ``cost`` c is P×m×N, ``affinity`` A P×m×m; ``rounds``
    sweeps over the outputs are made, each solved among the ``kept`` best labels.
    """

    cost: Tensor
    affinity: Tensor
    smooth: float
    crowd: float
    limit: float
    rounds: int
    kept: int

    @cached_property
    def pure(self) -> Tensor:
        """The labels of one image, P×m×2."""
        groups, count, _ = self.cost.shape
        return torch.arange(count, device=self.cost.device)[:, None].expand(groups, -1, 2)

    @cached_property
    def edges(self) -> Tensor:
        """The cost of an edge between two labels, P×(n-1)×n."""
        groups, _, cells = self.cost.shape
        n = round(cells**0.5)
        return self.cost.new_full((groups, n - 1, n), self.smooth)

    @cached_property
    def borders(self) -> Tensor:
        """What all edges of a cell cost at most, N."""
        down = self.edges[0]
        return (
            F.pad(down, (0, 0, 0, 1)) + F.pad(down, (0, 0, 1, 0)) + F.pad(down.T, (0, 1)) + F.pad(down.T, (1, 0))
        ).flatten()

    def filled(self, count: int) -> "Partition":
        """The same with ``count`` images, of which those that are added are never shown."""
        more = count - self.cost.shape[1]
        cost, affinity = F.pad(self.cost, (0, 0, 0, more), value=NEVER), F.pad(self.affinity, (0, more, 0, more))
        return replace(self, cost=cost, affinity=affinity)


def label_all(problems: Sequence[Partition], starts: Sequence[Tensor]) -> list[Tensor]:
    """:func:`label` of problems that differ in the number of images alone, solved together."""
    count = max(start.shape[1] for start in starts)
    filled = [problem.filled(count) for problem in problems]
    whole = replace(
        filled[0],
        cost=torch.cat([problem.cost for problem in filled]),
        affinity=torch.cat([problem.affinity for problem in filled]),
    )
    start = torch.cat([F.pad(start, (0, 0, 0, count - start.shape[1]), value=ABSENT) for start in starts])
    found = label(whole, start).split([len(start) for start in starts])
    return [sources[:, : start.shape[1]] for sources, start in zip(found, starts, strict=True)]


def label(problem: Partition, start: Tensor) -> Tensor:
    """Two images of every cell of every output (the same twice, or a pair): P×m×N×2, from random ``start`` P×m×N.

    The outputs are solved one after the other, all others fixed, with the crowding term made linear. A partition
    whose objective has settled to 1e-6 keeps its labels from then on; an output that starts as ``ABSENT`` keeps that.
    """
    count = start.shape[1]
    sources = torch.stack([start, start], 3)
    used = usage(sources, count)
    extra = torch.zeros_like(used)
    fixed = start[..., 0] == ABSENT
    before = objective(problem, sources, used)
    for turn in range(problem.rounds):
        for i in range(count):
            others = used.sum(1) - used[:, i]
            cost = problem.cost + (crowding(problem, others) + extra[:, i])[..., None]
            new = solve(problem, cost, used[:, i], soft=turn > 0)
            sources[:, i] = torch.where(fixed[:, i, None, None], sources[:, i], new)
            used[:, i] = usage(sources[:, i], count)
        if turn == problem.rounds - 2:
            extra = problem.crowd * repeated(used > 0)
        if turn < problem.rounds - 1:
            after = objective(problem, sources, used)
            fixed = fixed | ((before - after).abs() / after.abs() < 1e-6)[:, None]
            before = after
    return sources


def usage(sources: Tensor, count: int) -> Tensor:
    """How many cells show each image, a pair counting half for both: (…)×N×2 → (…)×m."""
    return (sources[..., None] == torch.arange(count, device=sources.device)).sum((-3, -2)) / 2


def crowding(problem: Partition, others: Tensor) -> Tensor:
    """Cost per cell of each image (P×m) where the other outputs show ``others`` cells of each.

    2γ Σ_k A_jk p_k over those k alone whose (A p)_k is above the limit, as in the released code.
    """
    near = (problem.affinity * others[:, None]).sum(2)  # not a matrix product: those may be rounded to TF32
    return 2 * problem.crowd * (problem.affinity * (others * (near > problem.limit))[:, None]).sum(2)


def solve(problem: Partition, cost: Tensor, used: Tensor, soft: bool) -> Tensor:
    """The best labels of one output (P×N×2), where an image costs ``cost`` P×m×N. ``soft`` also offers the pairs of
    the (at most three) images that the output ``used`` most."""
    groups, count, cells = cost.shape
    n, pairs = round(cells**0.5), problem.pure
    if soft and count > 1:
        extra, offered = pairs_of_most_used(used)
        both = cost.gather(1, extra.flatten(1)[..., None].expand(-1, -1, cells)).view(*extra.shape, cells).mean(2)
        cost = torch.cat([cost, torch.where(offered[..., None], both - BONUS, NEVER)], 1)
        pairs = torch.cat([pairs, extra], 1)
    best = promising(cost, problem.borders).topk(min(problem.kept, cost.shape[1]), largest=False).indices
    unary = cost.gather(1, best[..., None].expand(-1, -1, cells)).mT.reshape(groups, n, n, -1)
    pairs = pairs.gather(1, best[..., None].expand(-1, -1, 2))
    found = minimise(unary, label_distances(pairs), problem.edges, problem.edges.mT).flatten(1)
    return pairs.gather(1, found[..., None].expand(-1, -1, 2))


def promising(cost: Tensor, borders: Tensor) -> Tensor:
    """How far each label (P×L) is at best from paying anywhere, for ``cost`` P×L×N; above 0 it is in no optimum,
    because the cheapest label there saves more than all ``borders`` (N) of the cell can cost."""
    return (cost - cost.amin(1, keepdim=True) - borders).amin(2)


def pairs_of_most_used(used: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs of the three images most used (P×3×2; ties to the lower index), and which of them may be offered:
    all three when at least three images are used, the first when two are."""
    order = used.argsort(dim=1, descending=True, stable=True)
    top = torch.triu_indices(*(min(3, used.shape[1]),) * 2, 1, device=used.device).T  # (0, 1), (0, 2), (1, 2)
    return order[:, top], (used > 0).sum(1, keepdim=True) > top[:, 1]


def label_distances(pairs: Tensor) -> Tensor:
    """P×L×L: 0 for the same label, 1/4 for a pair and one of its images, 1 otherwise; from the P×L×2 images."""
    common = (pairs[:, :, None, :, None] == pairs[:, None, :, None, :]).any((3, 4))
    mixed = pairs[..., 0] != pairs[..., 1]
    near = common & (mixed[:, :, None] != mixed[:, None])
    other = 1 - torch.eye(pairs.shape[1], device=pairs.device)
    return torch.where(near, 0.25, other)


def repeated(shown: Tensor) -> Tensor:
    """Where two outputs show the same set of two or more images (``shown`` P×m×m, bool), a mark (1) on the first
    image of the earlier output and on the second image of the later."""
    count = shown.shape[1]
    same = (shown[:, :, None] == shown[:, None]).all(3) & (shown.sum(2) > 1)[..., None]
    later = same.triu(1)
    order = shown.cumsum(2)
    first, second = shown & (order == 1), shown & (order == 2)
    marks = (first & later.any(2)[..., None]) | (second & later.any(1)[..., None])
    return marks.float().view(-1, count, count)


def objective(problem: Partition, sources: Tensor, used: Tensor) -> Tensor:
    """The objective without the limit and with A = 1 (P), as the released code watches it."""
    groups, count, cells, _ = sources.shape
    n = round(cells**0.5)
    soft = (sources[..., None] == torch.arange(count, device=sources.device)).float().mean(3)
    grid = soft.view(groups, count, n, n, count)
    change = grid.diff(dim=2).square().flatten(1).sum(1) + grid.diff(dim=3).square().flatten(1).sum(1)
    crowd = used.sum(1).square().sum(1) - used.square().flatten(1).sum(1)
    saliency = (soft.sum(1) * problem.cost.mT).flatten(1).sum(1)
    return saliency + problem.smooth / 2 * change + problem.crowd * crowd
