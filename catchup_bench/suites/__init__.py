"""Evaluations: a suite turns a model into outcomes per condition.

An outcome is one bit per test image, true where the image was classified rightly; errors, intervals and paired tests
all follow from the bits. Networks take float32 images in [0,1] and are in eval mode, in fp32, outside autocast: in
bf16, 25 of the 83,685 outcomes of ``robustness`` changed for a network trained on the digits (baseline, 8 epochs).
"""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from .. import data
from ..data import Images, subset
from ..data.batches import batches
from ..engines.graph_passes import Forward
from ..errors import UsageError, pick
from ..plugins import complete_options, module_names, only_class
from ..records.record import Outcome
from ..runs.run import Run

GROUPS = {"robustness": ("clean", "fgsm", "corruption", "deformation")}
"""Names that stand for several suites."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The input of a suite: the network, the test images in official order, and what the dataset says of them.
    ``captured`` makes its passes where they are captured; attacks need the gradient, and take ``net``. ``key`` is what
    random numbers are keyed by: what the whole test set is, see :func:`catchup_bench.data.stream_key`. ``snapshots``
    are files of the network's weights at several epochs of its training, where they were kept; ``folder`` is that of
    its run, where it is one of ours."""

    net: nn.Module
    images: Images
    dataset: str
    mean: tuple[float, float, float]
    device: torch.device
    batch_size: int
    data_dir: Path
    captured: Forward | None = None
    key: str = ""
    snapshots: Mapping[int, Path] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not self.key:  # a part of the images keeps the key of the whole
            object.__setattr__(self, "key", data.stream_key(self.dataset, self.images))

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch, B×K, on the device."""
        logits: Tensor = (self.net if self.captured is None else self.captured)(x)
        return logits


@dataclass(frozen=True)
class ConditionResult:
    """The bits of a condition, and JSON ``values`` for what bits cannot hold."""

    bits: Tensor
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """One evaluation; fields are its options. The file's name, with hyphens, is the suite's
    name."""

    about: ClassVar[str]
    cost: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the same options come to mean something else."""

    def resolve(self, dataset: str, data_dir: Path) -> Self:
        """Return the suite with what depends on the files that are there decided."""
        return self

    @abstractmethod
    def conditions(self) -> list[str]:
        """Return the names of the conditions, each with its own outcome."""

    def passes(self, condition: str) -> float:
        """Return roughly how many forward and backward passes the condition takes per image, to estimate the time
        left."""
        return 1

    def work(self, condition: str, test_images: int) -> float:
        """Return roughly how many passes of one image the condition takes where there are ``test_images``."""
        return self.passes(condition) * min(test_images, getattr(self, "images", 0) or test_images)

    def runs_needed(self, run: Run) -> list[Run]:
        """Return the other runs that have to be trained, in folders beside that of ``run``, before it is evaluated."""
        return []

    @abstractmethod
    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor | ConditionResult]]:
        """Yield (condition, bits) for each of ``conditions``, as soon as each is finished; bits are bool of length
        N."""

    def images_digest(self, context: Context, condition: str) -> str:
        """Return the SHA-256 of the images that ``condition`` is measured on: an outcome belongs to them."""
        return context.images.digest()

    def protocol(self, condition: str) -> dict[str, Any]:
        """Return what two outcomes of ``condition`` must share to stand in one column."""
        return {"version": self.version, **asdict(self)}

    def summary(self) -> dict[str, list[str]]:
        """Return what to show of the outcomes: the name of a row → the conditions whose errors it is the mean of."""
        return {condition: [condition] for condition in self.conditions()}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        """Return numbers other than errors to show of the outcomes: the name of a row, with its unit → the number."""
        return {}

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Return which numbers in ``outcome.values`` are not what the rest of it gives, for verification."""
        return []

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the options that give conditions of these protocols again: the inverse of :meth:`protocol`."""
        return {k: v for k, v in protocols[0].items() if k != "version"}


def correct(context: Context, change: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None) -> Tensor:
    """Return the bits of the whole test set, each batch passed through ``change(x, y, index)`` first.

    Bits stay on the device until all batches are done: one transfer, no waiting in between.
    """
    bits = []
    for x, y, index in batches(context.images, context.batch_size, context.device):
        x = x if change is None else change(x, y, index)
        bits.append(context.forward(x).argmax(1) == y)
    return fetch(bits)


def fetch(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return what the batches of a condition left on the device, as one tensor on the CPU. Nothing else that a suite
    does with the outputs of a network may wait for the device."""
    return torch.cat(list(parts), dim).cpu()


def balanced(context: Context, count: int, option: str = "images") -> Images:
    """Return ``count`` test images, the same number of every class, fixed by hash; all for 0. Errors name
    ``option``."""
    images, dataset = context.images, context.dataset
    if count == 0:
        return images
    if count > len(images):
        raise UsageError(f"{option} = {count}: {dataset} has {len(images)} test images")
    share = count / len(images)
    if round(int(images.y.unique(return_counts=True)[1].min()) * share) == 0:
        raise UsageError(f"{option} = {count} leaves a class of {dataset} without an image: give more, or 0 for all")
    return subset(images, share, f"{context.key}-test", 0)


def make_suites(wanted: Iterable[str], settings: dict[str, dict[str, Any]]) -> dict[str, Suite]:
    """Make suites by name, with ``settings`` as their options; the name of a group stands for its members."""
    suites: dict[str, Suite] = {}
    for name in wanted:
        pick("suite", name, [*suite_names(), *GROUPS])
        for member in GROUPS.get(name, (name,)):
            cls = _import_suite(member)
            suites[member] = cls(**complete_options(cls, None, settings.get(member, {}), member))
    return suites


def resolve_suites(suites: dict[str, Suite], dataset: str, data_dir: Path | None) -> dict[str, Suite]:
    """Return the suites with what depends on the files that are there decided, such as which corrupted images they
    use."""
    return {name: suite.resolve(dataset, data_dir or data.default_folder()) for name, suite in suites.items()}


def suite_names() -> list[str]:
    """Return the names of the suites: of their files, with hyphens."""
    return [name.replace("_", "-") for name in module_names("catchup_bench.suites")]


def suite_class(name: str) -> "type[Suite]":
    pick("suite", name, suite_names())
    return _import_suite(name)


def _import_suite(name: str) -> "type[Suite]":
    from . import Suite

    return only_class(importlib.import_module(f"catchup_bench.suites.{name.replace('-', '_')}"), Suite, name)
