"""The last layer of a network, where it is linear, and the vector that enters it."""

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
        layer.register_forward_hook(lambda layer, inputs, _: calls.append((layer, inputs[0])))
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


def features_and_logits(net: nn.Module, head: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what enters ``head`` (B×D) and the logits (B×K) of a batch, from one pass."""
    entered: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    try:
        logits: Tensor = net(x)
    finally:
        hook.remove()
    return entered[-1], logits
