"""Work that each layer does for itself in a training step, done for all layers at once: casting weights to bf16, and
counting BatchNorm's batches.

On a GPU each of these is a kernel that takes longer to launch than to run: for PreActResNet-18 they are a third of the
launches of a step. The values are those of the layers' own work, to the bit. Gradients of several passes are added
in bf16, as those of a cast that autocast keeps; a step that empties autocast's cache between two passes with gradients
would add them in fp32.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Cast(torch.autograd.Function):
    """Tensors rounded to bf16; their gradients in fp32."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(converted(weights, torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the gradient itself is to be differentiated
            return tuple(None if g is None else g.float() for g in grads)
        wide = iter(converted([g for g in grads if g is not None], torch.float32))
        return tuple(None if g is None else next(wide) for g in grads)


def converted(tensors: Any, dtype: torch.dtype) -> list[Tensor]:
    """Return the tensors in another type, each in its memory format."""
    out = [torch.empty_like(t, dtype=dtype) for t in tensors]
    if out:
        torch._foreach_copy_(out, list(tensors))
    return out


class Grouped:
    """The layers of a network whose casts and counters are grouped. Calling it gives the context of a step's loss.

    Weights are cast when the first layer needs one in bf16. A layer whose weight was since changed or replaced casts it
    itself, as one outside autocast keeps it in fp32. Layers with a ``forward`` of their own are left alone, and so are
    counters that BatchNorm's momentum depends on.
    """

    def __init__(self, net: nn.Module, precision: str) -> None:
        plain = [m for m in net.modules() if "forward" not in vars(m)]
        self.layers = [m for m in plain if isinstance(m, nn.Conv2d | nn.Linear)] if precision == "bf16" else []
        self.norms = [
            m
            for m in plain
            if isinstance(m, _BatchNorm) and m.num_batches_tracked is not None and m.momentum is not None
        ]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Group what the passes within do."""
        casts, passes = Casts(self.layers), [0] * len(self.norms)
        counters = [norm._buffers["num_batches_tracked"] for norm in self.norms]
        own: list[tuple[nn.Module, Callable[[Tensor], Tensor]]]
        own = [(layer, partial(casts.forward, layer)) for layer in self.layers]
        own += [(norm, partial(counted, norm, passes, i)) for i, norm in enumerate(self.norms)]
        try:
            for module, forward in own:
                vars(module)["forward"] = forward
            for norm in self.norms:
                norm._buffers["num_batches_tracked"] = None
            yield
        finally:
            for module, _ in own:
                del vars(module)["forward"]
            for norm, counter in zip(self.norms, counters, strict=True):
                norm._buffers["num_batches_tracked"] = counter
            advance([(c, n) for c, n in zip(counters, passes, strict=True) if c is not None and n])


class Casts:
    """The weights of ``layers`` in bf16, within one step."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = layers
        self.made: dict[tuple[int, str], tuple[nn.Parameter, int, Tensor]] | None = None

    def forward(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Return the output of ``layer``, with its weights cast already where they would be cast."""
        kind, mine = type(layer), vars(layer)
        if not torch.is_autocast_enabled(x.device.type):
            plain: Tensor = kind.forward(layer, x)
            return plain
        if self.made is None:
            self.made = self.make()
        given = {name: self.made.get((id(layer), name)) for name in layer._parameters}
        fresh = {
            name: one[2]
            for name, one in given.items()
            if one is not None and one[0] is layer._parameters[name] and one[0]._version == one[1]
        }
        try:
            mine |= fresh  # an attribute of its own comes before a parameter
            out: Tensor = kind.forward(layer, x)
            return out
        finally:
            for name in fresh:
                del mine[name]

    def make(self) -> dict[tuple[int, str], tuple[nn.Parameter, int, Tensor]]:
        """Cast all weights that are trained."""
        weights = [
            (layer, name, p)
            for layer in self.layers
            for name, p in layer._parameters.items()
            if p is not None and p.requires_grad and p.is_leaf and p.dtype == torch.float32
        ]
        if not weights:
            return {}
        with torch.enable_grad():  # the first pass of a step may be one without gradients
            cast = Cast.apply(*(p for _, _, p in weights))
        return {(id(m), name): (p, p._version, c) for (m, name, p), c in zip(weights, cast, strict=True)}


def counted(norm: nn.Module, passes: list[int], i: int, x: Tensor) -> Tensor:
    """Return the output of ``norm``, counting the passes that move its statistics."""
    passes[i] += bool(norm.training and norm.track_running_stats)
    out: Tensor = type(norm).forward(norm, x)
    return out


@torch.no_grad()
def advance(counters: list[tuple[Tensor, int]]) -> None:
    """Add to each counter its number of passes."""
    if not counters:
        return
    tensors, passes = [c for c, _ in counters], [n for _, n in counters]
    if len(set(passes)) == 1:
        torch._foreach_add_(tensors, passes[0])
    else:
        torch._foreach_add_(tensors, passes)
