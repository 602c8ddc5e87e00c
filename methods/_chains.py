"""What AugMix and its successors share: the levels of its operations, chains of them, mixtures of chains, and the
consistency of predictions."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _imageops as image
from ._imageops import Operations

WIDTH = DEPTH = 3
"""Chains of a mixture, and the most operations of a chain."""


class Kinds(NamedTuple):
    """The operations to choose from: ``number`` of them from ``first`` on."""

    first: int
    number: int

    @property
    def enhance(self) -> bool:
        return self.first <= image.SHARPNESS


NINE = Kinds(image.AUTOCONTRAST, 9)
THIRTEEN = Kinds(image.COLOR, 13)


def uniform(gen: torch.Generator, *shape: int) -> Tensor:
    """Float64 numbers in [0, 1) on the generator's device."""
    return torch.rand(shape, generator=gen, device=gen.device, dtype=torch.float64)


def whole(gen: torch.Generator, n: int, *shape: int) -> Tensor:
    """Uniform int64 numbers from 0 to n-1."""
    return (uniform(gen, *shape) * n).long()


def dirichlet(gen: torch.Generator, count: int, *shape: int) -> Tensor:
    """``count`` float32 weights that sum to 1 (the first axis), uniform among all such, for each of ``shape``."""
    e = -torch.log1p(-uniform(gen, count, *shape))
    return (e / e.sum(0)).float()


def at_level(kind: Tensor, level: Tensor, negative: Tensor, height: int, width: int) -> Operations:
    """AugMix's operations at ``level`` out of 10 (float64, length N), in the other direction where ``negative``."""
    sign = torch.where(negative, -1.0, 1.0).double()
    matrix = image.affine(
        kind,
        level * 0.3 / 10 * sign,
        (level * (width / 3) / 10).floor() * sign,
        (level * (height / 3) / 10).floor() * sign,
        (level * 30 / 10).floor() * sign,
        height,
        width,
    )
    dropped = 4 + (level * 4 / 10).long()
    return Operations(kind, dropped, 256 - (level * 256 / 10).long(), matrix, (level * 1.8 / 10 + 0.1).float())


def draw_level(gen: torch.Generator, severity: float, n: int) -> Tensor:
    """n levels, uniform from 0.1 to ``severity``."""
    return 0.1 + (severity - 0.1) * uniform(gen, n)


def augmented(u: Tensor, kind: Tensor, kinds: Kinds, severity: float, gen: torch.Generator) -> Tensor:
    """uint8 images after their operation ``kind``, at levels and in directions drawn here."""
    n, level = len(u), draw_level(gen, severity, len(u))
    ops = at_level(kind, level, uniform(gen, n) < 0.5, u.shape[2], u.shape[3])
    return image.apply(u, ops, enhance=kinds.enhance)


def one_operation(u: Tensor, kinds: Kinds, severity: float, gen: torch.Generator) -> Tensor:
    """uint8 images after one random operation each."""
    return augmented(u, kinds.first + whole(gen, kinds.number, len(u)), kinds, severity, gen)


def chains(u: Tensor, count: int, kinds: Kinds, severity: float, gen: torch.Generator) -> Tensor:
    """``count`` copies of uint8 images (count×B×3×H×W), each after one to three random operations of its own."""
    n = count * len(u)
    out, depth = u.repeat(count, 1, 1, 1), 1 + whole(gen, DEPTH, n)
    for step in range(DEPTH):
        kind = kinds.first + whole(gen, kinds.number, n)
        out = augmented(out, torch.where(step < depth, kind, image.IDENTITY), kinds, severity, gen)
    return out.view(count, *u.shape)


def mixture(x: Tensor, parts: Tensor, weights: Tensor, share: Tensor, top: float = 255) -> Tensor:
    """(1-m)x + mΣw·part: images B×3×H×W, chains (width×B×3×H×W) from 0 to ``top``, ``weights`` width×B and ``share`` m
    of length B; in the memory format of ``x``."""
    mixed = sum(w[:, None, None, None] * p.float() for w, p in zip(weights, parts, strict=True)) / top
    out = torch.lerp(x.float(), torch.as_tensor(mixed), share.float()[:, None, None, None])
    return torch.empty_like(x).copy_(out)


@torch.no_grad()
def views(x: Tensor, count: int, kinds: Kinds, severity: float, gen: torch.Generator) -> list[Tensor]:
    """``count`` of AugMix's views of the images, each with draws of its own for every image."""
    u = image.to_bytes(x)
    parts = chains(u, count * WIDTH, kinds, severity, gen).chunk(count)
    weights, share = dirichlet(gen, WIDTH, count, len(x)), uniform(gen, count, len(x))
    return [mixture(x, parts[i], weights[:, i], share[i]) for i in range(count)]


def consistency(logits: tuple[Tensor, ...]) -> Tensor:
    """Jensen-Shannon divergence of the predictions (each B×K), mean over the batch, in fp32; at most the logarithm of
    their number. Nothing is detached."""
    with torch.autocast(logits[0].device.type, enabled=False):
        p = [z.float().softmax(1) for z in logits]
        mean = torch.stack(p).mean(0).clamp(1e-7, 1).log()
        return torch.stack([F.kl_div(mean, q, reduction="batchmean") for q in p]).mean()
