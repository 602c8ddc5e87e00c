"""Evaluation passes captured as CUDA graphs, one for each shape of batch."""

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RunFailed
from ..system.hardware import autocast
from .capture import MEMORY, Act, Backend, Snapshot, warm_up


class Forward:
    """Passes of a network that is being evaluated, to be called in inference mode. A shape and layout of batch runs
    eagerly when it first comes, and is captured when it comes again.

    A replay has to give the logits of the eager pass to the last bit. If one does not, or if the network cannot be
    captured, all passes are eager from then on, and ``fallen`` tells why. ``optional`` is as for :class:`Graphs`. The
    weights may be trained in between, in place. Without a ``backend`` all passes are eager.
    """

    def __init__(
        self, net: nn.Module, backend: Backend | None, optional: bool = False, precision: str = "fp32"
    ) -> None:
        self.net, self.backend, self.optional, self.precision = net, backend, optional, precision
        self.seen: set[Hashable] = set()
        self.replays: dict[Hashable, tuple[Tensor, Act]] = {}
        self.fallen = ""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits of the batch, still on the device, in a tensor that no later pass overwrites."""
        key = x.shape, x.stride(), x.dtype  # another layout may take other kernels, whose sums differ in the last bit
        if self.backend is not None and key in self.seen and key not in self.replays and not self.fallen:
            self.add(key, x, self.backend)
        self.seen.add(key)
        if key not in self.replays:
            return self.eager(x)
        own, replay = self.replays[key]
        own.copy_(x)
        return replay().clone()

    def eager(self, x: Tensor) -> Tensor:
        """Make a pass as it is captured: what autocast keeps of the weights is made and forgotten within."""
        with autocast(self.precision, x.device):
            logits: Tensor = self.net(x)
        return logits

    def facts(self) -> dict[str, Any]:
        """Return how passes are made, and why eagerly."""
        return {"engine": "graphs"} | ({"eager": self.fallen} if self.fallen else {})

    def release(self, why: str) -> None:
        """Free what the graphs hold, and continue eagerly."""
        self.fallen = why
        self.replays.clear()

    def add(self, key: Hashable, x: Tensor, backend: Backend) -> None:
        """Capture the pass of batches like ``x``, or find out why it cannot be; reads from the device."""
        try:
            why = self.obstacle(key, x, backend)
        except torch.OutOfMemoryError:
            why = MEMORY
        except RunFailed as err:
            if not self.optional:
                raise
            why = str(err)
        if why:
            self.release(why)
            torch.cuda.empty_cache()

    def obstacle(self, key: Hashable, x: Tensor, backend: Backend) -> str:
        """Capture the pass of batches like ``x``; why it is not used, or nothing."""
        own = x.clone()

        def act() -> Tensor:
            return self.eager(own)

        before = Snapshot(self.net)
        try:
            if why := warm_up(backend, act):
                return why
            if changed := before.moved() or before.written():
                return f"the network writes to {', '.join(changed[:3])} when it is evaluated"
            before.restore()
            replay = backend.capture(act, None)
            same = True
            for probe in (1 - x, x):  # also on images that the capture has not seen
                own.copy_(probe)
                same = torch.equal(replay(), self.eager(probe)) and same
        finally:
            before.restore()  # also the numbers that a random network drew
        if not same:
            return "the network gives other logits when captured"
        self.replays[key] = own, replay
        return ""
