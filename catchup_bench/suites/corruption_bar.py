"""The corruptions of CIFAR-10-C-bar and ImageNet-C-bar (Mintun et al., NeurIPS 2021, arXiv 2102.11273): ten types each,
five severities, far from those of CIFAR-C and ImageNet-C."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from torch import Tensor

from .. import corruptions_bar, data
from ..corruptions_bar import imagenet
from ..data_sources import HELD_OUT
from ..errors import UsageError, pick
from ..system import cache
from . import Context, Suite, balanced, correct


@dataclass(frozen=True, kw_only=True)
class CorruptionBar(Suite):
    """A check on methods that were trained on relatives of the corruptions of CIFAR-C.

    The corrupted images are generated, as no arrays are published, only their generator. ``benchmark`` says whose ten
    types and amounts: for ``auto`` ``imagenet`` on datasets of the table with images of more than 128 px, else
    ``cifar10``. ``types`` are some of these, or all. ``images`` above 0 takes that many test images, the same of every
    class, instead of all.
    """

    about = "10 further corruptions × 5 severities (C-bar), generated"
    cost = "50 forward"

    types: tuple[str, ...] = ("all",)
    severities: tuple[int, ...] = corruptions_bar.SEVERITIES
    images: int = 0
    seed: int = 0
    benchmark: Literal["auto", "cifar10", "imagenet"] = "auto"

    def __post_init__(self) -> None:
        pick("corruption-bar.benchmark", self.benchmark, BENCHMARKS)
        for name in self.types:
            pick("corruption", name, ("all", *(EITHER if self.benchmark == "auto" else self.names)))
        if not self.types or not set(self.severities) <= set(corruptions_bar.SEVERITIES) or not self.severities:
            raise ValueError(f"severities = {self.severities} is not allowed: it takes some of 1, 2, 3, 4, 5")
        if self.images < 0:
            raise ValueError(f"images = {self.images} is not allowed: it takes 0 (all) or more")

    def resolve(self, dataset: str, data_dir: Path) -> Self:
        if self.benchmark != "auto":
            return self
        known = data.DATASETS.get(dataset.removeprefix(HELD_OUT))
        large = known is not None and known.size > corruptions_bar.LARGEST
        return replace(self, benchmark="imagenet" if large else "cifar10")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the types of the benchmark."""
        return imagenet.NAMES if self.benchmark == "imagenet" else corruptions_bar.NAMES

    @property
    def chosen(self) -> tuple[str, ...]:
        """Return the types that are measured."""
        return self.names if "all" in self.types else self.types

    def conditions(self) -> list[str]:
        return [self.condition(name, s) for name in self.chosen for s in self.severities]

    def condition(self, name: str, severity: int) -> str:
        marks = (f"-seed{self.seed}" if self.seed else "") + (f"-n{self.images}" if self.images else "")
        return f"bar-{name}-{severity}{marks}"

    def protocol(self, condition: str) -> dict[str, Any]:
        kept = {"version": self.version, "images": self.images, "seed": self.seed}
        return kept | ({"benchmark": self.benchmark} if self.benchmark == "imagenet" else {})

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        side = context.images.size
        if self.benchmark != "imagenet" and side > corruptions_bar.LARGEST:
            raise UsageError(
                f"corruption-bar.benchmark = {self.benchmark}: CIFAR-10-C-bar is for images of at most "
                f"{corruptions_bar.LARGEST} px, these have {side}; write corruption-bar.benchmark=imagenet"
            )
        images = balanced(context, self.images, "corruption-bar.images")
        context = replace(context, images=images)
        wanted = {self.condition(name, s): (name, s) for name in self.chosen for s in self.severities}
        for condition in conditions:
            corrupted = self.corrupt(context, *wanted[condition])
            yield condition, correct(replace(context, images=replace(images, x=corrupted)))

    def corrupt(self, context: Context, name: str, severity: int) -> Tensor:
        """Return the images of ``context`` corrupted, from the disk if they were made before."""
        images = context.images
        packages, corrupt = ["corruptions_bar", "corruptions"], corruptions_bar.corrupt
        if self.benchmark == "imagenet":
            packages, corrupt = [*packages, "corruptions_bar/imagenet"], imagenet.corrupt
        code = [cache.code_digest(package) for package in packages]
        key = (*code, context.key, images.digest(), name, severity, self.seed)
        return cache.cached(
            key,
            lambda: corrupt(
                images.x.to(context.device),
                name,
                severity,
                indices=images.index.tolist(),
                dataset=context.key,
                seed=self.seed,
            ),
        )

    def summary(self) -> dict[str, list[str]]:
        """Return the rows: per severity, per type, and the mean over all ten types, which is unnormalised."""
        rows = {f"severity {s}": [self.condition(name, s) for name in self.chosen] for s in self.severities}
        for name in self.chosen:
            rows[name] = [self.condition(name, s) for s in self.severities]
        if set(self.chosen) == set(self.names):
            rows["mean of 10 types"] = self.conditions()
        return rows


BENCHMARKS = ("auto", "cifar10", "imagenet")

EITHER = tuple(dict.fromkeys((*corruptions_bar.NAMES, *imagenet.NAMES)))
