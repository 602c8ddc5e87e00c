"""Common corruptions (Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261): 19 types, five severities."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from torch import Tensor

from .. import corruptions
from ..corruptions import textures
from ..data.corrupted import FOLDERS, CorruptedArrays, corrupted_folder
from ..system import cache
from . import Context, Suite, balanced, correct


@dataclass(frozen=True, kw_only=True)
class Corruption(Suite):
    """The published arrays of CIFAR-10-C and CIFAR-100-C where they are, otherwise the same corruptions generated.

    ``source`` says which (``auto``: by the files that are there); ``frost`` whether the five published pictures or a
    procedural stand-in make the frost. ``images`` above 0 takes that many test images, the same of every class, instead
    of all. What is not the published protocol has other condition names.
    """

    about = "19 corruptions × 5 severities, published arrays or generated"
    cost = "95 forward"

    types: tuple[str, ...] = corruptions.NAMES
    severities: tuple[int, ...] = corruptions.SEVERITIES
    source: Literal["auto", "official", "generated"] = "auto"
    frost: Literal["auto", "published", "procedural"] = "auto"
    images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.types:
            corruptions.parameters(name, 32)
        if not self.types or not set(self.severities) <= set(corruptions.SEVERITIES) or not self.severities:
            raise ValueError(f"severities = {self.severities} is not allowed: it takes some of 1, 2, 3, 4, 5")
        for field, allowed in (("source", ("auto", "official", "generated")), ("frost", FROST)):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} = {getattr(self, field)!r} is not allowed: it takes {', '.join(allowed)}")
        if self.images < 0:
            raise ValueError(f"images = {self.images} is not allowed: it takes 0 (all) or more")

    def resolve(self, dataset: str, data_dir: Path) -> Self:
        source, frost = self.source, self.frost
        if source == "auto":
            there = dataset in FOLDERS and corrupted_folder(dataset, data_dir).is_dir()
            source = "official" if there else "generated"
        if source == "official":
            corrupted_folder(dataset, data_dir)
        if frost == "auto":
            frost = "published" if (data_dir / "frost").is_dir() else "procedural"
        return replace(self, source=source, frost=frost)

    def conditions(self) -> list[str]:
        return [f"{name}-{s}{self.suffix(name)}" for name in self.types for s in self.severities]

    def suffix(self, name: str) -> str:
        marks = [("official", self.source == "official")]
        if self.source != "official":
            marks += [
                ("procedural", name == "frost" and self.frost != "published"),
                (f"seed{self.seed}", self.seed != 0),
            ]
        marks.append((f"n{self.images}", self.images > 0))
        return "".join(f"-{mark}" for mark, on in marks if on)

    def protocol(self, condition: str) -> dict[str, Any]:
        kept: dict[str, Any] = {"version": self.version, "source": self.source, "images": self.images}
        if self.source != "official":
            kept["seed"] = self.seed
            if condition.startswith("frost-"):
                kept["frost"] = self.frost
        return kept

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, str | int]]) -> dict[str, str | int]:
        merged = {key: value for protocol in protocols for key, value in protocol.items()}
        return {key: value for key, value in merged.items() if key != "version"}

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        images = balanced(context, self.images, "corruption.images")
        bank = textures.load(context.data_dir / "frost") if self.frost == "published" and self.needs_frost else None
        official = self.source == "official"
        arrays = CorruptedArrays(context.dataset, context.data_dir, context.images) if official else None
        wanted = [(f"{n}-{s}{self.suffix(n)}", n, s) for n in self.types for s in self.severities]
        wanted = [(condition, name, severity) for condition, name, severity in wanted if condition in conditions]
        if arrays is not None:
            arrays.check(list(dict.fromkeys(name for _, name, _ in wanted)))
        for condition, name, severity in wanted:
            if arrays is not None:
                corrupted = arrays.read(name, severity, images.index)
            else:
                corrupted = self.corrupt(replace(context, images=images), name, severity, bank)
            yield condition, correct(replace(context, images=replace(images, x=corrupted)))

    def images_digest(self, context: Context, condition: str) -> str:
        """Return, of published arrays, the SHA-256 of the file with the digest of the test images whose labels they
        have."""
        images = context.images.digest()
        if self.source != "official":
            return images
        name = condition.rsplit("-", 2)[0] if self.images == 0 else condition.rsplit("-", 3)[0]
        arrays = CorruptedArrays(context.dataset, context.data_dir, context.images)
        return hashlib.sha256(f"{images} {arrays.digest(name)}".encode()).hexdigest()

    def corrupt(self, context: Context, name: str, severity: int, bank: textures.Textures | None) -> Tensor:
        """Return the images of ``context`` corrupted, from the disk if they were made before."""
        images = context.images
        key = (
            cache.code_digest("corruptions"),
            context.key,
            images.digest(),
            name,
            severity,
            self.seed,
            self.frost,
        )
        return cache.cached(
            key,
            lambda: corruptions.corrupt(
                images.x.to(context.device),
                name,
                severity,
                indices=images.index.tolist(),
                dataset=context.key,
                seed=self.seed,
                textures=bank,
            ),
        )

    def summary(self) -> dict[str, list[str]]:
        """Return the rows: per severity, per type, per group, and the means over the 15 common and all 19 types."""
        rows = {f"severity {s}": [f"{n}-{s}{self.suffix(n)}" for n in self.types] for s in self.severities}
        for name in self.types:
            rows[name] = [f"{name}-{s}{self.suffix(name)}" for s in self.severities]
        groups = {**corruptions.GROUPS, "mean of 15 types": corruptions.COMMON, "mean of 19 types": corruptions.NAMES}
        for group, members in groups.items():
            if set(members) <= set(self.types):
                rows[group] = [c for name in members for c in rows[name]]
        return rows

    @property
    def needs_frost(self) -> bool:
        return self.source != "official" and "frost" in self.types


FROST = ("auto", "published", "procedural")
