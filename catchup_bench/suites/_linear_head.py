"""The last layer of a network, where it is linear, the vector that enters it and the maps behind that."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError


@torch.inference_mode()
def linear_head(net: nn.Module, x: Tensor) -> nn.Linear:
    """Return the linear layer whose outputs are the logits, found on the batch ``x``, of any network.

    Raises :class:`UsageError` when there is none, as behind a 1×1 convolution or where logits are scaled afterwards.
    """
    calls: list[tuple[nn.Linear, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, _: calls.append((layer, inputs[0][: len(x)])))
        for layer in net.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        logits = net(x)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, features in reversed(calls):
        if features.ndim == 2 and (len(features), layer.out_features) == tuple(logits.shape):
            again = F.linear(features, layer.weight, layer.bias)
            if torch.allclose(again, logits, rtol=1e-4, atol=1e-5 * float(logits.abs().amax())):
                return layer
    last = f"the outputs of its last one are not its logits ({len(calls)} linear layers)" if calls else "it has none"
    raise UsageError(f"the network does not end in a linear layer on one vector per image: {last}; use another network")


@torch.inference_mode()
def pooled_maps(net: nn.Module, head: nn.Linear, x: Tensor) -> nn.Module:
    """Return the module whose output, B×D×h×w, is averaged over its places into what enters ``head``.

    Raises :class:`UsageError` when there is none, as where hidden linear layers follow the maps.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] == head.in_features:
            outputs.append((module, output[: len(x)]))

    hooks = [module.register_forward_hook(note) for module in net.modules()]
    try:
        features, _ = features_and_logits(net, head, x)
    finally:
        for hook in hooks:
            hook.remove()
    close = 1e-5 * float(features.abs().amax())
    averaged = [(m, o) for m, o in outputs if torch.allclose(o.mean((2, 3)), features, rtol=1e-4, atol=close)]
    # what comes after the pooling has one place; of equals the last, behind every in-place change
    largest = max((o.shape[2] * o.shape[3] for _, o in averaged), default=0)
    if largest < 2:
        raise UsageError("the network does not average its last maps before the linear layer: use a ResNet-like one")
    return [m for m, o in averaged if o.shape[2] * o.shape[3] == largest][-1]


def output_and_logits(net: nn.Module, module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what ``module`` gives and the logits (B×K) of a batch, from one pass."""
    given: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, inputs, output: given.append(output))
    try:
        logits: Tensor = net(x)
    finally:
        hook.remove()
    return of_batch(given, len(x)), logits


def features_and_logits(net: nn.Module, head: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what enters ``head`` (B×D) and the logits (B×K) of a batch, from one pass."""
    entered: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    try:
        logits: Tensor = net(x)
    finally:
        hook.remove()
    return of_batch(entered, len(x)), logits


def of_batch(given: list[Tensor], n: int) -> Tensor:
    """Return what a layer was given, or gave, last in the pass of a batch of ``n`` images, which may have been made in
    parts of one size, filled up (see :mod:`catchup_bench.engines.pass_settings`)."""
    parts = -(-n // len(given[-1]))
    each = len(given) // parts
    return torch.cat(given[each - 1 :: each])[:n]
