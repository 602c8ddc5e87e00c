"""Checks that make the number of a gradient attack believable, measured beside it.

A network can look robust because its gradient is zero or useless. So an attack is compared with noise of the same
size, and with a loss that does not saturate. What follows from outcomes alone is in
:mod:`catchup_bench.records.attack_checks`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.batches import batches
from ..seeds import stream
from ..system.hardware import to_device
from . import Context, fetch

ZERO_SHARE = 0.005
"""Share of images without a gradient above which cross-entropy is no fair loss to attack."""

Direction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x, y, index) → a tensor like x of -1, 0 and 1."""


@dataclass(frozen=True)
class Seen:
    """One pass at one ε: ``bits`` as of an outcome, mean cross-entropy in nats, and how many images have no direction
    to move in."""

    bits: Tensor
    loss: float
    still: int

    @property
    def error(self) -> float:
        """Return the top-1 error in percent."""
        return 100 * (1 - float(self.bits.double().mean()))


def check_eps(eps: Sequence[float]) -> None:
    """Raise :class:`ValueError` unless all are radii of the l∞ ball in 1/255.

    Below 1 they must be eighths: no k/255 is one, so that a radius in pixels of [0,1] is not taken for one in 1/255.
    """
    if not eps or any(not 0 <= e <= 255 for e in eps):
        raise ValueError(f"eps = {eps} is not allowed: it takes numbers from 0 to 255, in 1/255 of the pixel range")
    for e in eps:
        if e < 1 and e != round(8 * e) / 8:
            raise ValueError(f"eps = {e:g} is not allowed: {in_levels(e)}; below 1 it takes eighths, such as 0.5")


def check_step(step: float) -> None:
    """Raise :class:`ValueError` unless it is the step of an attack in 1/255, and surely not in pixels of [0,1]."""
    if not (math.isfinite(step) and 0 < step <= 255):
        raise ValueError(f"step = {step} is not allowed: it takes a number above 0, at most 255, in 1/255")
    if step < 0.1:
        raise ValueError(f"step = {step:g} is not allowed: {in_levels(step)}; it takes 0.1 or more")


def in_levels(fraction: float) -> str:
    """Return what a number below 1 means, and what was surely meant."""
    meant = 255 * fraction
    close = round(meant) if abs(meant - round(meant)) < 0.05 else round(meant, 2)
    return f"it is in 1/255 of the pixel range, so write {close:g} for {close:g}/255 = {close / 255:.4f}"


def sweep(context: Context, eps: Sequence[float], direction: Direction) -> list[Seen]:
    """Evaluate the network on clip(x + ε·direction, 0, 1) for each ε in 1/255, from one direction per batch."""
    right: list[list[Tensor]] = [[] for _ in eps]
    losses: list[list[Tensor]] = [[] for _ in eps]
    still = []
    for x, y, index in batches(context.images, context.batch_size, context.device):
        sign = direction(x, y, index)
        still.append((sign == 0).flatten(1).all(1))
        for e, bits, loss in zip(eps, right, losses, strict=True):
            logits = context.forward((x + e / 255 * sign).clamp(0, 1))
            bits.append(logits.argmax(1) == y)
            loss.append(F.cross_entropy(logits, y, reduction="none"))
    count = int(fetch(still).sum())
    return [Seen(fetch(b), float(fetch(loss).double().mean()), count) for b, loss in zip(right, losses, strict=True)]


def margin_sign(net: nn.Module) -> Direction:
    """Return the direction that increases the margin, the largest wrong logit minus the true one: its gradient does not
    vanish with confidence."""

    def direction(x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        logits, true = net(x), y[:, None]
        margin = logits.scatter(1, true, float("-inf")).amax(1) - logits.gather(1, true)[:, 0]
        return torch.autograd.grad(margin.sum(), x)[0].sign()

    return direction


def random_sign(key: str) -> Direction:
    """Return noise that knows nothing of the network: a fair coin per pixel and channel, fixed by ``key``."""

    def direction(x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        coins = uniform(x, index, "random-sign-v1", key)
        return torch.where(coins < 0, -torch.ones_like(x), torch.ones_like(x))

    return direction


def uniform(x: Tensor, index: Tensor, *key: str | int) -> Tensor:
    """Draw a tensor like x, uniform in [-1, 1): each image's draw depends on ``key`` and its index alone.

    A stream per image, since a block of 500 (:func:`catchup_bench.seeds.per_image`) of large images fills the memory.
    """
    shape = x.shape[1:]
    rows = [stream(*key, i).random(shape, dtype=np.float32) for i in index.tolist()]
    return to_device(torch.from_numpy(np.stack(rows)), x.device).mul_(2).sub_(1)
