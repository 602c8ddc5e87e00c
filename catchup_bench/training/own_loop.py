"""A method in a training loop of one's own, with a network of one's own."""

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..method import Method
from ..models.staging import ExternalNet, find_stages
from ..runs.build import bind
from ..seeds import derive


class LoopMethod:
    """A method for a training loop of one's own: ``loss`` is all that a loop needs.

    It is used with one network, whose modules and parameters stay as they are. Its randomness comes from ``seed``
    alone. :attr:`catchup_bench.method.Method.level` says whether it mixes features.
    """

    def __init__(self, name: str, made: Method, seed: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.name, self.method = name, made
        self._seed, self._mean, self._std = seed, mean, std
        self._rng = np.random.default_rng(derive(seed, "plan"))
        self._net: nn.Module | None = None
        self._stages: ExternalNet | None = None
        self._gen: torch.Generator | None = None

    def bind(self, net: nn.Module, size: int = 32) -> Self:
        """Find the stages of ``net``, for images of ``size`` pixels, and prepare the method for it; the first ``loss``
        does it otherwise. Call it where :meth:`parameters` are needed before. Raises
        :class:`~catchup_bench.errors.UsageError` when the method cannot be used with this network, or is with another.
        """
        if self._net is not None and self._net is not net:
            raise UsageError("this method is used with another network already: make one for each network")
        if self._net is None:
            stages = find_stages(net, size, self._mean, self._std)
            self.method = bind(
                self.method, stages, f"{self.name} with {type(net).__name__}", derive(self._seed, "extra")
            )
            self._net, self._stages = net, stages
            self.start_epoch()
        return self

    def parameters(self) -> list[nn.Parameter]:
        """Return what the method trains beside the network, for the optimiser; most have none."""
        extra = None if self._stages is None else self._stages.extra
        return [] if extra is None else [p for p in extra.parameters() if p.requires_grad]

    def start_epoch(self) -> None:
        """Prepare for an epoch; call it before each one after the first."""
        if self._stages is not None:
            self.method.start_epoch(self._stages)

    def loss(self, net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the scalar to minimise, for images ``x``, float B×3×H×W, and int64 labels ``y`` of length B."""
        self.bind(net, x.shape[-1])
        assert self._stages is not None
        if self._gen is None or self._gen.device != x.device:
            self._gen = torch.Generator(x.device).manual_seed(derive(self._seed, "method"))
            self._stages.to(x.device)
        self._stages.training = net.training
        return self.method.loss(self._stages, x, y, self.method.plan(self._rng), self._gen)
