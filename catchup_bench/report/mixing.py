"""Show how a method mixes a batch: which pixels of the images, and which channels behind each stage, are an image's own
(Figure 2 of the Catch-up Mix paper). It is seen in what the method gives to the network, so any method can be shown."""

import copy
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..leaderboard.svg import MUTED, SERIES, WIDTH, blank, short
from ..method import Method
from ..models import StagedNet

OWN, OTHER, BLENDED = range(3)
KINDS = ("the image's own", "another image's", "both, or changed")
PALETTE = (SERIES[0], SERIES[1], "#9aa4af")

DRAWS, MOST_PLANS, MOST_PASSES = 200, 8, 3
"""Plans that are drawn from a method, that are shown, and passes of a step that are."""


@dataclass(frozen=True)
class Mixed:
    """What entered the network behind stage ``stage``, 0 being the input: ``images`` (N×3×H×W, in [0,1]) there, and
    ``kinds``, for each pixel (N×H×W) or channel (N×C) :data:`OWN`, :data:`OTHER` or :data:`BLENDED`."""

    plan: Hashable
    stage: int
    images: Tensor | None
    kinds: Tensor


@dataclass(frozen=True)
class Call:
    """A pass through the network from stage ``start`` up to ``stop``."""

    start: int
    stop: int | None
    given: Tensor
    output: Tensor


def plans_of(method: Method) -> list[Hashable]:
    """Return the first different plans out of many draws, in the order of their names."""
    rng = np.random.default_rng(0)
    plans = list(dict.fromkeys(method.plan(rng) for _ in range(DRAWS)))[:MOST_PLANS]
    return sorted(plans, key=lambda plan: (plan is not None, str(plan).rjust(9)))


def mix(net: StagedNet, method: Method, x: Tensor, y: Tensor, seed: int) -> list[Mixed]:
    """Return what a step of every plan of ``method`` mixes of the images ``x`` (N×3×H×W); ``net`` is left alone."""
    mixed = []
    for plan in plans_of(method):
        calls = calls_of_step(copy.deepcopy(net), method, x, y, plan, seed)
        entering = [call for call in calls if call.stop is None and len(call.given) == len(x)]
        whole = [call for call in calls if call.stop is None and len(call.given) % len(x) == 0]
        for call in (entering or whole)[:MOST_PASSES]:
            for given in call.given.split(len(x))[:MOST_PASSES]:
                own = x if call.start == 0 else features(net, calls, call.start, x)
                images = given.clamp(0, 1) if call.start == 0 else None
                mixed.append(Mixed(plan, call.start, images, kinds(given, own, by_pixel=call.start == 0)))
    return mixed


def calls_of_step(net: StagedNet, method: Method, x: Tensor, y: Tensor, plan: Any, seed: int) -> list[Call]:
    """Return the passes through ``net`` of one step of training."""
    calls: list[Call] = []

    def note(module: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        start, stop = (*given[1:], *[None] * (3 - len(given)))
        start, stop = named.get("start", start or 0), named.get("stop", stop)
        calls.append(Call(start, stop, given[0].detach().float().clone(), output.detach().float().clone()))

    hook = net.register_forward_hook(note, with_kwargs=True)
    try:
        torch.manual_seed(seed)  # for modules that draw from the default generator
        net.train()
        method.start_epoch(net)
        method.loss(net, x.clone(), y, plan, torch.Generator(x.device).manual_seed(seed))
    finally:
        hook.remove()
    return calls


@torch.no_grad()
def features(net: StagedNet, calls: list[Call], stage: int, x: Tensor) -> Tensor:
    """Return the maps of ``x`` behind ``stage``: those of the step, or, where it made none, those of a pass of the same
    kind."""
    for call in calls:
        if call.start == 0 and call.stop == stage and len(call.given) == len(x) and torch.equal(call.given, x):
            return call.output
    output: Tensor = copy.deepcopy(net).train()(x, stop=stage)
    return output


def kinds(given: Tensor, own: Tensor, by_pixel: bool) -> Tensor:
    """Return whose each pixel (N×H×W) or channel (N×C) of ``given`` (N×C×H×W) is, ``own`` being those of the images."""
    over = (2,) if by_pixel else (3, 4)
    same = given[:, None] == own[None]
    equal = same.all(over[0]) if by_pixel else same.flatten(3).all(3)
    itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
    others = equal & ~itself.view(len(own), len(own), *[1] * (equal.ndim - 2))
    mine = equal.diagonal(dim1=0, dim2=1).movedim(-1, 0)
    result = torch.full_like(mine, BLENDED, dtype=torch.long)
    return result.masked_fill(others.any(1), OTHER).masked_fill(mine, OWN)


def figure(mpl: Any, x: Tensor, mixed: list[Mixed]) -> Any:
    """Return the images ``x`` and, for every plan, the mixed images with the origin of their pixels, or the origin of
    the channels, an image a line."""
    n = len(x)
    colours = mpl.colors.ListedColormap(PALETTE)
    cell = (2 * WIDTH - 120) / n
    rows: list[tuple[str, Any, float]] = [("images", picture(x), cell)]
    for m in mixed:
        plan = "" if m.plan is None or str(m.plan) == str(m.stage) else f"\nplan {short(str(m.plan))}"
        if m.images is not None:
            rows.append((f"input{plan}", picture(m.images), cell))
            rows.append(("whose pixels", torch.cat(list(m.kinds), 1).numpy(), cell))
        else:
            name = f"stage {m.stage}\n{m.kinds.shape[1]} channels{plan}"
            rows.append((name, m.kinds.numpy(), max(60.0, 9.0 * n)))
    gap, foot = 12.0, 34.0
    height = sum(h + gap for *_, h in rows) + foot
    drawn = blank(mpl, 2 * WIDTH, height)
    top = height
    for name, values, high in rows:
        axes = drawn.add_axes((110 / (2 * WIDTH), (top - high) / height, 1 - 120 / (2 * WIDTH), high / height))
        if values.ndim == 3:
            axes.imshow(values, interpolation="none", aspect="auto")
        else:
            axes.imshow(values, cmap=colours, vmin=-0.5, vmax=2.5, interpolation="none", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", color=MUTED, labelpad=8)
        top -= high + gap
    patches = [mpl.patches.Patch(color=c, label=k) for c, k in zip(PALETTE, KINDS, strict=True)]
    drawn.legend(handles=patches, loc="lower center", ncols=3, frameon=False)
    return drawn


def picture(x: Tensor) -> Any:
    """Return N images side by side as one array, H×NW×3."""
    return torch.cat(list(x.detach().cpu().clamp(0, 1).permute(0, 2, 3, 1)), 1).numpy()
