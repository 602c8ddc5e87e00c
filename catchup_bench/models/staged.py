"""A network as a list of stages, so that any method can mix after any of them.

A network is ``stages`` (stem, then residual stages) and a ``head`` (pooling and the linear layer);
``net(x, start, stop)`` runs stages ``start`` to ``stop``: with p_k the first k stages and q_k the rest,
``net(x, stop=k)`` is p_k(x) and ``net(h, start=k)`` is q_k(h), so that f = q_k ∘ p_k for every k.
Normalisation is the first thing inside, so a network takes images in [0,1] everywhere.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from .convolutions import make_safe


class StagedNet(nn.Module):
    """Stages and a head. ``extra`` is where a method keeps parameters or state of its own (not part of the model).
    ``safe`` says whether convolutions that are wrong on some processors are replaced, see :mod:`.convolutions`."""

    safe: ClassVar[bool] = True
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stages: list[nn.Module],
        head: nn.Module,
        num_classes: int,
        mean: tuple[float, ...] = (0.5,) * 3,
        std: tuple[float, ...] = (0.5,) * 3,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = head
        if self.safe:
            make_safe(self)
        self.num_classes = num_classes
        self.extra: nn.Module | None = None
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run stages ``start`` up to, not including, ``stop``; return logits (B×K) when ``stop`` is ``None``."""
        if start == 0 and stop != 0:
            x = (x - self.mean) / self.std
        for stage in self.stages[start:stop]:
            x = stage(x)
        return x if stop is not None else self.head(x)


class Head(nn.Module):
    """Global average pooling and one linear layer; ``features`` gives the pooled vector (B×D) alone.

    ``norm`` is what stands between the last stage and the pooling: a BN-ReLU, or MobileNetV2's last convolution.
    """

    def __init__(self, channels: int, num_classes: int, norm: nn.Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = norm or nn.Identity()
        self.dropout: nn.Module = nn.Dropout(dropout) if dropout else nn.Identity()
        self.linear = nn.Linear(channels, num_classes)

    def features(self, h: Tensor) -> Tensor:
        return self.norm(h).mean((2, 3))

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(self.dropout(self.features(h)))
