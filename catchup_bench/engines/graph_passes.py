"""Evaluation passes captured as CUDA graphs, one for each shape of batch."""

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RunFailed
from .capture import MEMORY, Act, Backend, Snapshot, warm_up


class Forward:
    """Passes of a network that is being evaluated, to be called in inference mode. A shape and layout of batch runs
    eagerly when it first comes, and is captured when it comes again.

    A replay has to give the logits of the eager pass to the last bit. If one does not, or if the network cannot be
    captured, all passes are eager from then on, and ``fallen`` tells why. ``optional`` is as for :class:`Graphs`.
    """

    def __init__(self, net: nn.Module, backend: Backend, optional: bool = False) -> None:
        self.net, self.backend, self.optional = net, backend, optional
        self.seen: set[Hashable] = set()
        self.replays: dict[Hashable, tuple[Tensor, Act]] = {}
        self.fallen = ""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits of the batch, still on the device, in a tensor that no later pass overwrites."""
        key = x.shape, x.stride(), x.dtype  # another layout may take other kernels, whose sums differ in the last bit
        if key in self.seen and key not in self.replays and not self.fallen:
            self.add(key, x)
        self.seen.add(key)
        if key not in self.replays:
            logits: Tensor = self.net(x)
            return logits
        own, replay = self.replays[key]
        own.copy_(x)
        return replay().clone()

    def facts(self) -> dict[str, Any]:
        """Return how passes are made, and why eagerly."""
        return {"engine": "graphs"} | ({"eager": self.fallen} if self.fallen else {})

    def release(self, why: str) -> None:
        """Free what the graphs hold, and continue eagerly."""
        self.fallen = why
        self.replays.clear()

    def add(self, key: Hashable, x: Tensor) -> None:
        """Capture the pass of batches like ``x``, or find out why it cannot be; reads from the device."""
        try:
            why = self.obstacle(key, x)
        except torch.OutOfMemoryError:
            why = MEMORY
        except RunFailed as err:
            if not self.optional:
                raise
            why = str(err)
        if why:
            self.release(why)
            torch.cuda.empty_cache()

    def obstacle(self, key: Hashable, x: Tensor) -> str:
        """Capture the pass of batches like ``x``; why it is not used, or nothing."""
        own = x.clone()

        def act() -> Tensor:
            logits: Tensor = self.net(own)
            return logits

        before = Snapshot(self.net)
        try:
            if why := warm_up(self.backend, act):
                return why
            if changed := before.moved() or before.written():
                return f"the network writes to {', '.join(changed[:3])} when it is evaluated"
            before.restore()
            replay = self.backend.capture(act, None)
            same = True
            for probe in (1 - x, x):  # also on images that the capture has not seen
                own.copy_(probe)
                same = torch.equal(replay(), self.net(probe)) and same
        finally:
            before.restore()  # also the numbers that a random network drew
        if not same:
            return "the network gives other logits when captured"
        self.replays[key] = own, replay
        return ""
