"""Networks as lists of stages, so that any method can mix after any of them.

A network is ``stages`` (stem, then residual stages) and a ``head`` (pooling and the linear layer);
``net(x, start, stop)`` runs stages ``start`` to ``stop``: with p_k the first k stages and q_k the rest,
``net(x, stop=k)`` is p_k(x) and ``net(h, start=k)`` is q_k(h), so that f = q_k ∘ p_k for every k.
Normalisation is the first thing inside, so a network takes images in [0,1] everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StagedNet(nn.Module):
    """Stages and a head. ``extra`` is where a method keeps parameters or state of its own (not part of the model)."""

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
        self.num_classes = num_classes
        self.extra: nn.Module | None = None
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Stages ``start`` up to, not including, ``stop``; logits (B×K) when ``stop`` is ``None``."""
        if start == 0 and stop != 0:
            x = (x - self.mean) / self.std
        for stage in self.stages[start:stop]:
            x = stage(x)
        return x if stop is not None else self.head(x)


class Head(nn.Module):
    """Global average pooling and one linear layer; ``features`` gives the pooled vector (B×D) alone."""

    def __init__(self, channels: int, num_classes: int, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = norm or nn.Identity()
        self.linear = nn.Linear(channels, num_classes)

    def features(self, h: Tensor) -> Tensor:
        return self.norm(h).mean((2, 3))

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(self.features(h))


class PreActBlock(nn.Module):
    """BN-ReLU-conv3×3 twice. Where no projection is needed, variant B carries ReLU(BN(x)) past the block, A and C
    the raw ``x``. ``drop`` stands on the residual branch for methods that thin it out."""

    expansion = 1

    def __init__(self, cin: int, planes: int, stride: int, activated: bool) -> None:
        super().__init__()
        cout = planes * self.expansion
        self.bn1 = nn.BatchNorm2d(cin)
        self.body = self.branch(cin, planes, stride)
        self.drop: nn.Module = nn.Identity()
        self.project = nn.Conv2d(cin, cout, 1, stride, bias=False) if stride != 1 or cin != cout else None
        self.activated = activated

    @staticmethod
    def branch(cin: int, planes: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(cin, planes, 3, stride, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x), inplace=True)
        if self.project is not None:
            x = self.project(a)
        elif self.activated:
            x = a
        return self.drop(self.body(a)) + x


class PreActBottleneck(PreActBlock):
    """BN-ReLU-conv1×1, BN-ReLU-conv3×3, BN-ReLU-conv1×1 with four times the channels at the end."""

    expansion = 4

    @staticmethod
    def branch(cin: int, planes: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(cin, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, stride, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes * 4, 1, bias=False),
        )


def preactresnet(
    block: type[PreActBlock],
    depths: tuple[int, ...],
    num_classes: int,
    width: int,
    variant: str,
    **norm: tuple[float, ...],
) -> StagedNet:
    """Pre-activation ResNet with a stride-1 3×3 stem, in the three forms found under this name.

    ``B`` (the default here): stem conv-BN-ReLU, activated shortcuts, no BN before pooling (as in the released code of
    AlignMixup, after mixup-cifar10). ``A``: stem conv alone, raw shortcuts, no BN before pooling (Manifold Mixup,
    PuzzleMix, Co-Mixup). ``C``: as ``A`` with BN-ReLU before pooling (He et al. 2016b, arXiv 1603.05027).
    """
    stem: nn.Module = nn.Conv2d(3, width, 3, 1, 1, bias=False)
    if variant == "B":
        stem = nn.Sequential(stem, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    stages, cin = [stem], width
    for i, depth in enumerate(depths):
        blocks = []
        for j in range(depth):
            blocks.append(block(cin, width * 2**i, 2 if i and not j else 1, variant == "B"))
            cin = width * 2**i * block.expansion
        stages.append(nn.Sequential(*blocks))
    last = nn.Sequential(nn.BatchNorm2d(cin), nn.ReLU(inplace=True)) if variant == "C" else None
    return StagedNet(stages, Head(cin, num_classes, last), num_classes, **norm)


@dataclass(frozen=True)
class Architecture:
    """An entry of the table of networks."""

    build: Callable[..., StagedNet]
    width: int
    variants: tuple[str, ...]
    about: str


def _preact(about: str, block: type[PreActBlock], *depths: int) -> Architecture:
    return Architecture(partial(preactresnet, block, depths), 64, ("B", "A", "C"), about)


MODELS = {
    "preactresnet10": _preact("one block per stage; the small model for the digits", PreActBlock, 1, 1, 1, 1),
    "preactresnet18": _preact("the network of the paper's Tables 1, 2, 4 and 8 to 11", PreActBlock, 2, 2, 2, 2),
    "preactresnet34": _preact("the deeper network of basic blocks", PreActBlock, 3, 4, 6, 3),
    "preactresnet50": _preact("bottleneck blocks (Table 6)", PreActBottleneck, 3, 4, 6, 3),
}
"""Name → architecture. The first variant is the default."""
