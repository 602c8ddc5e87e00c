"""Moving salient patches into the cells that a mask keeps: Kim, Choo and Song, Puzzle Mix, arXiv 2009.06962, §3.3."""

import torch
from torch import Tensor


def arrange(share: Tensor, wanted: Tensor, eps: float) -> Tensor:
    """For every cell (B×n²) the cell whose patch moves there, after n rounds of offers.

    ``share`` B×n×n is each cell's saliency, ``wanted`` (bool) the cells that the mask keeps. Moving patch i to cell j
    costs ε·d²_ij/(n-1)² - share_i, and each round every patch goes where it costs least; of several in one cell the
    cheapest stays, and the others find that cell dearer by 1 from then on. Shares are at most 1, so a lost cell, or
    one that is not wanted, never pays again: a patch offers itself to the wanted cells in order of distance, with
    what is left of its share, for as long as that is more than 0. Cells without an offer keep their own patch; they
    are those that are not wanted, or whose own saliency is 0.
    """
    batch, n, _ = share.shape
    count = n * n
    near, gain = preferences(share.flatten(1), wanted.flatten(1), n, eps)
    index = torch.arange(count, device=share.device).expand(batch, -1)
    source, lost = index, torch.zeros_like(index)
    for _ in range(n):
        cell, offer = (t.gather(2, lost[..., None])[..., 0] for t in (near, gain))
        best = offer.new_zeros(batch, count).scatter_reduce(1, cell, offer, "amax")
        first = torch.where((offer > 0) & (offer == best.gather(1, cell)), index, count)
        source = torch.full_like(index, count).scatter_reduce(1, cell, first, "amin")
        lost = lost + (source.gather(1, cell) != index)
        lost = lost.clamp_max(n - 1)
    return torch.where(source < count, source, index)


def preferences(share: Tensor, wanted: Tensor, n: int, eps: float) -> tuple[Tensor, Tensor]:
    """The n nearest wanted cells of every patch, nearest first, ties in reading order (B×n²×n), and what it gains
    there; the gain is negative where fewer than n cells are wanted."""
    count = n * n
    squares = distances(n, share.device)
    order = squares.argsort(dim=1, stable=True)
    rank = order.argsort(dim=1).to(torch.int16)
    near = torch.where(wanted[:, None], rank, count).topk(n, dim=2, largest=False).values.long()
    cell = near.clamp_max(count - 1)
    cost = eps * squares.gather(1, order) / max(1, (n - 1) ** 2)
    gain = share[..., None] - cost.expand(len(share), -1, -1).gather(2, cell)
    return order.expand(len(share), -1, -1).gather(2, cell), torch.where(near < count, gain, -1)


def distances(n: int, device: torch.device) -> Tensor:
    """Squared distances between the cells of an n×n grid, n²×n²."""
    cells = torch.arange(n * n, device=device)
    place = torch.stack([cells // n, cells % n])
    return (place[:, :, None] - place[:, None]).square().sum(0)


def cut(x: Tensor, n: int) -> Tensor:
    """Images B×C×H×H as n² patches each, in fp32: B×n²×(C·h·h)."""
    return x.unflatten(3, (n, -1)).unflatten(2, (n, -1)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2).float()


def join(patches: Tensor, like: Tensor) -> Tensor:
    """The inverse of :func:`cut`, in shape, dtype and memory format of ``like``."""
    n, side = round(patches.shape[1] ** 0.5), like.shape[3]
    grid = patches.view(len(patches), n, n, like.shape[1], side // n, side // n).permute(0, 3, 1, 4, 2, 5)
    return torch.empty_like(like).copy_(grid.reshape(like.shape))
