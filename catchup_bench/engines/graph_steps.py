"""Training steps captured as CUDA graphs, one for each plan of a method."""

import math
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RunFailed
from .capture import MEMORY, TOLERANCE, Act, Backend, Snapshot, Step, warm_up


class Graphs:
    """Steps of one training, captured where that is possible.

    ``gen`` must be the same generator throughout, because graphs keep a reference to its state. ``fallen`` tells which
    plans run eagerly, and why; ``apart`` how far captured steps were from eager ones, relatively. Batches of another
    shape than the first run eagerly, too. What cannot be captured for another reason than its own doing or a lack of
    memory raises :class:`RunFailed`, unless graphs are ``optional``. ``name`` is the engine's.
    """

    def __init__(
        self,
        step: Step,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        gen: torch.Generator,
        precision: str,
        backend: Backend,
        name: str = "graphs",
        optional: bool = False,
    ) -> None:
        self.eager, self.net, self.optimizer, self.gen = step, net, optimizer, gen
        self.name, self.optional = name, optional
        self.tolerance, self.backend = TOLERANCE[precision], backend
        self.replays: dict[Hashable, Act] = {}
        self.seen: set[Hashable] = set()
        self.fallen: dict[Hashable, str] = {}
        self.apart: dict[Hashable, float] = {}
        # float32 is what CUDA's fused SGD reads; on a CPU nothing is lost on the way
        wide = torch.float32 if gen.device.type == "cuda" else torch.float64
        self.lr = torch.zeros((), dtype=wide, device=gen.device)
        self.x: Tensor | None = None
        self.y: Tensor | None = None

    def __call__(self, x: Tensor, y: Tensor, plan: Any, lr: float) -> Tensor:
        """Take one update; return the detached loss, still on the device, in a tensor that no later step overwrites."""
        self.lr.fill_(lr)
        try:
            return self.take(x, y, plan)
        finally:
            for group in self.optimizer.param_groups:  # what is saved holds a number, as in the eager loop
                group["lr"] = lr

    def facts(self) -> dict[str, Any]:
        """Return how the steps were run since the last start, and why which plans were not captured."""
        engine = "eager" if self.optional and not self.replays else self.name
        return {"engine": engine, "eager_plans": {str(plan): why for plan, why in self.fallen.items()}}

    def take(self, x: Tensor, y: Tensor, plan: Any) -> Tensor:
        if self.x is None or self.y is None:
            self.x, self.y = torch.empty_like(x), torch.empty_like(y)
        if x.shape != self.x.shape or x.dtype != self.x.dtype or plan in self.fallen or plan not in self.seen:
            if x.shape == self.x.shape:
                self.seen.add(plan)
            return self.eager(x, y, plan, self.gen, self.lr)
        self.x.copy_(x)
        self.y.copy_(y)
        if plan not in self.replays:
            self.add(self.x, self.y, plan)
        if plan in self.fallen:
            return self.eager(x, y, plan, self.gen, self.lr)
        return self.replays[plan]().clone()

    def add(self, x: Tensor, y: Tensor, plan: Any) -> None:
        """Capture the step of ``plan``, or find out why it cannot be; whichever, no result changes."""

        def act() -> Tensor:
            return self.eager(x, y, plan, self.gen, self.lr)

        before, failures = None, tuple[type[Exception], ...]()
        try:
            before = Snapshot(self.net, self.optimizer, self.gen)
            why = self.obstacle(before, act, plan)
        except torch.OutOfMemoryError:
            why = MEMORY
        except RunFailed as err:
            if not self.optional:
                raise
            why, failures = str(err), (RuntimeError,)
        self.optimizer.zero_grad()
        if before is not None:
            with suppress(*failures):  # a capture that failed can leave generators in a state that none can be given to
                before.restore()
        if why:
            self.fallen[plan] = why
            del before
            torch.cuda.empty_cache()

    def obstacle(self, before: Snapshot, act: Act, plan: Any) -> str:
        """Capture ``act`` as the step of ``plan``; why it is not used, or nothing."""
        if why := warm_up(self.backend, act):
            return why
        if moved := before.moved():
            return f"replaces {', '.join(moved[:3])} instead of writing into it"
        before.restore()
        self.optimizer.zero_grad()  # so that gradients are made in the pool, and by assignment
        replay = self.backend.capture(act, self.gen)
        self.optimizer.zero_grad()  # theirs is the pool's again: a replay makes its own
        again, replayed = self.distances(before, act, replay)
        self.apart[plan] = replayed
        if not again <= self.tolerance:
            return f"keeps state elsewhere than in the network: a repeated step is {again:.1%} off"
        if not replayed <= self.tolerance:
            return f"does something else when captured: {replayed:.1%} off"
        self.replays[plan] = replay
        return ""

    def distances(self, before: Snapshot, act: Act, replay: Act) -> tuple[float, float]:
        """Return how far two further eager steps, and two replays, end from two eager ones, relative to the way these
        go; infinite where an integer differs. Reads from the device, once for each plan."""
        ends = []
        for one in (act, act, replay):
            before.restore()
            loss = torch.stack([one().clone() for _ in range(2)])
            real, whole = before.changes()
            ends.append(([loss, *real], whole))
        before.restore()
        return off(ends[1], ends[0]), off(ends[2], ends[0])


def off(reached: tuple[list[Tensor], list[Tensor]], wanted: tuple[list[Tensor], list[Tensor]]) -> float:
    """Return the largest relative distance of ``reached`` from ``wanted``, each vectors and tensors that are to be
    equal."""
    if not all(torch.equal(a, b) for a, b in zip(reached[1], wanted[1], strict=True)):
        return math.inf
    far = [(a - b).norm() / b.norm().clamp_min(1e-30) for a, b in zip(reached[0], wanted[0], strict=True)]
    return float(torch.stack(far).amax())
