"""How many CPU threads a run computes with.

The number follows from the network and the image size alone, never from the machine: sums are split among threads, so
another number gives other bits. One thread is fastest for small networks, whose layers take less time than waking a
second thread; and a board runs as many of them side by side as there are cores.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SMALL = 200_000_000
"""Floating-point operations of one image's forward pass (two for a multiplication and an addition) up to which a
network computes on one thread: PreActResNet-18 of width 16 at 32 px has 70 million, of width 32 280 million."""
MANY = 4
"""Threads of all larger networks."""


def forward_flops(net: nn.Module, size: int) -> int:
    """Count the floating-point operations of a forward pass of one image of 3×``size``×``size`` pixels."""
    was = [(module, module.training) for module in net.modules()]
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    net.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, size, size, device=device))
    finally:
        for module, mode in was:
            module.training = mode
    return int(counter.get_total_flops())


def choose_threads(wanted: int | None, net: nn.Module, size: int, device: torch.device) -> int:
    """Return ``wanted``, or the number of threads for ``net`` on images of ``size`` pixels; on a GPU, whose results do
    not depend on it, what torch has."""
    if wanted is not None:
        return wanted
    if device.type != "cpu":
        return torch.get_num_threads()
    return 1 if forward_flops(net, size) <= SMALL else MANY


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with ``threads`` threads within, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
