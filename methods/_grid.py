"""Minimisers of energies on a grid of sites with 4 neighbours, batched and on the device of their input.

    E(l) = Σ_s U_s(l_s) + Σ_{s~t} w_st V(l_s, l_t)

``unary`` is B×n×n×L, ``distance`` (V, symmetric, zero diagonal) B×L×L or 1×L×L, ``down`` (B×(n-1)×n) and ``across``
(B×n×(n-1)) hold w between vertical and horizontal neighbours. Labels come back as B×n×n int64. Both minimisers run a
fixed number of steps and read nothing on the host.
"""

import torch
from torch import Tensor

STATES, CONVEX_STATES = 30_000, 500
"""Up to this many label strings of length n the minimum is found by dynamic programming."""

STEP, MOMENTUM = 0.75, 0.8
"""Of the dual ascent: the fraction of the rows' and columns' disagreement that is moved, and what is kept of a move."""


def minimise(
    unary: Tensor, distance: Tensor, down: Tensor, across: Tensor, iterations: int = 60, convex: bool = False
) -> Tensor:
    """Labels of least energy: by dynamic programming where L^n allows it, by dual ascent of ``iterations`` rounds
    elsewhere. Where V is ``convex`` in the labels the dual has no gap, and is the faster of the two sooner."""
    batch, n, _, count = unary.shape
    if count**n > (CONVEX_STATES if convex else STATES):
        return dual_ascent(unary, distance, down, across, iterations)[0]
    floats = 2**19 if unary.device.type == "cpu" else 2**27  # the working set: the cache here, a share of memory there
    step = max(1, min(batch, floats // count ** (n + 1)))
    tables = unary.new_empty(n, step, count**n)  # one allocation for all parts: fresh pages cost more than the sums
    distance = distance.expand(batch, -1, -1)
    parts = zip(unary.split(step), distance.split(step), down.split(step), across.split(step), strict=True)
    return torch.cat([frontier(*part, tables[:, : len(part[0])]) for part in parts])


def energy(labels: Tensor, unary: Tensor, distance: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """E of B×n×n ``labels``, one number per sample."""
    sites = unary.gather(3, labels[..., None])[..., 0].sum((1, 2))
    vertical = down * between(labels[:, :-1], labels[:, 1:], distance)
    horizontal = across * between(labels[:, :, :-1], labels[:, :, 1:], distance)
    return sites + vertical.sum((1, 2)) + horizontal.sum((1, 2))


def between(one: Tensor, other: Tensor, distance: Tensor) -> Tensor:
    """V(one, other), element by element, of two label arrays of shape B×…"""
    flat = distance.expand(len(one), -1, -1).flatten(1)
    return flat.gather(1, (one * distance.shape[-1] + other).flatten(1)).view(one.shape)


def frontier(unary: Tensor, distance: Tensor, down: Tensor, across: Tensor, tables: Tensor) -> Tensor:
    """The exact minimum by dynamic programming over the labels of a row.

    A state is the row's string of n labels as a number in base L, the first digit that of the first column. The first
    n of ``tables`` …×B×Lⁿ are filled with the least cost of all sites up to and including a row in each of its states.
    """
    batch, n, _, count = unary.shape
    vertical = down[..., None, None] * distance[:, None, None]
    horizontal = across[..., None, None] * distance[:, None, None]
    rows, joint = unary[:, :, 0], horizontal + unary[:, :, 1:, None]
    for c in range(n - 1):
        rows = (rows.view(batch, n, -1, count, 1) + joint[:, :, None, c]).flatten(2)
    tables[0] = rows[:, 0]
    work = unary.new_empty(batch, count ** (n + 1))
    half = n // 2
    for r in range(1, n):
        cost = tables[r - 1]
        for c in range(n):
            if c == half:  # the digits that are left come to the front: sums over rows of few numbers would be slow
                cost = cost.view(batch, count**half, -1).transpose(1, 2).contiguous()
            cost = descend(cost, vertical[:, r - 1, c], c if c < half else c - half, work)
        turned = cost.view(batch, -1, count**half).transpose(1, 2)
        torch.add(turned, rows[:, r].view(turned.shape), out=tables[r].view(turned.shape))
    return backtrack(tables, vertical, n)


def descend(cost: Tensor, edge: Tensor, digit: int, work: Tensor) -> Tensor:
    """One label of the strings behind ``cost`` (B×…, Lⁿ numbers) is replaced by that below it, of least cost given the
    other: ``edge`` B×L×L is what the two cost together, ``work`` B×Lⁿ⁺¹ is scratch."""
    batch, count = edge.shape[:2]
    joint = work.view(batch, count**digit, count, count, -1)  # the label below, then the one above
    torch.add(cost.view(batch, count**digit, 1, count, -1), edge[:, None, :, :, None], out=joint)
    return joint.amin(3)


def backtrack(tables: Tensor, vertical: Tensor, n: int) -> Tensor:
    """Labels of all sites, by redoing the minima of ``tables`` along the best path alone."""
    count = vertical.shape[-1]
    place = count ** torch.arange(n - 1, -1, -1, device=tables.device)
    state, labels = tables[n - 1].argmin(1), []
    for r in range(n - 1, -1, -1):
        labels.append(state[:, None] // place % count)
        if r:
            to = vertical[:, r - 1].gather(2, labels[-1][..., None, None].expand(-1, -1, 1, count))[:, :, 0]
            cost = to[:, 0]
            for c in range(1, n):
                cost = (cost[..., None] + to[:, c, None]).flatten(1)
            state = (tables[r - 1] + cost).argmin(1)
    return torch.stack(labels[::-1], 1)


def dual_ascent(
    unary: Tensor, distance: Tensor, down: Tensor, across: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Labels and a lower bound of the least energy (B), from sharing the unary costs out between rows and columns.

    Each round solves all rows and columns exactly and moves costs from where a label is dear to where it is cheap,
    with momentum, until both would choose the same. Every tenth round labels are read off and polished; the best of
    them are returned. Removing each site's least cost from a move keeps costs from running back and forth.
    """
    n = unary.shape[1]
    share = torch.stack([unary.permute(2, 3, 0, 1), unary.permute(1, 3, 0, 2)], 2) / 2  # position, label, way, B, chain
    weight = torch.stack([across.permute(2, 0, 1), down.permute(1, 0, 2)], 1)
    pairs = weight[:, None, None] * distance.permute(1, 2, 0)[None, :, :, None, :, None]
    pairs = torch.stack([pairs, pairs.flip(0)], 3)
    last, best = share, torch.zeros_like(unary[..., 0], dtype=torch.long)
    least = energy(best, unary, distance, down, across)
    bound = torch.full_like(unary[:, 0, 0, 0], -torch.inf)
    for i in range(1, iterations + 1):
        ahead = torch.lerp(last, share, 1 + MOMENTUM)
        marginal = min_marginals(ahead, pairs)
        excess = marginal - marginal.amin(1, keepdim=True)
        rows, columns = excess[:, :, 0], excess[:, :, 1].transpose(0, 3)
        move = rows - columns
        ahead[:, :, 0].sub_(move, alpha=STEP / n)
        ahead[:, :, 1].add_(move.transpose(0, 3), alpha=STEP / n)
        last, share = share, ahead
        if (iterations - i) % 10 == 0:
            labels = polish((rows + columns).argmin(1).permute(1, 2, 0), unary, distance, down, across)
            value = energy(labels, unary, distance, down, across)
            best = torch.where((value < least)[:, None, None], labels, best)
            least = torch.minimum(value, least)
            bound = torch.maximum(bound, marginal[0].amin(0).sum((0, 2)))
    return best, bound


def min_marginals(share: Tensor, pairs: Tensor) -> Tensor:
    """The least cost of every chain with a given label at a given position, in the layout of ``share`` (position,
    label, …); ``pairs`` (position, label, label, both directions, …) is the cost between a position and the next."""
    both = torch.stack([share, share.flip(0)], 2)
    joint = pairs + both[1:, None]
    steps = [both[0]]
    for edge in joint:
        steps.append((steps[-1][:, None] + edge).amin(0))
    through = torch.stack(steps)
    return through[:, :, 0] + through[:, :, 1].flip(0) - share


def polish(labels: Tensor, unary: Tensor, distance: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Two sweeps in which each colour of a chessboard takes its best labels given the other's."""
    n = labels.shape[1]
    cell = torch.arange(n, device=labels.device)
    black = ((cell[:, None] + cell) % 2).bool()
    for turn in (black, ~black, black, ~black):
        to = distance.expand(len(labels), -1, -1).gather(1, labels.flatten(1)[..., None].expand(-1, -1, unary.shape[3]))
        to = to.view(unary.shape)
        cost = unary.clone()
        cost[:, 1:].addcmul_(down[..., None], to[:, :-1])
        cost[:, :-1].addcmul_(down[..., None], to[:, 1:])
        cost[:, :, 1:].addcmul_(across[..., None], to[:, :, :-1])
        cost[:, :, :-1].addcmul_(across[..., None], to[:, :, 1:])
        labels = torch.where(turn, cost.argmin(3), labels)
    return labels
