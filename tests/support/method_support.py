"""What the tests of single methods share: a small network, a batch, and mixing from known draws."""

import importlib
from typing import Any

import torch
from torch import Tensor

from catchup_bench import registry
from catchup_bench.models import MODELS

CLASSES = 5


def make(name: str, **options: Any) -> Any:
    return registry.method_class(name)(**options)


def module(name: str) -> Any:
    """The file ``methods/NAME.py``."""
    return importlib.import_module(f"catchup_bench.methods.{name}")


def small_net(width: int = 8) -> Any:
    """A network in training mode, always with the same weights."""
    torch.manual_seed(0)
    return MODELS["preactresnet10"].build(num_classes=CLASSES, width=width, variant="B").train()


def batch(n: int = 6, size: int = 16, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images that were bytes, and labels."""
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=gen) / 255, torch.randint(CLASSES, (n,), generator=gen)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Draws:
    """The numbers that a step draws, taken from a generator of the same seed in the same order."""

    def __init__(self, seed: int) -> None:
        self.gen = seeded(seed)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.gen, dtype=torch.float64)

    def beta(self, a: float, b: float | None = None) -> float:
        weights = torch.tensor([a, a if b is None else b], dtype=torch.float64)
        return float(torch._sample_dirichlet(weights, generator=self.gen)[0])

    def permutation(self, n: int) -> list[int]:
        order: list[int] = self.uniform(n).argsort().tolist()
        return order


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each row (B) with soft targets, written out in float64."""
    z = logits.double()
    return -(target.double() * (z - z.logsumexp(1, keepdim=True))).sum(1)


def one_hot(y: Tensor, classes: int = CLASSES) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[y]
