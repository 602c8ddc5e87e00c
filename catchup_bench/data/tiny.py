"""Tiny-ImageNet-200 as its archive unpacks. Its test images have no labels: the validation images are the test set."""

from pathlib import Path

from ..data_sources import SOURCES, Split, absent
from ..errors import UsageError
from .archives import unpack
from .decode import decoded, whole
from .images import Files, Images
from .listing import class_folders, lines

TOP = "tiny-imagenet-200"

MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def class_names(folder: Path) -> list[str]:
    """The WordNet ids of ``wnids.txt``, sorted: a class is its place among them, in both splits."""
    if (error := absent("tinyimagenet", folder)) is not None:
        raise error
    return sorted(lines(folder / TOP / "wnids.txt"))


def files(split: Split, folder: Path) -> Files:
    """The images of a split, listed. Raises :class:`UsageError` when files and lists do not agree."""
    wnids, top = class_names(folder), folder / TOP
    if split == "train":
        found = class_folders(top / "train", wnids)
        return Files.of(top, [f"train/{name}" for name in found.names], found.labels, 64)
    place = {wnid: label for label, wnid in enumerate(wnids)}
    names, labels = [], []
    for line in lines(top / "val" / "val_annotations.txt"):
        name, wnid = [*line.split("\t"), ""][:2]
        if wnid not in place:
            raise UsageError(f"{top / 'val' / 'val_annotations.txt'}: {name} is of {wnid!r}, which wnids.txt lacks")
        names.append(f"val/images/{name}")
        labels.append(place[wnid])
    return Files.of(top, names, labels, 64)


def load_tiny(split: Split, folder: Path) -> Images:
    """All images of a split; decoded once, and after that read from the cache."""
    return decoded(files(split, folder), whole)


def fetch_tiny(folder: Path) -> None:
    unpack(SOURCES["tinyimagenet"].obtain, MD5, folder, TOP)


def class_count(folder: Path) -> int:
    return len(class_names(folder))
