"""The table of datasets: real files in their official layouts, read through the libraries that know them."""

import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, overload

from ..data_sources import Split, default_folder
from ..errors import UsageError, pick
from .aircraft import AIRCRAFT
from .cars import CARS
from .cifar import cifar
from .cub import CUB
from .digits import DIGITS
from .extras import EXTRAS, Extra
from .fashion import FASHIONMNIST
from .folder import folder_dataset
from .hub import hub_dataset
from .imagenet import IMAGENET, IMAGENET_O
from .images import Dataset, Files, Images, check_labels, stream_key, subset
from .tiny import TINYIMAGENET

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
    "num_classes",
    "stream_key",
    "subset",
]

DATASETS = {
    "digits": DIGITS,
    "cifar100": cifar("CIFAR100", 100),
    "cifar10": cifar("CIFAR10", 10),
    "tinyimagenet": TINYIMAGENET,
    "cub": CUB,
    "cars": CARS,
    "aircraft": AIRCRAFT,
    "imagenet": IMAGENET,
    "imagenet-o": IMAGENET_O,
    "fashionmnist": FASHIONMNIST,
}

PREFIXES = {"hf:": hub_dataset, "folder:": folder_dataset}
"""``hf:NAME`` is any image-classification dataset of the Hugging Face hub, ``folder:PATH`` any folder of images; both
take options, as ``hf:NAME?label=COLUMN``."""


def get(name: str) -> Dataset:
    """The entry called ``name``."""
    for prefix, make in PREFIXES.items():
        if name.startswith(prefix):
            return make(name.removeprefix(prefix))
    return DATASETS[pick("dataset", name, DATASETS)]


def num_classes(name: str, folder: Path | None = None) -> int:
    """How many classes the files at hand hold: those of the dataset, or fewer where a part of it was laid out."""
    entry = get(name)
    return entry.num_classes if entry.classes is None else entry.classes(folder or default_folder())


@overload
def load(name: str, split: Literal["test"], folder: Path | None = None) -> Images: ...


@overload
def load(
    name: str, split: Split, folder: Path | None = None, fraction: float = 1.0, seed: int = 0
) -> Images | Files: ...


def load(name: str, split: Split, folder: Path | None = None, fraction: float = 1.0, seed: int = 0) -> Images | Files:
    """Images of a split in official order; of the training split only a fixed ``fraction`` per class.

    Large training images come as :class:`Files`, which the training loop opens as it goes.
    """
    entry = get(name)
    images = entry.load(split, folder or default_folder())
    check_labels(images.y, entry.num_classes, name)
    if split == "test" or fraction == 1:
        return images
    return subset(images, fraction, stream_key(name, images), seed)


def fetch(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Download a dataset and read it once; what was found. A name of :data:`EXTRAS` is fetched likewise."""
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
