"""The end of a network taken apart, for methods that need the map that is pooled and not only the logits."""

import torch
from torch import Tensor, nn

from catchup_bench.method import Network


def classifier(net: Network) -> nn.Linear:
    """The linear layer behind global average pooling; ``ValueError`` for a network that does not end so."""
    linear = getattr(net.head, "linear", None)
    if not isinstance(linear, nn.Linear):
        raise ValueError("this method needs a network that ends in global average pooling and one linear layer")
    return linear


def pooled_map(net: Network, x: Tensor) -> Tensor:
    """The last feature map (B×C×h×w) as the head pools it, behind what the head has before pooling."""
    h = net(x, stop=len(net.stages))
    norm = getattr(net.head, "norm", None)
    out = h if norm is None else norm(h)
    assert isinstance(out, torch.Tensor)
    return out


def classify(net: Network, h: Tensor) -> Tensor:
    """Logits (B×K) of a map from :func:`pooled_map`."""
    dropout = getattr(net.head, "dropout", None)
    pooled = h.mean((2, 3))
    logits = classifier(net)(pooled if dropout is None else dropout(pooled))
    assert isinstance(logits, torch.Tensor)
    return logits
