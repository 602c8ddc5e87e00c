"""Putting a module on the residual branches of a network, for regularizers that thin them out."""

from collections.abc import Callable

from torch import nn

from catchup_bench.method import Network


def set_drop(net: Network, last: float, make: Callable[[float, nn.Module], nn.Module]) -> None:
    """``make(p_l, block)`` on the branch of residual block l = 1, …, L, with p_l = l/L · ``last`` (linear decay)."""
    blocks = [m for m in net.modules() if isinstance(getattr(m, "drop", None), nn.Module)]
    if not blocks:
        raise ValueError("this method needs a network with residual blocks")
    for i, block in enumerate(blocks, start=1):
        block.drop = make(last * i / len(blocks), block)
