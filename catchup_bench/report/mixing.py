"""Show how a method mixes a batch: which pixels of the images, and which channels behind each stage, are an image's own
(Figure 2 of the Catch-up Mix paper). It is seen in what the method gives to the network, so any method can be shown."""

import copy
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..leaderboard.svg import MUTED, SERIES, WIDTH, blank, short
from ..method import Method
from ..models import StagedNet

OWN, OTHER, BLENDED = range(3)
KINDS = ("the image's own", "another image's", "both, or changed")
PALETTE = (SERIES[0], SERIES[1], "#9aa4af")

POOLED = -1
"""In the place of a stage: behind the pooling, before the last layer."""

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
    """A pass from stage ``start`` on, up to ``stop``; from behind the pooling where ``start`` is :data:`POOLED`."""

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
    """Return what a step of every plan of ``method`` mixes of the images ``x`` (N×3×H×W); ``net`` is left alone.

    What a step gives to the network is what enters it anywhere and is no output of it. Of a plan that also passes the
    images as they are, only the rest is returned.
    """
    mixed: list[Mixed] = []
    for plan in plans_of(method):
        calls = calls_of_step(copy.deepcopy(net), method, x, y, plan, seed)
        of_plan: list[Mixed] = []
        for i, call in enumerate(calls):
            if any(leads_to(net, earlier, call) for earlier in calls[:i]):
                continue
            for given in call.given.split(len(x)) if len(call.given) % len(x) == 0 else ():
                own = x if call.start == 0 else features(net, calls, call.start, x)
                images = given.clamp(0, 1) if call.start == 0 else None
                found = Mixed(plan, call.start, images, kinds(given, own, by_pixel=call.start == 0))
                if not any(found.stage == other.stage and torch.equal(found.kinds, other.kinds) for other in of_plan):
                    of_plan.append(found)
        changed = [m for m in of_plan if bool((m.kinds != OWN).any())]
        mixed += (changed or of_plan[:1])[:MOST_PASSES]
    return mixed


def leads_to(net: StagedNet, earlier: Call, call: Call) -> bool:
    """Return whether ``call`` goes on with what ``earlier`` gave, pooled where it begins behind the pooling."""
    if call.start != POOLED or earlier.output.ndim != 4 or earlier.stop != len(net.stages):
        return same(call.given, earlier.output)
    pooled = pooled_features(net, earlier.output)
    return pooled.shape == call.given.shape and torch.allclose(pooled, call.given, rtol=1e-4, atol=1e-5)


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


def calls_of_step(net: StagedNet, method: Method, x: Tensor, y: Tensor, plan: Any, seed: int) -> list[Call]:
    """Return the passes through ``net`` of one step of training; of the second one, after
    other images, for a method that keeps a state."""
    calls: list[Call] = []
    inside: list[bool] = []

    def begin(*_: Any) -> None:
        inside.append(True)

    def note(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        inside.pop()
        stages = {"start": 0, "stop": None} | dict(zip(("start", "stop"), given[1:], strict=False)) | named
        calls.append(
            Call(stages["start"], stages["stop"], given[0].detach().float().clone(), output.detach().float().clone())
        )

    def note_head(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        if not inside and given[0].ndim == 2:
            calls.append(Call(POOLED, None, given[0].detach().float().clone(), output.detach().float().clone()))

    hooks = [net.register_forward_pre_hook(begin), net.register_forward_hook(note, with_kwargs=True)]
    hooks += [layer.register_forward_hook(note_head) for layer in net.head.modules() if isinstance(layer, nn.Linear)]
    try:
        net.train()
        method.start_epoch(net)
        steps = [(x.flip(0), y.flip(0)), (x, y)] if net.extra is not None else [(x, y)]
        for images, labels in steps:
            calls.clear()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # for modules that draw from the default generator
                method.loss(net, images.clone(), labels, plan, torch.Generator(x.device).manual_seed(seed))
    finally:
        for hook in hooks:
            hook.remove()
    return calls


@torch.no_grad()
def features(net: StagedNet, calls: list[Call], stage: int, x: Tensor) -> Tensor:
    """Return the maps of ``x`` behind ``stage``, or what enters the last layer: those of the step, or, where it made
    none, those of a pass of the same kind."""
    for call in calls:
        if call.start == 0 and call.stop == stage and same(call.given, x):
            return call.output
    maps: Tensor = copy.deepcopy(net).train()(x, stop=len(net.stages) if stage == POOLED else stage)
    return pooled_features(net, maps) if stage == POOLED else maps


@torch.no_grad()
def pooled_features(net: StagedNet, maps: Tensor) -> Tensor:
    """Return what enters the last layer where ``maps`` enter the head, N×D."""
    head = copy.deepcopy(net.head).train()
    entered: list[Tensor] = []
    last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    head(maps)
    return entered[-1]


def kinds(given: Tensor, own: Tensor, by_pixel: bool) -> Tensor:
    """Return whose each pixel (N×H×W) or channel (N×C) of ``given`` (N×C×H×W, or N×C) is, ``own`` being those
    of the images."""
    if given.shape[1:] != own.shape[1:]:  # of another size: nothing of it is an image's as it was
        return torch.full((len(given), *(given.shape[2:] if by_pixel else given.shape[1:2])), BLENDED)
    equal = given[:, None] == own[None]
    equal = equal.all(2) if by_pixel else equal.unsqueeze(3).flatten(3).all(3)
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
            where = "pooled" if m.stage == POOLED else f"stage {m.stage}"
            name = f"{where}\n{m.kinds.shape[1]} channels{plan}"
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
