"""Any image-classification dataset that the ``datasets`` library reads, by ``--dataset hf:NAME`` and no code.

NAME is a dataset of the Hugging Face hub or a local folder in a layout that the library knows (one sub-folder of
images per class and split, parquet files, …).
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data_sources import Split
from ..errors import UsageError
from .decode import decoding
from .images import Dataset, Images

SPLITS = {"train": ("train",), "test": ("test", "validation", "valid")}


@cache
def _open(name: str) -> Any:
    import datasets

    if not name:
        raise UsageError("hf: needs a name: hf:NAME of the hub, or hf:PATH of a local folder")
    try:
        return datasets.load_dataset(name)
    except Exception as err:  # the library raises many kinds, of its own and of its dependencies
        first = next(iter(str(err).splitlines()), "")
        raise UsageError(f"cannot load hf:{name}: {type(err).__name__}: {first}") from None


def _part(name: str, split: Split) -> Any:
    found = _open(name)
    for key in SPLITS[split]:
        if key in found:
            return found[key]
    raise UsageError(f"hf:{name} has no {split} split: it has {', '.join(found)}")


def _column(part: Any, kind: str, name: str) -> str:
    for column, feature in part.features.items():
        if type(feature).__name__ == kind:
            return str(column)
    raise UsageError(f"hf:{name} has no column of type {kind}: it has {part.features}")


def hub_dataset(name: str) -> Dataset:
    """The table's entry for ``name``; its images must all have one size, since they are kept in memory as one tensor.

    Raises :class:`UsageError` when it cannot be loaded, or has no image column, class labels or test split.
    """
    part = _part(name, "train")
    labels = part.features[_column(part, "ClassLabel", name)]
    image = _column(part, "Image", name)
    with decoding(f"the first image of hf:{name}"):
        first = part[0][image]
    return Dataset(
        load=lambda split, folder: _images(name, split, folder),
        num_classes=labels.num_classes,
        class_names=lambda _: list(labels.names),
        size=first.height,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        recipe="cifar100-quick",
        model="preactresnet18",
        width=64,
        about=f"{name}, read by the datasets library",
    )


def _images(name: str, split: Split, folder: Path) -> Images:
    part = _part(name, split)
    image, label = _column(part, "Image", name), _column(part, "ClassLabel", name)
    with decoding(f"an image of hf:{name}"):
        pixels = [np.asarray(row.convert("RGB")) for row in part[image]]
    if len({p.shape for p in pixels}) != 1:
        raise UsageError(f"hf:{name} has images of several sizes: resize them to one first")
    return Images(torch.from_numpy(np.stack(pixels)), torch.tensor(part[label]), torch.arange(len(pixels)))
