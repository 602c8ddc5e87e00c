"""One run trained by several processes, each on its own device with its share of every batch.

``torchrun --nproc-per-node 2 -m catchup_bench train …`` (or ``accelerate launch``, which starts processes the same way)
trains the recipe's batches: they are split, gradients and losses are averaged with the weights of the shares, and so
the baseline's gradient is that of one process but for BatchNorm, whose statistics are those of each process's share, as
is usual. A mixed image's partner is of the same share, the layer that is mixed is the same for all. It is another
protocol than one process, and ``training.json`` says so; the run is called the same.

Methods call the network in parts (``net(x, stop=k)``), which PyTorch's wrapper for several processes does not see; so
gradients are summed after the backward pass, in one buffer.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import RunFailed, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The processes of a run, and which of them this is. The first one, ``main``, writes all files."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    @property
    def seed_key(self) -> tuple[int, ...]:
        """Return what to derive a seed from that differs between processes; nothing for the first."""
        return (self.rank,) if self.rank else ()

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the record says of it."""
        return {"processes": self.size, "batchnorm": "per process"} if self.size > 1 else {}

    def broadcast(self, value: T) -> T:
        """Return what ``value`` is in the first process."""
        if self.size == 1:
            return value
        from accelerate.utils import broadcast_object_list

        values = [value]
        with peer_errors():
            broadcast_object_list(values)
        return values[0]

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` over the processes, in place."""
        if self.size > 1:
            with peer_errors():
                torch.distributed.all_reduce(values)
        return values

    def average(self, net: nn.Module, loss: Tensor, n: int) -> Tensor:
        """Return the loss of the whole batch, after making the network's gradients those of the whole batch. ``loss``
        and the gradients are means over the ``n`` images of this process's share."""
        if self.size == 1:
            return loss
        grads = [p.grad for p in net.parameters() if p.grad is not None]
        flat = torch.cat([*(g.flatten() for g in grads), loss.reshape(1), loss.new_ones(1)])
        flat = self.sum(flat * n)
        flat = flat / flat[-1]
        for grad, part in zip(grads, flat[:-2].split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view(grad.shape))
        return flat[-2]

    @torch.no_grad()
    def average_statistics(self, net: nn.Module) -> None:
        """Replace BatchNorm's running means and variances by their means over the processes."""
        if self.size == 1:
            return
        learned = dict(net.named_parameters())
        statistics = [v for k, v in net.state_dict().items() if k not in learned and v.is_floating_point()]
        flat = self.sum(torch.cat([v.flatten() for v in statistics])) / self.size
        for value, part in zip(statistics, flat.split([v.numel() for v in statistics]), strict=True):
            value.copy_(part.view(value.shape))


ALONE = Group()


@contextmanager
def peer_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as err:
        raise RunFailed(f"another process of this run has ended: {str(err).splitlines()[0]}") from None


@contextmanager
def join_group(device: torch.device) -> Iterator[Group]:
    """Join the group of the processes that torchrun or accelerate has started, each with its own device; yield
    :data:`ALONE` for a single process. Raises :class:`UsageError` without accelerate."""
    size = os.environ.get("WORLD_SIZE", "1")
    if not size.isdecimal() or int(size) < 2:
        yield ALONE
        return
    if find_spec("accelerate") is None:
        raise UsageError("several processes need accelerate: pip install 'catchup-bench[distributed]'")
    # Imported later, as an optimizer does, its functions would keep the group as a default argument: its threads would
    # then outlive destroy_process_group and could abort the interpreter's exit.
    import torch.distributed.nn.functional  # noqa: F401
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu")  # also makes "cuda" mean this process's own device
    try:
        yield Group(state.process_index, state.num_processes)
    finally:
        state.destroy_process_group()
