"""What lies in a folder of images: one sub-folder per class, and the text files beside them.

A class is its name, not how a file system spells it: names are compared in Unicode's composed form (NFC).
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from .decode import endings
from .notes import LINKED_AGAIN

HIDDEN = ("__MACOSX", "@eaDir")
"""Folders beside those with a dot that are nobody's pictures: of macOS's archives and of Synology's thumbnails."""


def lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty. Raises :class:`UsageError` when there is none."""
    try:
        kept = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"cannot read {path}: {err}") from None
    if not kept:
        raise UsageError(f"{path} is empty: fetch or unpack the dataset again")
    return kept


@dataclass
class Listing:
    """Images, as paths below a folder, their classes, and how many files of which kind were left out."""

    names: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def hidden(name: str) -> bool:
    return name.startswith(".") or name in HIDDEN


def class_spellings(folder: Path) -> dict[str, list[str]]:
    """Return class → names of its sub-folders, in sorted order. Raises :class:`UsageError` when there is none."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not hidden(entry.name))
    except OSError as err:
        raise UsageError(f"cannot read the folder {folder}: {err.strerror}") from None
    if not names:
        raise UsageError(f"{folder} has no class folders: it must hold one folder of images per class")
    by_form: dict[str, list[str]] = {}
    for name in sorted(names, key=composed):
        by_form.setdefault(composed(name), []).append(name)
    return by_form


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def class_names(folder: Path) -> list[str]:
    """Return the names of the classes, sorted. Raises :class:`UsageError` when there is none."""
    return list(class_spellings(folder))


def class_folders(
    folder: Path, classes: Sequence[str], may_lack: bool = False, hint: str = "", may_have_others: bool = False
) -> Listing:
    """Return every image in the sub-folders called ``classes``, in sorted order.

    Links are followed, each folder once. Raises :class:`UsageError` for a class folder that is of no known class, which
    is left out if the folder ``may_have_others``, and, unless ``may_lack``, for one that is missing or without an
    image; ``hint`` says then what to do.
    """
    spelt, wanted = class_spellings(folder), {composed(name) for name in classes}
    lost = sorted(wanted - spelt.keys())
    if lost and not may_lack:
        raise UsageError(f"{folder} lacks the class folder {lost[0]} ({len(lost)} of {len(wanted)} are missing){hint}")
    if may_have_others:
        spelt = {name: names for name, names in spelt.items() if name in wanted}
    if strange := sorted(spelt.keys() - wanted):
        raise UsageError(f"{folder} has the folder {strange[0]}, which is no class ({len(strange)} such folders)")
    result, known, empty = Listing(), endings(), []
    result.skipped += Counter(kind(entry.name) for entry in os.scandir(folder) if not entry.is_dir())
    result.skipped["hidden"] += sum(files_below(e.path) for e in os.scandir(folder) if e.is_dir() and hidden(e.name))
    seen: dict[tuple[int, int], str] = {}
    for name in (name for names in spelt.values() for name in names):
        if (other := seen.setdefault(_identity(folder / name), name)) != name:
            raise UsageError(f"{folder / name} and {folder / other} are one folder: a class needs images of its own")
    walks = [(label, names, _Walk(seen)) for label, c in enumerate(classes) if (names := spelt.get(composed(c)))]
    for _, names, walk in walks:
        walk.enter([str(folder / name) for name in names])
    for label, names, walk in walks:
        walk.follow_links()
        inside = [(path[len(f"{folder}{os.sep}") :], kind(path)) for path in walk.files]
        result.skipped += Counter(what for _, what in inside if what not in known) + walk.skipped
        images = sorted((file for file, what in inside if what in known), key=composed)
        empty += [] if images else [names[0]]
        result.names += images
        result.labels += [label] * len(images)
    if empty and not (may_lack and result.names):
        count = f" ({len(empty)} of {len(wanted)} classes have none)" if len(empty) > 1 else ""
        raise UsageError(f"{folder / empty[0]} holds no image: every class needs some{count}{hint}")
    return result


def kind(name: str) -> str:
    """Return what a file is counted as: ``hidden``, its ending in lower case, or ``without ending``."""
    name = os.path.basename(name)
    return "hidden" if hidden(name) else os.path.splitext(name)[1].lower() or "without ending"


def files_below(folder: str) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


class _Walk:
    """The files below some folders. Folders that are really there come before linked ones, so that what two ways lead
    to is detected on the real one; ``seen`` holds what was entered by any walk, and from where."""

    def __init__(self, seen: dict[tuple[int, int], str]) -> None:
        self.seen = seen
        self.files: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.links: list[str] = []

    def enter(self, tops: Sequence[str]) -> None:
        for top in tops:
            for at, folders, files in os.walk(top, onerror=_unreadable):
                self.files += [os.path.join(at, file) for file in files]
                self.skipped["hidden"] += sum(files_below(os.path.join(at, name)) for name in folders if hidden(name))
                shown = sorted(name for name in folders if not hidden(name))
                real = [name for name in shown if not os.path.islink(os.path.join(at, name))]
                self.links += [os.path.join(at, name) for name in shown if name not in real]
                folders[:] = [name for name in real if self.is_new(os.path.join(at, name))]

    def follow_links(self) -> None:
        while self.links:
            if self.is_new(link := self.links.pop(0)):
                self.enter([link])

    def is_new(self, path: str) -> bool:
        new = self.seen.setdefault(_identity(Path(path)), path) == path
        self.skipped[LINKED_AGAIN] += not new
        return new


def _unreadable(err: OSError) -> None:
    raise UsageError(f"cannot read the folder {err.filename}: {err.strerror}")


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino
