"""CIFAR-10 and CIFAR-100, through torchvision."""

from pathlib import Path

import torch

from ..data_sources import Split
from ..errors import UsageError
from .images import Images


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
    """Download through torchvision, which checks the MD5 before it unpacks."""
    from torchvision import datasets

    for train in (True, False):
        getattr(datasets, name)(str(folder), train=train, download=True)
