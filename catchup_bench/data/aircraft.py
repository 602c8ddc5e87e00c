"""FGVC-Aircraft (Maji et al., arXiv 1306.5151): 100 variants; training and validation images train."""

from pathlib import Path

from ..data_sources import SOURCES, Split, absent
from ..errors import UsageError
from .archives import unpack
from .decode import decoded
from .images import Files, Images
from .listing import lines

TOP = "fgvc-aircraft-2013b"

MD5 = "d4acdd33327262359767eeaa97a4f732"


def variants(folder: Path) -> list[str]:
    if (error := absent("aircraft", folder)) is not None:
        raise error
    return lines(folder / TOP / "data" / "variants.txt")


def files(split: Split, folder: Path) -> Files:
    """The images of a split, listed. Raises :class:`UsageError` when files and lists do not agree."""
    place = {variant: label for label, variant in enumerate(variants(folder))}
    top = folder / TOP / "data"
    path = top / f"images_variant_{'trainval' if split == 'train' else 'test'}.txt"
    names, labels = [], []
    for line in lines(path):
        name, _, variant = line.partition(" ")
        if variant not in place:
            raise UsageError(f"{path}: {name} is of {variant!r}, which variants.txt lacks")
        names.append(f"images/{name}.jpg")
        labels.append(place[variant])
    return Files.of(top, names, labels, 224)


def load_aircraft(split: Split, folder: Path) -> Images | Files:
    """The pictures as they are, with the line at their lower edge that names the photographer."""
    found = files(split, folder)
    return found if split == "train" else decoded(found)


def fetch_aircraft(folder: Path) -> None:
    unpack(SOURCES["aircraft"].obtain, MD5, folder, TOP)


def class_count(folder: Path) -> int:
    return len(variants(folder))
