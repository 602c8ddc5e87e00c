"""How the fp32 passes of an evaluation are made on a GPU, chosen by measuring: what is fast there depends on the device
and on the network.

An outcome must not depend on the size of the batches, nor on which images share one. Libraries may take other kernels
for another shape, whose sums differ in the last bit, so a setting is eligible only if smaller batches have the same
logits. Where none is, all passes are of :data:`FIXED` images.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..system.hardware import searching_convolutions
from .graph_passes import Forward

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
FIXED = 64
"""Images of a pass where every pass has the same shape; the last ones are filled up and the filling is dropped."""
GAIN = 1.05
"""How much faster a setting must be than the plain one: a noisy measurement is to choose the plain one."""

Seconds = Callable[[Callable[[], object]], float]
"""Measure the seconds of a call."""


@dataclass(frozen=True)
class PassSetting:
    """How passes are made; the defaults are what a CPU does. ``search`` is cuDNN's search for its fastest convolutions,
    ``fixed`` whether all passes are of :data:`FIXED` images."""

    layout: Literal["channels_last", "contiguous"] = "channels_last"
    search: bool = False
    fixed: bool = False

    def facts(self) -> dict[str, Any]:
        """Return what an outcome's provenance says of it."""
        return {"layout": self.layout, "cudnn_benchmark": self.search, **({"pass_of": FIXED} if self.fixed else {})}


PLAIN = PassSetting()


@contextmanager
def applied(net: nn.Module, setting: PassSetting) -> Iterator[None]:
    """Have ``net`` make its passes as ``setting`` says, attacks and parts of passes included."""
    memory = LAYOUTS[setting.layout]
    own = vars(net).get("forward", partial(type(net).forward, net))

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if x.ndim == 4:
            x = x.contiguous(memory_format=memory)
        if not setting.fixed or not len(x):
            whole: Tensor = own(x, *args, **kwargs)
            return whole
        return torch.cat([own(filled(part, memory), *args, **kwargs)[: len(part)] for part in x.split(FIXED)])

    before = vars(net).get("forward")
    net.to(memory_format=memory)
    vars(net)["forward"] = forward
    try:
        with searching_convolutions(setting.search):
            yield
    finally:
        del vars(net)["forward"]
        if before is not None:
            vars(net)["forward"] = before
        net.to(memory_format=torch.channels_last)


def filled(x: Tensor, memory: torch.memory_format) -> Tensor:
    """Return the batch with its last image repeated up to :data:`FIXED`."""
    if len(x) == FIXED:
        return x
    whole = torch.cat([x, x[-1:].expand(FIXED - len(x), *x.shape[1:])])
    return whole.contiguous(memory_format=memory) if x.ndim == 4 else whole


def choose_passes(net: nn.Module, x: Tensor, seconds: Seconds) -> PassSetting:
    """Return the fastest setting whose outcomes do not depend on the batch, for batches like ``x``; the plain one
    unless another is at least :data:`GAIN` times as fast. ``net`` is in eval mode.

    cuDNN's search is eligible where it finds kernels that make the logits of those taken without it: others would be
    another outcome whenever it finds others.
    """
    rates: dict[PassSetting, float] = {}
    for layout, search in product(LAYOUTS, (False, True)):
        setting = PassSetting(layout, search)  # type: ignore[arg-type]
        logits = reference = logits_of(net, x, replace(setting, search=False))
        if search:
            logits = logits_of(net, x, setting)
        if torch.equal(logits, reference) and same_in_smaller_batches(net, x, logits, setting):
            rates[setting] = 1 / measured(net, x, setting, seconds)
    if not rates:
        some = x if len(x) % FIXED == 0 or len(x) < FIXED else x[: len(x) - len(x) % FIXED]
        for layout in LAYOUTS:
            setting = PassSetting(layout, fixed=True)  # type: ignore[arg-type]
            rates[setting] = 1 / measured(net, some, setting, seconds)
    plain = next((s for s in (PLAIN, replace(PLAIN, fixed=True)) if s in rates), None)
    best = max(rates, key=lambda s: rates[s])
    return best if plain is None or rates[best] >= GAIN * rates[plain] else plain


@torch.inference_mode()
def logits_of(net: nn.Module, x: Tensor, setting: PassSetting) -> Tensor:
    with applied(net, setting):
        logits: Tensor = net(x)
    return logits


@torch.inference_mode()
def same_in_smaller_batches(net: nn.Module, x: Tensor, logits: Tensor, setting: PassSetting) -> bool:
    """Return whether the first and the last images have their ``logits`` to the last bit in batches of their own."""
    sizes = {n for n in (len(x) // 2, len(x) // 4, len(x) // 8 + 1, 1) if 0 < n < len(x)}
    with applied(net, setting):
        return all(
            torch.equal(net(x[part]), logits[part]) for n in sizes for part in (slice(0, n), slice(len(x) - n, None))
        )


def measured(net: nn.Module, x: Tensor, setting: PassSetting, seconds: Seconds) -> float:
    with applied(net, setting), torch.inference_mode():
        return max(seconds(partial(net, x)), 1e-12)


def seconds_on(device: torch.device, act: Callable[[], object], rounds: int = 5) -> float:
    """Measure the seconds of one call on a CUDA device: the median of ``rounds``, after two that are not counted."""
    times = []
    for _ in range(rounds + 2):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        act()
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times[2:])[rounds // 2]


def worth_capturing(forward: Forward, x: Tensor, seconds: Seconds) -> bool:
    """Return whether captured passes are at least as fast as eager ones, for batches like ``x``."""
    with torch.inference_mode():
        eager = seconds(partial(forward.eager, x))
        captured = seconds(partial(forward, x))
    return bool(forward.fallen) or captured <= eager


CHOSEN: dict[Any, PassSetting] = {}
"""What was chosen in this process, by device, network and batch: a board evaluates many networks of one kind."""


def setting_for(net: nn.Module, x: Tensor, seconds: Seconds | None = None) -> PassSetting:
    """Return the setting for passes of ``net`` on batches like ``x``: measured once on a CUDA device, and the plain one
    on a CPU. A batch that the memory does not hold is halved."""
    if x.device.type != "cuda" and seconds is None:
        return PLAIN
    shapes = tuple((name, tuple(p.shape)) for name, p in net.named_parameters())
    key = str(x.device), type(net), hash(shapes), tuple(x.shape)
    while key not in CHOSEN:
        try:
            CHOSEN[key] = choose_passes(net, x, seconds or partial(seconds_on, x.device))
        except torch.OutOfMemoryError:
            if len(x) == 1:
                raise
            x = x[: len(x) // 2]
    return CHOSEN[key]
