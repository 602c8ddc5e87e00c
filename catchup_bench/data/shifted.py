"""Test sets that are shifted by nature, in their official layouts: other images of classes that a network knows."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from ..data_sources import SOURCES, Split, absent
from ..errors import UsageError
from ..robustbench_bridge import imagenet_wnids
from .archives import unpack
from .decode import decoded
from .imagenet import listing
from .images import Files, Images, as_images
from .listing import class_folders, class_names
from .notes import note_skipped

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CHECKSUMS = {
    "imagenet-a": "c3e55429088dc681f30d81f4726b6595",
    "imagenet-r": "a61312130a589d0ca1a8fca1f2bd3337",
    "imagenet-v2": "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
}
"""MD5 or SHA-256 of the archives: those of pytorch-ood and of TensorFlow Datasets, as their authors state none."""

CIFAR101_BLOBS = {
    "data": "24349cc5f3fb59648d75cd8015b5a184b1f5c250",
    "labels": "e713b09cecf2ecd933970001909fcdec7c907ab0",
}
"""What git calls the contents of the two files of CIFAR-10.1 v6 (modestyachts/CIFAR-10.1, d9982ab)."""


def only_test(name: str, split: Split, folder: Path) -> Path:
    """Return where the set lies. Raises :class:`UsageError` when it is not there, and for the training split."""
    if split == "train":
        raise UsageError(f"{name} has no training images: it is for the suite shift")
    if (error := absent(name, folder)) is not None:
        raise error
    return folder / Path(SOURCES[name].needs[0]).parts[0]


def load_folders(name: str, split: Split, folder: Path) -> Images:
    """Load TOP/<wnid>/*: ImageNet-A, ImageNet-R (200 classes each) and ImageNet-Sketch (1,000)."""
    top = only_test(name, split, folder)
    return decoded(listing(top, class_names(top)))


def classes_of_folders(name: str, folder: Path) -> list[str]:
    """Return the WordNet ids that have a folder, sorted."""
    return class_names(only_test(name, "test", folder))


def load_v2(split: Split, folder: Path) -> Images:
    """Load ImageNetV2: TOP/<number>/*, numbers from 0 being places in the sorted list of WordNet ids. As text they sort
    otherwise (1, 10, 100, 2), which is a known fault of readers of folders."""
    top = only_test("imagenet-v2", split, folder)
    numbers = v2_numbers(top)
    listed = class_folders(top, [str(n) for n in numbers])
    note_skipped(top, listed.skipped)
    return decoded(Files.of(top, listed.names, listed.labels, 224))


def classes_v2(folder: Path) -> list[str]:
    wnids = imagenet_wnids()
    return [wnids[n] for n in v2_numbers(only_test("imagenet-v2", "test", folder))]


def v2_numbers(top: Path) -> list[int]:
    """Return the classes that have a folder, in the order of the numbers. Raises :class:`UsageError` for a folder that
    is called otherwise."""
    names = class_names(top)
    if bad := [name for name in names if not (name.isdecimal() and name.isascii() and int(name) < 1000)]:
        raise UsageError(f"{top / bad[0]} is no class of ImageNetV2, whose folders are called 0 to 999")
    return sorted(map(int, names))


def load_cifar101(split: Split, folder: Path) -> Images:
    """Load CIFAR-10.1 v6: two arrays, uint8 (N, 32, 32, 3) and labels."""
    top = only_test("cifar10.1", split, folder)
    try:
        x = np.load(top / "cifar10.1_v6_data.npy", allow_pickle=False)
        y = np.load(top / "cifar10.1_v6_labels.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as err:
        raise UsageError(f"{top} holds no arrays of CIFAR-10.1 v6: {str(err).splitlines()[0]}") from None
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (32, 32, 3) or y.shape != (len(x),):
        raise UsageError(f"{top} holds arrays of shapes {x.shape} and {y.shape}; they must be (N, 32, 32, 3) and (N,)")
    return as_images(torch.from_numpy(x), y.astype(np.int64).tolist(), 10, "cifar10.1")


def classes_of_cifar10(folder: Path) -> list[str]:
    return list(CIFAR_CLASSES)


def fetch_archive(name: str, folder: Path) -> None:
    unpack(SOURCES[name].obtain, CHECKSUMS[name], folder, Path(SOURCES[name].needs[0]).parts[0])


def fetch_cifar101(folder: Path) -> None:
    """Download the two arrays. Raises :class:`UsageError` for others, and leaves none of these."""
    from torchvision.datasets.utils import download_url

    for part, blob in CIFAR101_BLOBS.items():
        path = folder / "cifar10.1" / f"cifar10.1_v6_{part}.npy"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as beside:
            url = f"https://github.com/modestyachts/CIFAR-10.1/raw/master/datasets/{path.name}"
            download_url(url, beside, path.name)
            made = Path(beside) / path.name
            if git_blob(made.read_bytes()) != blob:
                raise UsageError(f"{url} is not the published file")
            os.replace(made, path)


def git_blob(content: bytes) -> str:
    """Return the name that git gives a file's content, a SHA-1."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
