"""Any folder of images, by ``--dataset folder:PATH`` and no code.

The images of a class lie in PATH/train/<class> and in PATH/test/<class>; ``test`` may have another of the names in
``sources.SPLIT_NAMES``, and ``train`` may be left out where nothing is trained. A class without test images is an
error unless the name ends with ``?untested=allowed``.
"""

from pathlib import Path

from ..data_sources import FOLDER_OPTIONS, SPLIT_NAMES, Split, parse
from ..errors import UsageError
from .decode import decoded, opened, whole
from .images import Files, Images, check_size
from .listing import Listing, class_folders, class_names, hidden
from .notes import note, note_skipped
from .table import IMAGENET_MEAN, IMAGENET_STD, Dataset

SMALL = 96
"""Pixels of the longer side up to which images are shown as they are, all of one size, and kept in memory."""


def folder_dataset(path: str) -> Dataset:
    """Return the table's entry for a folder. A class is its place among the sorted names of the training folders, or of
    the test folders where there are no others.

    Pictures of more than ``SMALL`` pixels are shown at 224. Raises :class:`UsageError` when the splits do not have
    the same classes or an image cannot be read.
    """
    top, options = parse(path, "folder:", FOLDER_OPTIONS)
    folder = _Folder(Path(top), bool(options))
    first = folder.files("train" if "train" in folder.splits else "test", 224)
    width, height = opened(first.path(0), upright=True).size
    check_size(width, height, f"folder:{path}")
    small = max(width, height) <= SMALL
    if small and width != height:
        raise UsageError(f"folder:{path} has small images of {width}×{height} pixels: pad or crop them to squares")
    size = width if small else 224

    def load(split: Split, _: Path) -> Images | Files:
        listed = folder.files(split, size)
        if small:
            return decoded(listed, whole)
        return listed if split == "train" else decoded(listed)

    return Dataset(
        load=load,
        num_classes=len(folder.classes),
        class_names=lambda _: folder.classes,
        size=size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe="cifar100-quick" if small else "finegrained-quick",
        model="preactresnet18" if small else "resnet18",
        width=64,
        about=f"the images in {path}",
        splits=folder.splits,
    )


class _Folder:
    """The splits that a folder holds and the names of its classes."""

    def __init__(self, top: Path, untested_allowed: bool) -> None:
        self.top, self.untested_allowed = top, untested_allowed
        self.parts: dict[Split, Path] = {}
        for split, names in SPLIT_NAMES.items():
            there = [top / name for name in names if (top / name).is_dir()]
            labelled = [part for part in there if _has_class_folders(part)]
            if there:
                self.parts[split] = (labelled or there)[0]
            if labelled and labelled[0] != there[0]:
                note(f"{split} of {top}", f"{there[0]} has no class folders: {labelled[0]} is the {split} set")
        if not self.parts:
            wanted = " and ".join("/".join(names) for names in SPLIT_NAMES.values())
            raise UsageError(f"{top} has no images to train or test on: it must hold the folders {wanted}")
        self.splits: tuple[Split, ...] = tuple(self.parts)
        self.classes = class_names(self.parts[self.splits[0]])

    def files(self, split: Split, size: int) -> Files:
        """Return the images of a split, listed."""
        if split not in self.parts:
            names = ", ".join(SPLIT_NAMES[split])
            raise UsageError(f"{self.top} has no {split} images: they must lie in a folder called {names}")
        part, test = self.parts[split], split == "test"
        allowed = test and self.untested_allowed
        hint = f"; to allow that, write folder:{self.top}?untested=allowed" if test else ""
        found = class_folders(part, self.classes, may_lack=allowed, hint=hint)
        note_skipped(part, found.skipped)
        if allowed:
            self.note_untested(found)
        return Files.of(part, found.names, found.labels, size, upright=True)

    def note_untested(self, found: Listing) -> None:
        tested = set(found.labels)
        lost = [name for label, name in enumerate(self.classes) if label not in tested]
        if lost:
            count = f"{len(lost)} of {len(self.classes)} classes have no test image"
            note(f"untested in {self.top}", f"{self.top}: {count}: {', '.join(lost)}")


def _has_class_folders(part: Path) -> bool:
    return any(entry.is_dir() and not hidden(entry.name) for entry in part.iterdir())
