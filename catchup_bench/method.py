"""The contract that every training method fulfils, and the few tensor helpers that mixups share.

A method turns a batch into a loss. ``plan`` makes the host-side choices of a step (which layer, whether to mix)
and returns something small and hashable out of a finite set; ``loss`` does everything else on the device, without
reading a device value on the host, so that a step can be captured as one graph per plan.

Terms: ``x`` is a B×3×H×W batch of images in [0,1], or around it where a recipe changes colours; ``y`` int64 labels of
length B; ``lam`` is λ, the weight of the image's own label; ``perm`` pairs image *i* with image ``perm[i]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge as Ge
from annotated_types import Gt as Gt
from annotated_types import Le as Le
from annotated_types import Lt as Lt
from annotated_types import MinLen as MinLen
from torch import Tensor, nn

from .bounds import check_fields
from .relatives import related

Criterion = Literal["ce", "bce"] | Callable[[Tensor, Tensor], Tensor]


class Network(Protocol):
    """What a method may use of a network: see :mod:`catchup_bench.models`."""

    num_classes: int
    stages: nn.ModuleList
    head: nn.Module
    mean: Tensor
    std: Tensor
    extra: nn.Module | None
    training: bool

    def __call__(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor: ...
    def train(self, mode: bool = True) -> Any: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """How a batch becomes a loss. Fields are the hyper-parameters; the file's name is the method's name.

    A field declares what it takes, as in ``alpha: Annotated[float, Gt(0)] = 1.0``; defaults, bounds and the class
    attributes below are literals, because boards read them without running the file.

    ``criterion`` is ``ce`` (cross-entropy with soft targets) for all methods; ``bce`` is the binary cross-entropy
    on softmax outputs that some released codes train with. A method that wraps another one may give it a function of
    logits and targets instead.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    year: ClassVar[int]
    level: ClassVar[str]
    passes: ClassVar[str] = "1 forward, 1 backward"
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Per-dataset values of fields, with their source in the method's file."""
    weights_sum_to_one: ClassVar[bool] = True
    """Whether the label weights of every image sum to 1, which the contract then checks."""
    relatives: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Corruptions of CIFAR-C whose relatives are among what the method does to training images, by the option that has
    to be on for it; under ``""`` those of any options. Their test errors say less about robustness to the unforeseen,
    and tables mark them."""

    criterion: Criterion = "ce"

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Return the corruptions in ``relatives`` with these options."""
        return related(self.relatives, {name: getattr(self, name) for name in self.relatives if name})

    def __post_init__(self) -> None:
        """Check the fields against their bounds, and in a subclass what fields mean for one another; raise
        ``ValueError`` naming the field and its allowed range."""
        check_fields(self)

    def bind(self, net: Network) -> Self:
        """Return the method as used with ``net``; called once, before weights are loaded. May attach ``net.extra``
        (parameters trained beside the network, or buffers that carry state from step to step)."""
        return self

    def start_epoch(self, net: Network) -> None:
        """Prepare for an epoch; called before its first step."""
        return None

    def plan(self, rng: np.random.Generator) -> Hashable:
        """Make the host-side choices of one step, from a finite set. ``None`` is the plain step."""
        return None

    @abstractmethod
    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        """Return the scalar to minimise. ``gen`` lives on the device of ``x``; neither ``x`` nor ``y`` is modified."""


@dataclass(frozen=True, kw_only=True)
class Mixup(Method):
    """Methods that mix each sample with a partner, at the input (``k = 0``) or after stage ``k``.

    A subclass says how in ``mix_images`` or ``mix_features``. ``prob`` is the probability that a batch is mixed at
    all; ``layers`` are the places to choose from, uniformly.
    """

    prob: Annotated[float, Ge(0), Le(1)] = 1.0
    layers: Annotated[tuple[Annotated[int, Ge(0), "stages, 0 is the input"], ...], MinLen(1)] = (0,)

    def bind(self, net: Network) -> Self:
        last = len(net.stages)
        check(max(self.layers) <= last, "layers", self.layers, f"0 to {last} for this network")
        return self

    def plan(self, rng: np.random.Generator) -> int | None:
        if self.prob < 1 and rng.random() >= self.prob:
            return None
        return self.layers[int(rng.integers(len(self.layers)))]

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: int | None, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        if plan is None:
            return soft_loss(net(x), target, self.criterion)
        perm = permutation(len(x), gen)
        if plan == 0:
            h, lam = self.mix_images(x, perm, gen)
        else:
            h, lam = self.mix_features(net(x, stop=plan), perm, gen)
        return soft_loss(net(h, start=plan), mix_targets(target, perm, lam), self.criterion)

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return mixed images B×3×H×W and ``lam`` (one number, or one per image)."""
        raise NotImplementedError

    def mix_features(self, h: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return mixed features B×C×H×W and ``lam`` (one number, or one per image)."""
        raise NotImplementedError


