"""Check that training still has finite numbers, without waiting for the device in a step."""

import math

import torch
from torch import Tensor

from ..models import StagedNet

CHECK_EVERY = 25
"""Steps between two looks at the loss."""


class DivergenceCheck:
    """A check that the loss is finite, which does not wait for the device: each look reads what the one before
    requested."""

    def __init__(self) -> None:
        self.requested: Tensor | None = None
        self.copied: torch.cuda.Event | None = None

    def finite(self, total: Tensor) -> bool:
        if self.copied is not None:
            self.copied.synchronize()  # of LOOK steps ago: all that it bounds is how far the host runs ahead
        fine = self.requested is None or math.isfinite(self.requested.item())
        self.requested = total.to("cpu", non_blocking=True, copy=True)
        if total.is_cuda:
            self.copied = torch.cuda.Event()
            self.copied.record()
        return fine


def finite_weights(net: StagedNet) -> bool:
    """Return whether all weights are finite, with one read from the device: at the end of an epoch, so that no state is
    kept that training cannot resume from."""
    values = [v for k, v in net.state_dict().items() if not k.startswith("extra.") and v.is_floating_point()]
    return bool(torch.stack([v.isfinite().all() for v in values]).all())
