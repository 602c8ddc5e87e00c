"""The table of datasets. Images are uint8 N×H×W×3 tensors, never normalised; labels are int64."""

import gzip
import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from . import names
from .errors import UsageError

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Images:
    """A labelled set of images. ``index`` is each image's position in the official split: its stable identity."""

    x: Tensor
    y: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Tensor) -> "Images":
        return Images(self.x[rows], self.y[rows], self.index[rows])

    def digest(self) -> str:
        """SHA-256 of pixels, labels and indices, in order."""
        total = hashlib.sha256()
        for part in (self.x, self.y, self.index):
            total.update(part.cpu().contiguous().numpy().tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """An entry of the table. ``load(split, folder)`` reads it; ``mean`` and ``std`` are those of the training
    protocol, in [0,1] units."""

    load: Callable[[Split, Path], Images]
    num_classes: int
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    recipe: str
    model: str
    width: int
    about: str
    fetch: Callable[[Path], object] | None = None


def default_folder() -> Path:
    """Where data is looked for when ``--data-dir`` is not given."""
    return Path(os.environ.get("CATCHUP_BENCH_DATA") or Path.home() / ".cache" / "catchup-bench" / "data")


def subset(images: Images, fraction: float, name: str, seed: int) -> Images:
    """The same share of every class, chosen by ``seed``: the images whose hashed index comes first.

    The subset of a smaller fraction lies inside that of a larger one, and neither depends on storage order. Raises
    :class:`UsageError` when a class would be left without an image.
    """
    if fraction == 1:
        return images
    order = [hashlib.sha256(f"{name}/{seed}/{i}".encode()).digest() for i in images.index.tolist()]
    chosen: list[int] = []
    for label in images.y.unique().tolist():
        rows = (images.y == label).nonzero()[:, 0].tolist()
        count = round(len(rows) * fraction)
        if count == 0:
            raise UsageError(f"--fraction {fraction} leaves class {label} of {name} without an image: give more")
        chosen += sorted(rows, key=order.__getitem__)[:count]
    return images.take(torch.tensor(sorted(chosen)))


def load_digits(split: Split, folder: Path) -> Images:
    """scikit-learn's 1,797 handwritten digits (UCI Optical Recognition of Handwritten Digits), 8×8 pixels of 17
    grey levels, each pixel shown as 2×2, grey as RGB. 100 of each class train, the other 797 test, fixed by hash.

    The table is read from where scikit-learn keeps it; importing the library for it would take seconds.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UsageError("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
    with gzip.open(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz") as f:
        table = np.loadtxt(f, delimiter=",", dtype=np.int64)
    grey = torch.from_numpy((table[:, :64] * 255 + 8) // 16).to(torch.uint8).view(-1, 8, 8, 1)
    x = grey.repeat_interleave(2, 1).repeat_interleave(2, 2).expand(-1, -1, -1, 3).contiguous()
    everything = Images(x, torch.from_numpy(table[:, 64].copy()), torch.arange(len(table)))
    rows = [r for label in range(10) for r in _first_by_hash(everything, label, 100)]
    inside = torch.zeros(len(table), dtype=torch.bool)
    inside[rows] = True
    part = everything.take((inside if split == "train" else ~inside).nonzero()[:, 0])
    return Images(part.x, part.y, torch.arange(len(part)))


def _first_by_hash(images: Images, label: int, count: int) -> list[int]:
    rows: list[int] = (images.y == label).nonzero()[:, 0].tolist()
    return sorted(rows, key=lambda i: hashlib.sha256(f"digits-split/{i}".encode()).digest())[:count]


def load_cifar(name: str, split: Split, folder: Path) -> Images:
    """CIFAR through torchvision, its MD5 checks included: nothing is unpickled that is not the official file."""
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    cls = getattr(datasets, name)
    for file, md5 in [*cls.train_list, *cls.test_list, (cls.meta["filename"], cls.meta["md5"])]:
        path = folder / cls.base_folder / file
        if not path.is_file():
            raise UsageError(
                f"no {name} in {folder}: {path} is missing. "
                f"Run: catchup-bench data fetch {name.lower()} --data-dir {folder}, or give the right --data-dir"
            )
        if not check_integrity(str(path), md5):
            raise UsageError(f"{path} is damaged or incomplete (its MD5 is not {md5}): delete it and fetch it again")
    raw = cls(str(folder), train=split == "train", download=False)
    return Images(torch.from_numpy(raw.data), torch.tensor(raw.targets), torch.arange(len(raw.targets)))


def fetch_cifar(name: str, folder: Path) -> None:
    """Download through torchvision, which checks the MD5."""
    from torchvision import datasets

    for train in (True, False):
        getattr(datasets, name)(str(folder), train=train, download=True)


def _cifar(name: str, num_classes: int) -> Dataset:
    return Dataset(
        load=lambda split, folder: load_cifar(name, split, folder),
        fetch=lambda folder: fetch_cifar(name, folder),
        num_classes=num_classes,
        size=32,
        # the constants of CIFAR-10 also on CIFAR-100, as in the released code of mixup, CutMix and AlignMixup
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        recipe="cifar100-quick",
        model="preactresnet18",
        width=64,
        about="50,000 training and 10,000 test images of 32 px (Krizhevsky, 2009)",
    )


DATASETS = {
    "digits": Dataset(
        load=load_digits,
        num_classes=10,
        size=16,
        mean=(0.3053,) * 3,
        std=(0.3754,) * 3,
        recipe="digits",
        model="preactresnet10",
        width=16,
        about="1,000 training and 797 test images of handwritten digits, embedded; nothing to fetch",
    ),
    "cifar100": _cifar("CIFAR100", 100),
    "cifar10": _cifar("CIFAR10", 10),
}


def get(name: str) -> Dataset:
    """The entry called ``name``; ``hf:NAME`` is any image-classification dataset of the Hugging Face hub."""
    if name.startswith("hf:"):
        from .hub import hub_dataset

        return hub_dataset(name.removeprefix("hf:"))
    return DATASETS[names.pick("dataset", name, DATASETS)]


def load(name: str, split: Split, folder: Path | None = None, fraction: float = 1.0, seed: int = 0) -> Images:
    """Images of a split in official order; of the training split only a fixed ``fraction`` per class."""
    images = get(name).load(split, folder or default_folder())
    return subset(images, fraction, name, seed) if split == "train" else images


def fetch(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Download a dataset and read it once; what was found."""
    entry, folder = get(name), folder or default_folder()
    if entry.fetch is not None:
        try:
            entry.fetch(folder)
        except (OSError, RuntimeError) as err:
            raise UsageError(f"cannot fetch {name} into {folder}: {err}") from None
    return {"dataset": name, "folder": str(folder)} | {s: len(load(name, s, folder)) for s in ("train", "test")}
