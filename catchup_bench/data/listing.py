"""What lies in a folder of images: one sub-folder per class, and the text files beside them."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty. Raises :class:`UsageError` when there is none."""
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"cannot read {path}: {err}") from None
    if not found:
        raise UsageError(f"{path} is empty: fetch or unpack the dataset again")
    return found


def class_names(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted. Raises :class:`UsageError` when there is none."""
    try:
        found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as err:
        raise UsageError(f"cannot read the folder {folder}: {err.strerror}") from None
    if not found:
        raise UsageError(f"{folder} has no class folders: it must hold one folder of images per class")
    return found


def class_folders(folder: Path, classes: Sequence[str]) -> list[tuple[str, int]]:
    """(path below ``folder``, class) of every image in the sub-folders called ``classes``, in sorted order.

    Raises :class:`UsageError` for a class folder that is missing, empty, or of no known class.
    """
    there, wanted = set(class_names(folder)), set(classes)
    if lost := sorted(wanted - there):
        raise UsageError(f"{folder} lacks the class folder {lost[0]} ({len(lost)} of {len(wanted)} are missing)")
    if strange := sorted(there - wanted):
        raise UsageError(f"{folder} has the folder {strange[0]}, which is no class ({len(strange)} such folders)")
    found = []
    for label, name in enumerate(classes):
        inside = sorted(
            os.path.relpath(os.path.join(at, file), folder)
            for at, _, files in os.walk(folder / name)
            for file in files
            if file.lower().endswith(ENDINGS)
        )
        if not inside:
            raise UsageError(f"{folder / name} holds no image: every class needs some")
        found += [(file, label) for file in inside]
    return found
