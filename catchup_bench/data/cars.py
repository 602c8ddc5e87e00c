"""Stanford Cars (Krause et al., 2013) in the layout that torchvision reads."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..data_sources import Split, absent
from ..errors import UsageError
from .decode import decoded
from .images import Files, Images

TOP = "stanford_cars"

LARGEST = 2**24
"""Bytes that a MATLAB file may have and may expand to: 8,144 boxes, labels and names take 3 MB."""

COMPRESSED = 15


def expanded(content: bytes) -> int:
    """Bytes that the compressed elements of a MATLAB 5 file expand to; counted up to a little more than ``LARGEST``."""
    order = "<" if content[126:128] == b"IM" else ">"
    at, total = 128, 0
    while at + 8 <= len(content) and total <= LARGEST:
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind == COMPRESSED:
            total += len(zlib.decompressobj().decompress(content[at + 8 : at + 8 + size], LARGEST + 1))
        at += 8 + size
    return total


def matlab(path: Path, key: str) -> Any:
    """One array of a MATLAB file. Raises :class:`UsageError` when it is damaged or another file."""
    from scipy.io import loadmat

    try:
        if path.stat().st_size > LARGEST or expanded(path.read_bytes()) > LARGEST:
            raise ValueError("too large")
        return np.atleast_1d(loadmat(path, squeeze_me=True)[key])
    except Exception as err:  # the reader raises many kinds on damaged bytes
        raise UsageError(f"cannot read {key} in {path} ({type(err).__name__}): it is not the official file") from None


def class_count(folder: Path) -> int:
    if (error := absent("cars", folder)) is not None:
        raise error
    return len(matlab(folder / TOP / "devkit" / "cars_meta.mat", "class_names"))


def files(split: Split, folder: Path) -> Files:
    """The images of a split, listed. Raises :class:`UsageError` when files and lists do not agree."""
    classes, top = class_count(folder), folder / TOP
    path = top / ("devkit/cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat")
    rows = matlab(path, "annotations")
    if not {"fname", "class"} <= set(rows.dtype.names or ()):
        raise UsageError(f"{path} has no labels: the test file must be the one that is called withlabels")
    labels = [int(c) - 1 for c in rows["class"]]
    if any(not 0 <= label < classes for label in labels):
        raise UsageError(f"{path} has classes {min(labels) + 1} to {max(labels) + 1}; cars_meta.mat has 1 to {classes}")
    return Files.of(top, [f"cars_{split}/{name}" for name in rows["fname"]], labels, 224)


def load_cars(split: Split, folder: Path) -> Images | Files:
    found = files(split, folder)
    return found if split == "train" else decoded(found)
