"""The corruptions of CIFAR-10-C-bar (Mintun et al., NeurIPS 2021, arXiv 2102.11273): ten types, five severities, far
from those of CIFAR-C."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from .. import corruptions_bar
from ..errors import pick
from ..system import cache
from . import Context, Suite, balanced, correct


@dataclass(frozen=True, kw_only=True)
class CorruptionBar(Suite):
    """A check on methods that were trained on relatives of the corruptions of CIFAR-C.

    The corrupted images are generated, as no arrays are published, only their generator. ``images`` above 0 takes that
    many test images, the same of every class, instead of all.
    """

    about = "10 further corruptions × 5 severities (C-bar), generated"
    cost = "50 forward"

    types: tuple[str, ...] = corruptions_bar.NAMES
    severities: tuple[int, ...] = corruptions_bar.SEVERITIES
    images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.types:
            pick("corruption", name, corruptions_bar.NAMES)
        if not self.types or not set(self.severities) <= set(corruptions_bar.SEVERITIES) or not self.severities:
            raise ValueError(f"severities = {self.severities} is not allowed: it takes some of 1, 2, 3, 4, 5")
        if self.images < 0:
            raise ValueError(f"images = {self.images} is not allowed: it takes 0 (all) or more")

    def conditions(self) -> list[str]:
        return [self.condition(name, s) for name in self.types for s in self.severities]

    def condition(self, name: str, severity: int) -> str:
        marks = (f"-seed{self.seed}" if self.seed else "") + (f"-n{self.images}" if self.images else "")
        return f"bar-{name}-{severity}{marks}"

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, "images": self.images, "seed": self.seed}

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        images = balanced(context, self.images, "corruption-bar.images")
        context = replace(context, images=images)
        wanted = {self.condition(name, s): (name, s) for name in self.types for s in self.severities}
        for condition in conditions:
            corrupted = self.corrupt(context, *wanted[condition])
            yield condition, correct(replace(context, images=replace(images, x=corrupted)))

    def corrupt(self, context: Context, name: str, severity: int) -> Tensor:
        """Return the images of ``context`` corrupted, from the disk if they were made before."""
        images = context.images
        code = [cache.code_digest(package) for package in ("corruptions_bar", "corruptions")]
        key = (*code, context.key, images.digest(), name, severity, self.seed)
        return cache.cached(
            key,
            lambda: corruptions_bar.corrupt(
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
        rows = {f"severity {s}": [self.condition(name, s) for name in self.types] for s in self.severities}
        for name in self.types:
            rows[name] = [self.condition(name, s) for s in self.severities]
        if set(self.types) == set(corruptions_bar.NAMES):
            rows["mean of 10 types"] = self.conditions()
        return rows
