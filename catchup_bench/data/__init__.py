"""The table of datasets: real files in their official layouts, read through the libraries that know them."""

import tarfile
import zipfile
import zlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ..data_sources import Split, default_folder
from ..errors import UsageError, pick
from .table import DATASETS, PREFIXES, Dataset

if TYPE_CHECKING:
    from .extras import EXTRAS
    from .images import Files, Images, stream_key, subset

__all__ = [
    "DATASETS",
    "EXTRAS",
    "PREFIXES",
    "Dataset",
    "Files",
    "Images",
    "Split",
    "default_folder",
    "fetch",
    "get",
    "load",
    "stream_key",
    "subset",
]

_NEED_TORCH = {**dict.fromkeys(("Files", "Images", "stream_key", "subset"), "images"), "EXTRAS": "extras"}


def __getattr__(name: str) -> Any:
    """Import what reads images only when it is asked for, as it takes torch."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_NEED_TORCH[name]}", __name__), name)


def get(name: str) -> Dataset:
    """Return the entry called ``name``."""
    for prefix, make in PREFIXES.items():
        if name.startswith(prefix):
            return replace(make(name.removeprefix(prefix)), name=name)
    return replace(DATASETS[pick("dataset", name, DATASETS)], name=name)


@overload
def load(name: str, split: Literal["test"], folder: Path | None = None) -> "Images": ...


@overload
def load(
    name: str, split: Split, folder: Path | None = None, fraction: float = 1.0, seed: int = 0
) -> "Images | Files": ...


def load(name: str, split: Split, folder: Path | None = None, fraction: float = 1.0, seed: int = 0) -> "Images | Files":
    """Load the images of a split in official order; of the training split only a fixed ``fraction`` per class.

    Large training images come as :class:`Files`, which the training loop opens as it goes.
    """
    from .images import check_labels, stream_key, subset

    entry = get(name)
    images = entry.load(split, folder or default_folder())
    check_labels(images.y, entry.num_classes, name)
    if split == "test" or fraction == 1:
        return images
    return subset(images, fraction, stream_key(name, images), seed)


def fetch(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Download a dataset, read it once and return its facts. A name of :data:`EXTRAS` is fetched likewise."""
    from .extras import EXTRAS, Extra

    folder = folder or default_folder()
    if not name.startswith(tuple(PREFIXES)):
        pick("dataset", name, [*DATASETS, *EXTRAS])
    entry = EXTRAS[name] if name in EXTRAS else get(name)
    if entry.fetch is not None:
        try:
            entry.fetch(folder)
        except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as err:
            reason = (str(err) or type(err).__name__).splitlines()[0]
            raise UsageError(f"cannot fetch {name} into {folder}: {reason}") from None
    if isinstance(entry, Extra):
        return {"dataset": name, **entry.check(folder)}
    return {"dataset": name, "folder": str(folder)} | {s: len(load(name, s, folder)) for s in entry.splits}
