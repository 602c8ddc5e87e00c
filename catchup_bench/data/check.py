"""Check of a dataset: every image is opened and counted, and the numbers are compared with the official ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..data_sources import SOURCES, Split, where
from ..errors import UsageError, pick
from . import DATASETS, PREFIXES, default_folder, get, load
from .decode import Pixels, each
from .extras import EXTRAS
from .images import Files


def check(name: str, folder: Path | None = None, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the facts of a dataset: images, classes and SHA-256 per split (of the pixels; of large training files, of
    the list of names and sizes).

    Raises :class:`UsageError` when something is missing or damaged, and when the numbers are not the official ones.
    """
    folder = folder or default_folder()
    if name in EXTRAS:
        return {"dataset": name, **EXTRAS[name].check(folder)}
    if not name.startswith(tuple(PREFIXES)):
        pick("dataset", name, [*DATASETS, *EXTRAS])
    entry = get(name)
    classes = entry.count_classes(folder)
    by_split = {split: one_split(name, split, folder, classes, tell) for split in entry.splits}
    if name in SOURCES:
        compare(name, folder, by_split, classes)
    if name.startswith("folder:"):
        folder = Path(where(name)["folder"])
    return {"dataset": name, "folder": str(folder), "classes": classes, "splits": by_split}


def one_split(name: str, split: Split, folder: Path, classes: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the counts and the digest of a split, after opening every image."""
    images = load(name, split, folder)
    if isinstance(images, Files):
        for done, _ in enumerate(each(images, _nothing), 1):
            tell(f"{name}: {done} of {len(images)} {split} images opened")
    present = images.y.bincount(minlength=classes)
    if len(present) > classes:
        raise UsageError(f"{name} has labels up to {len(present) - 1} in its {split} images, and {classes} classes")
    if split == "train" and not bool(present.all()):
        raise UsageError(f"{name}: class {int((present == 0).int().argmax())} has no training image")
    return {"images": len(images), "classes": int((present > 0).sum()), "sha256": images.digest()}


def compare(name: str, folder: Path, by_split: dict[Split, dict[str, Any]], classes: int) -> None:
    """Raise :class:`UsageError` when the numbers are not those of the whole dataset."""
    official = SOURCES[name]
    if classes == official.classes and all(by_split[s]["images"] == n for s, n in official.counts.items()):
        return
    parts = [f"{by_split[s]['images']:,} of {n:,} {s} images" for s, n in official.counts.items()]
    raise UsageError(
        f"{name} in {folder} is not the whole dataset: {classes} of {official.classes} classes, {', '.join(parts)}. "
        "It can be trained on, but results on it are not results on the dataset"
    )


def _nothing(picture: Any, size: int) -> Pixels:
    return np.empty(0, np.uint8)
