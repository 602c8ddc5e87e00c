"""Training steps captured as CUDA graphs, one for each plan of a method, and the passes of an evaluation, one for each
shape of batch.

A step of a small network is hundreds of short kernels, and the host takes longer to launch them than the device to run
them; a captured step is launched at once. What is captured is the eager step itself, so nothing here knows what it
computes. A plan runs eagerly at its first step, which allocates what it needs (momentum, a history), and is captured
at its second; before it is used, the captured step has to do what the eager one does.
Autocast's cache of weights stays on: it is filled and emptied within a step, so both make the same sums.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from ..errors import RunFailed

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
        """Capture ``act``, which draws from ``gen`` if it draws, as something that can be replayed; it need not have
        run.

        Raises :class:`torch.OutOfMemoryError`, and :class:`RunFailed` for what else is in the way.
        """


MakeBackend = Callable[[torch.device], Backend]


class CudaGraphs:
    """Captures with ``torch.cuda.graph``. All graphs share one pool of memory: one runs at a time, and none reads what
    another one left there."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, act: Act) -> None:
        """Run steps on the stream of the capture, for which libraries then have their handles and workspaces; the last
        step refuses to wait for the device, as an error inside a capture can leave generators unusable."""
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
    """Return what torch says of an error, in one line."""
    return " ".join(str(err).split())[:200]


@contextmanager
def no_waiting() -> Iterator[None]:
    """Raise :class:`RuntimeError` for whatever makes the host wait for the device within, as far as torch can detect
    it."""
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
        """Return the tensors that are no longer at the same address; a captured step would use the old one."""
        now = {(id(home), key): home[key] for _, home, key in self.find()}
        kept = {(id(home), key) for _, home, key, _, _ in self.slots}
        names = [
            name
            for (name, home, key, held, _), place in zip(self.slots, self.places, strict=True)
            if now.get((id(home), key)) is not held or held.data_ptr() != place
        ]
        return names + [name for name, home, key in self.find() if (id(home), key) not in kept]

    def written(self) -> list[str]:
        """Return the tensors that hold other values now. Reads from the device."""
        return [name for name, _, _, held, value in self.slots if not torch.equal(held, value)]

    @torch.no_grad()
    def restore(self) -> None:
        """Restore everything as it was, in the same tensors."""
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
        """Return how far the real numbers have moved since, as one vector each for parameters, momenta and all others;
        the tensors of integers and truth values."""
        real: list[list[Tensor]] = [[torch.zeros(1, device=self.device)] for _ in range(3)]
        for name, _, _, held, value in self.slots:
            if held.is_floating_point():
                kind = 0 if isinstance(held, nn.Parameter) else 1 if name.startswith("optimizer.") else 2
                real[kind].append((held - value).flatten().float().to(self.device))
        whole = [held.clone() for _, _, _, held, _ in self.slots if not held.is_floating_point()]
        return [torch.cat(parts) for parts in real], whole
