"""Caltech-UCSD Birds-200-2011 (Wah et al., CNS-TR-2011-001), with its official split and bounding boxes."""

from pathlib import Path

import torch
from torch import Tensor

from ..data_sources import SOURCES, Split, absent
from ..errors import UsageError
from .archives import unpack
from .decode import decoded, sizes, stretched
from .images import Files, Images, Located
from .listing import lines

TOP = "CUB_200_2011"

MD5 = "97eceeb196236b17998738112f37df78"


def table(path: Path, count: int) -> dict[int, list[str]]:
    """Read a table: image id → the ``count`` words after it. Raises :class:`UsageError` naming the line that is not
    so."""
    rows = {}
    for number, line in enumerate(lines(path), 1):
        words = line.split()
        if len(words) != count + 1 or not words[0].isdecimal():
            raise UsageError(f"{path}, line {number}: {line!r} is not an id and {count} value(s)")
        rows[int(words[0])] = words[1:]
    return rows


def class_count(folder: Path) -> int:
    if (error := absent("cub", folder)) is not None:
        raise error
    return len(lines(folder / TOP / "classes.txt"))


def ids(split: Split, folder: Path) -> list[int]:
    """Return the image ids of a split, in official order."""
    wanted = "1" if split == "train" else "0"
    return [i for i, (used,) in table(folder / TOP / "train_test_split.txt", 1).items() if used == wanted]


def files(split: Split, folder: Path) -> Files:
    """List the images of a split. Raises :class:`UsageError` when files and lists do not agree."""
    classes, top = class_count(folder), folder / TOP
    paths, labels = table(top / "images.txt", 1), table(top / "image_class_labels.txt", 1)
    chosen = ids(split, folder)
    names, y = [], []
    for i in chosen:
        if i not in paths or i not in labels:
            raise UsageError(f"{top}: image {i} is in train_test_split.txt and not in the other lists")
        (label,) = labels[i]
        if not label.isdecimal() or not 1 <= int(label) <= classes:
            raise UsageError(
                f"{top / 'image_class_labels.txt'}: image {i} is of class {label}; there are 1 to {classes}"
            )
        names.append(f"images/{paths[i][0]}")
        y.append(int(label) - 1)
    return Files.of(top, names, y, 224)


def boxes(split: Split, folder: Path) -> Tensor:
    """Read the boxes, float32 N×4: left, top, width and height of the bird in each image of the split, in pixels of the
    picture in its file, the first pixel being 1 (the official convention). Raises :class:`UsageError` when one is
    missing."""
    rows = table(folder / TOP / "bounding_boxes.txt", 4)
    try:
        return torch.tensor([[float(word) for word in rows[i]] for i in ids(split, folder)])
    except (KeyError, ValueError) as err:
        raise UsageError(f"{folder / TOP / 'bounding_boxes.txt'} has no box for {err}") from None


def load_cub(split: Split, folder: Path) -> Images | Files:
    listing = files(split, folder)
    return listing if split == "train" else decoded(listing)


def located(split: Split, folder: Path) -> Located:
    """Return the pictures of a split resized to 224×224 pixels, whole, and their boxes clipped to them. Raises as
    :func:`files` and :func:`boxes` do."""
    listing, given = files(split, folder), boxes(split, folder)
    size = sizes(listing)
    corners = torch.cat([given[:, :2] - 1, given[:, :2] - 1 + given[:, 2:]], 1)
    scaled = corners * (listing.size / size).repeat(1, 2)
    return Located(decoded(listing, stretched), scaled.clamp(0, listing.size))


def fetch_cub(folder: Path) -> None:
    unpack(SOURCES["cub"].obtain, MD5, folder, TOP)
