"""What makes a host wait for its device, seen without one."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
"""Stands for a device: it has shapes and no values, so that a value that is read, in most ways, is an error."""


class Waits(TorchFunctionMode):
    """Inside, ``count`` grows with every copy between the host and :data:`DEVICE` for which the host would wait: all to
    the host (they give zeros), and those to the device out of memory that is not pinned."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.pin_memory:
            pinned = args[0].clone()
            pinned.is_pinned_here = True
            return pinned
        if func is Tensor.cpu and args[0].is_meta:
            self.count += 1
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and out.is_meta:
            given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            sent = [tensor for tensor in given if not tensor.is_meta and tensor.dim()]
            free = kwargs.get("non_blocking") and all(hasattr(tensor, "is_pinned_here") for tensor in sent)
            self.count += bool(sent and not free) or (func is torch.tensor and not given)
        return out
