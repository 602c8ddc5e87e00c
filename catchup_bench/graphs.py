"""Training steps captured as CUDA graphs, one for each plan of a method, and the passes of an evaluation, one for each
shape of batch.

A step of a small network is hundreds of short kernels, and the host takes longer to launch them than the device to run
them; a captured step is launched at once. What is captured is the eager step itself, so nothing here knows what it
computes. A plan runs eagerly at its first step, which allocates what it needs (momentum, a history), and is captured
at its second; before it is used, the captured step has to do what the eager one does.
Autocast's cache of weights stays on: it is filled and emptied within a step, so both make the same sums.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import math
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from .errors import RunFailed

WARM_UP = 3
"""Steps before a capture: libraries choose their algorithms and allocate in the first ones."""
TOLERANCE = {"bf16": 0.03, "tf32": 0.01, "fp32": 0.003}
"""Relative distance up to which two steps are the same: kernels may add in another order each time they run."""

MEMORY = "the device's memory does not hold the graphs"

Act = Callable[[], Tensor]
"""Take one step, or make one pass; the loss, or the logits."""


class Step(Protocol):
    """One update on a batch, given the plan, the generator and the learning rate; the detached loss."""

    def __call__(self, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator, lr: float | Tensor) -> Tensor: ...


class Backend(Protocol):
    """What captures: CUDA, or a stand-in for it."""

    def warm_up(self, act: Act) -> None:
        """Run ``act`` as often as a capture needs it. Raises :class:`RuntimeError` when it cannot be captured."""

    def capture(self, act: Act, gen: torch.Generator | None) -> Act:
        """``act``, which draws from ``gen`` if it draws, as something that can be replayed; it need not have run.

        Raises :class:`torch.OutOfMemoryError`, and :class:`RunFailed` for what else is in the way.
        """


class CudaGraphs:
    """Captures with ``torch.cuda.graph``. All graphs share one pool of memory: one runs at a time, and none reads what
    another one left there."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, act: Act) -> None:
        """On the stream of the capture, for which libraries then have their handles and workspaces; the last step
        refuses to wait for the device, as an error inside a capture can leave generators unusable."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        try:
            with torch.cuda.stream(self.stream):
                for _ in range(WARM_UP - 1):
                    act()
                with no_waiting():
                    act()
        finally:
            current.wait_stream(self.stream)

    def capture(self, act: Act, gen: torch.Generator | None) -> Act:
        graph = torch.cuda.CUDAGraph()
        if gen is not None and TorchVersion(torch.__version__) < "2.14":  # later ones find it, and warn of this
            graph.register_generator_state(gen)
        try:
            # thread_local: the thread of a data loader that pins memory may go on
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                out = act()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as err:
            raise RunFailed(f"this cannot be captured as a CUDA graph ({reason(err)}): use --engine eager") from err

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay


def warm_up(backend: Backend, act: Act) -> str:
    """Prepare a capture of ``act``; why there can be none, or nothing."""
    try:
        backend.warm_up(act)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as err:
        return reason(err)
    return ""


def reason(err: Exception) -> str:
    """What torch says of it, in one line."""
    return " ".join(str(err).split())[:200]


@contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever makes the host wait for the device raises :class:`RuntimeError`, as far as torch can tell."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is a prototype, torch says
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class Snapshot:
    """All that a step changes: tensors of the network (``extra`` included) and of the optimiser, and generators. A pass
    has neither an optimiser nor a generator of its own."""

    def __init__(
        self, net: nn.Module, optimizer: torch.optim.Optimizer | None = None, gen: torch.Generator | None = None
    ) -> None:
        self.net, self.optimizer, self.gen = net, optimizer, gen
        self.slots: list[tuple[str, dict[str, Any], str, Tensor, Tensor]]
        self.slots = [(name, home, key, home[key], home[key].detach().clone()) for name, home, key in self.find()]
        self.places: list[int] = [slot[3].data_ptr() for slot in self.slots]
        self.device = next(net.parameters()).device
        self.states = None if gen is None else gen.get_state(), torch.get_rng_state(), self.default_state()

    def find(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Name, the dictionary that holds it and its key there, of every tensor."""
        homes: list[tuple[str, dict[str, Any]]] = [
            (name, home)
            for name, module in self.net.named_modules()
            for home in (module._parameters, module._buffers, vars(module))
        ]
        if self.optimizer is not None:
            homes += [("optimizer", state) for state in self.optimizer.state.values()]
        for name, home in homes:
            yield from ((f"{name}.{key}", home, key) for key, held in home.items() if isinstance(held, Tensor))

    def default_state(self) -> Tensor | None:
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None

    def moved(self) -> list[str]:
        """The tensors that are no longer the same place in memory; a captured step would go on with the old one."""
        now = {(id(home), key): home[key] for _, home, key in self.find()}
        kept = {(id(home), key) for _, home, key, _, _ in self.slots}
        names = [
            name
            for (name, home, key, held, _), place in zip(self.slots, self.places, strict=True)
            if now.get((id(home), key)) is not held or held.data_ptr() != place
        ]
        return names + [name for name, home, key in self.find() if (id(home), key) not in kept]

    def written(self) -> list[str]:
        """The tensors that hold other values now. Reads from the device."""
        return [name for name, _, _, held, value in self.slots if not torch.equal(held, value)]

    @torch.no_grad()
    def restore(self) -> None:
        """Everything as it was, in the same tensors."""
        kept = {(id(home), key) for _, home, key, _, _ in self.slots}
        for home, key in [(home, key) for _, home, key in self.find() if (id(home), key) not in kept]:
            del home[key]
        for _, home, key, held, value in self.slots:
            home[key] = held
            held.copy_(value)
        if self.gen is not None and self.states[0] is not None:
            self.gen.set_state(self.states[0])
        torch.set_rng_state(self.states[1])
        if self.states[2] is not None:
            torch.cuda.set_rng_state(self.states[2], self.device)

    @torch.no_grad()
    def changes(self) -> tuple[list[Tensor], list[Tensor]]:
        """How far the real numbers have moved since, as one vector each for parameters, momenta and all others; the
        tensors of integers and truth values."""
        real: list[list[Tensor]] = [[torch.zeros(1, device=self.device)] for _ in range(3)]
        for name, _, _, held, value in self.slots:
            if held.is_floating_point():
                kind = 0 if isinstance(held, nn.Parameter) else 1 if name.startswith("optimizer.") else 2
                real[kind].append((held - value).flatten().float().to(self.device))
        whole = [held.clone() for _, _, _, held, _ in self.slots if not held.is_floating_point()]
        return [torch.cat(parts) for parts in real], whole


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
        """One update; the detached loss, still on the device and the caller's own."""
        self.lr.fill_(lr)
        try:
            return self.take(x, y, plan)
        finally:
            for group in self.optimizer.param_groups:  # what is saved holds a number, as in the eager loop
                group["lr"] = lr

    def facts(self) -> dict[str, Any]:
        """How the steps were run since the last start, and why which plans were not captured."""
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
        """How far two further eager steps, and two replays, end from two eager ones, relative to the way these go;
        infinite where an integer differs. Reads from the device, once for each plan."""
        found = []
        for one in (act, act, replay):
            before.restore()
            loss = torch.stack([one().clone() for _ in range(2)])
            real, whole = before.changes()
            found.append(([loss, *real], whole))
        before.restore()
        return off(found[1], found[0]), off(found[2], found[0])


def off(found: tuple[list[Tensor], list[Tensor]], wanted: tuple[list[Tensor], list[Tensor]]) -> float:
    """The largest relative distance of ``found`` from ``wanted``, each vectors and tensors that are to be equal."""
    if not all(torch.equal(a, b) for a, b in zip(found[1], wanted[1], strict=True)):
        return math.inf
    far = [(a - b).norm() / b.norm().clamp_min(1e-30) for a, b in zip(found[0], wanted[0], strict=True)]
    return float(torch.stack(far).amax())


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
        """Logits of the batch, still on the device and the caller's own."""
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
        """How passes are made, and why eagerly."""
        return {"engine": "graphs"} | ({"eager": self.fallen} if self.fallen else {})

    def release(self, why: str) -> None:
        """Free what the graphs hold, and go on eagerly."""
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
