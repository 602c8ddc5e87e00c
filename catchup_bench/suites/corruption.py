"""Common corruptions (Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261): 19 types, five severities."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from torch import Tensor

from .. import corruptions, data
from ..corruptions import textures
from ..data.corrupted import FOLDERS, CorruptedArrays, corrupted_folder
from ..data.corrupted_folders import PICTURES, CorruptedFolders
from ..errors import UsageError
from ..records.record import Outcome
from ..reference_errors import ALEXNET
from ..system import cache
from . import ConditionResult, Context, Suite, balanced, correct


@dataclass(frozen=True, kw_only=True)
class Corruption(Suite):
    """The published images of CIFAR-10-C, CIFAR-100-C, ImageNet-C and Tiny-ImageNet-C where they are, or else the same
    corruptions generated.

    ``source`` says which (``auto``: by the files that are there); ``frost`` whether the five published pictures or a
    procedural stand-in make the frost. ``images`` above 0 takes that many test images, the same of every class, instead
    of all. What is not the published protocol has other condition names.

    ``reference`` names the network that errors are also shown relative to, type by type, as ImageNet-C's authors define
    mCE: AlexNet with the errors that they publish, for ``auto`` on ImageNet and nowhere else. All other means are of
    plain errors.
    """

    about = "19 corruptions × 5 severities, published arrays or generated"
    cost = "95 forward"

    types: tuple[str, ...] = corruptions.NAMES
    severities: tuple[int, ...] = corruptions.SEVERITIES
    source: Literal["auto", "official", "generated"] = "auto"
    frost: Literal["auto", "published", "procedural"] = "auto"
    images: int = 0
    seed: int = 0
    reference: Literal["auto", "alexnet", "none"] = "auto"

    def __post_init__(self) -> None:
        for name in self.types:
            corruptions.parameters(name, 32)
        if not self.types or not set(self.severities) <= set(corruptions.SEVERITIES) or not self.severities:
            raise ValueError(f"severities = {self.severities} is not allowed: it takes some of 1, 2, 3, 4, 5")
        for field, allowed in (("source", SOURCES), ("frost", FROST), ("reference", REFERENCES)):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} = {getattr(self, field)!r} is not allowed: it takes {', '.join(allowed)}")
        if self.images < 0:
            raise ValueError(f"images = {self.images} is not allowed: it takes 0 (all) or more")

    def resolve(self, dataset: str, data_dir: Path) -> Self:
        source, frost = self.source, self.frost
        if source == "auto":
            there = dataset in (*FOLDERS, *PICTURES) and published_folder(dataset, data_dir).is_dir()
            source = "official" if there else "generated"
        if source == "official":
            published_folder(dataset, data_dir)
        if frost == "auto":
            frost = "published" if (data_dir / "frost").is_dir() else "procedural"
        reference = self.reference
        if reference == "auto":
            reference = "alexnet" if dataset == "imagenet" else "none"
        return replace(self, source=source, frost=frost, reference=reference)

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

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor | ConditionResult]]:
        images = balanced(context, self.images, "corruption.images")
        bank = textures.load(context.data_dir / "frost") if self.frost == "published" and self.needs_frost else None
        published = self.published(context)
        wanted = [(f"{n}-{s}{self.suffix(n)}", n, s) for n in self.types for s in self.severities]
        wanted = [(condition, name, severity) for condition, name, severity in wanted if condition in conditions]
        if published is not None:
            published.check(list(dict.fromkeys(name for _, name, _ in wanted)))
        for condition, name, severity in wanted:
            if isinstance(published, CorruptedFolders):
                corrupted = published.images(name, severity, self.images, f"{context.key}-test")
            elif published is not None:
                corrupted = replace(images, x=published.read(name, severity, images.index))
            else:
                made = self.corrupt(replace(context, images=images), name, severity, bank)
                corrupted = replace(images, x=made)
            bits = correct(replace(context, images=corrupted))
            yield (
                condition,
                ConditionResult(bits, {"other_images": True}) if published_anew(context, published) else bits,
            )

    def published(self, context: Context) -> CorruptedArrays | CorruptedFolders | None:
        """Return what reads the published images, ``None`` where they are generated."""
        if self.source != "official":
            return None
        if context.dataset not in PICTURES:
            return CorruptedArrays(context.dataset, context.data_dir, context.images)
        names = data.get(context.dataset).class_names
        assert names is not None
        return CorruptedFolders(context.dataset, context.data_dir, names(context.data_dir))

    def images_digest(self, context: Context, condition: str) -> str:
        """Return, of published images, the SHA-256 of their files with the digest of the test images, whose labels the
        arrays of CIFAR-C have."""
        images, published = context.images.digest(), self.published(context)
        if published is None:
            return images
        name, severity = condition.split("-")[:2]
        if isinstance(published, CorruptedFolders):
            own = published.digest(name, int(severity))
        else:
            own = published.digest(name)
        return hashlib.sha256(f"{images} {own}".encode()).hexdigest()

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

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        """Return mCE as ImageNet-C's authors define it, where there is a ``reference``."""
        whole = set(corruptions.COMMON) <= set(self.types) and set(self.severities) == set(corruptions.SEVERITIES)
        if self.reference != "alexnet" or not whole:
            return {}
        errors = {name: self.mean_error(name, outcomes) for name in corruptions.COMMON}
        shares = [errors[name] / ALEXNET[name] for name in corruptions.COMMON]
        return {"mCE of 15 types relative to AlexNet's errors, %": 100 * sum(shares) / len(shares)}

    def mean_error(self, name: str, outcomes: dict[str, Outcome]) -> float:
        """Return the error of a type in percent, the mean over severities."""
        conditions = [f"{name}-{s}{self.suffix(name)}" for s in self.severities]
        return sum(100 * (1 - outcomes[c].correct / outcomes[c].n) for c in conditions) / len(conditions)

    @property
    def needs_frost(self) -> bool:
        return self.source != "official" and "frost" in self.types


def published_anew(context: Context, published: CorruptedArrays | CorruptedFolders | None) -> bool:
    """Return whether the corrupted images are not the test images: those of Tiny-ImageNet-C were cut anew."""
    return isinstance(published, CorruptedFolders) and context.dataset == "tinyimagenet"


def published_folder(dataset: str, data_dir: Path) -> Path:
    """Return the folder of the published corrupted images of ``dataset``. Raises :class:`UsageError` for one that has
    none."""
    if dataset in PICTURES:
        return data_dir / PICTURES[dataset][0]
    if dataset in FOLDERS:
        return corrupted_folder(dataset, data_dir)
    raise UsageError(
        f"corruption.source = official: no corrupted images of {dataset} are published, only of "
        f"{', '.join((*FOLDERS, *PICTURES))}; write corruption.source=generated"
    )


SOURCES = ("auto", "official", "generated")

FROST = ("auto", "published", "procedural")

REFERENCES = ("auto", "alexnet", "none")