def check(ok: bool, field: str, value: object, allowed: str) -> None:
    """Raise ``ValueError`` with the field, its value and what is allowed, unless ``ok``."""
    if not ok:
        raise ValueError(f"{field} = {value!r} is not allowed: it takes {allowed}")


def one_hot(y: Tensor, num_classes: int) -> Tensor:
    """Return float32 B×K targets. ``F.one_hot`` would wait for the device to check the range of ``y``."""
    return (y[:, None] == torch.arange(num_classes, device=y.device)).float()


class Partners(torch.autograd.Function):
    """``h[perm]``, whose gradient is gathered by the inverse permutation."""

    @staticmethod
    def forward(h: Tensor, perm: Tensor) -> Tensor:
        return h[perm]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0][ctx.saved_tensors[0].argsort()], None


def partners(h: Tensor, perm: Tensor) -> Tensor:
    """Return ``h[perm]`` of features B×… that need a gradient, for a permutation ``perm`` of the batch.

    The gradient of plain indexing is scattered, for which CUDA sorts the indices and adds with atomics in an order of
    its own; a permutation has an inverse, by which the same numbers are gathered.
    """
    taken: Tensor = Partners.apply(h, perm) if h.requires_grad else h[perm]
    return taken


def mix_targets(target: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """Return ``lam`` of each row plus ``1 - lam`` of its partner's; ``lam`` is a 0-d tensor or has length B."""
    lam = lam.to(target.dtype).reshape(-1, 1)
    return lam * target + (1 - lam) * target[perm]


def soft_loss(logits: Tensor, target: Tensor, criterion: Criterion = "ce") -> Tensor:
    """Return the mean over the batch of the cross-entropy (or BCE on softmax, mean over B×K) with B×K targets, in fp32;
    what ``criterion`` makes of logits and targets, if it is a function."""
    if callable(criterion):
        return criterion(logits, target)
    if criterion == "ce":
        return F.cross_entropy(logits.float(), target)
    with torch.autocast(logits.device.type, enabled=False):
        return F.binary_cross_entropy(logits.float().softmax(1), target)


def beta(a: float, gen: torch.Generator) -> Tensor:
    """Draw one λ ~ Beta(a, a) as a float64 0-d tensor on the generator's device; 1 when ``a`` is 0.

    ``torch.distributions.Beta`` takes no generator; this is the sampler beneath it.
    """
    if a == 0:
        return torch.ones((), dtype=torch.float64, device=gen.device)
    return torch._sample_dirichlet(torch.full((2,), a, dtype=torch.float64, device=gen.device), generator=gen)[0]


def permutation(n: int, gen: torch.Generator) -> Tensor:
    """Draw a uniform permutation of 0..n-1, computed and kept on the generator's device."""
    return torch.rand(n, generator=gen, device=gen.device, dtype=torch.float64).argsort()


def box(lam: Tensor, height: int, width: int, gen: torch.Generator) -> Tensor:
    """Return an H×W boolean mask, true inside one box whose sides are √(1-λ) of the image's, cut off at the border.

    The box of CutMix (arXiv 1905.04899, Eq. 2): integer centre, uniform over the image; an odd side loses a pixel.
    """
    centre = torch.rand(2, generator=gen, device=gen.device, dtype=torch.float64)
    side = (1 - lam.double()).clamp_min(0).sqrt()
    return inside(centre[0], side, height)[:, None] & inside(centre[1], side, width)[None, :]


def inside(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """Return, along one axis, which of ``size`` pixels lie within ``int(size * side) // 2`` of the centre pixel."""
    half = (size * side).floor().div(2, rounding_mode="floor")
    middle = (centre * size).floor()
    pixels = torch.arange(size, device=centre.device)
    return (pixels >= middle - half) & (pixels < middle + half)


@contextmanager
def without_gradients() -> Iterator[None]:
    """Enclose a pass of the network that needs no gradient in a step that does, such as a look at the clean batch.

    Autocast keeps the weights that it has cast for the next pass of a step. Those of this pass carry no gradient, and
    torch before 2.11 would use them all the same: the weights would not be trained. So they are dropped.
    """
    try:
        with torch.no_grad():
            yield
    finally:
        torch.clear_autocast_cache()


@contextmanager
def frozen_statistics(net: Network) -> Iterator[None]:
    """Put ``net`` in eval mode for a pass that must leave BatchNorm's running statistics alone, in training mode
    afterwards."""
    was = net.training
    net.train(False)
    try:
        yield
    finally:
        net.train(was)
