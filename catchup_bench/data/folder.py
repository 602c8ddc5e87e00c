"""Any folder of images, by ``--dataset folder:PATH`` and no code.

The images of a class lie in PATH/train/<class> and in PATH/test/<class> or PATH/val/<class>.
"""

from pathlib import Path

from ..data_sources import Split
from ..errors import UsageError
from .decode import decoded, opened, whole
from .imagenet import MEAN, STD
from .images import Dataset, Files, Images
from .listing import class_folders, class_names

SMALL = 96
"""Pixels of the longer side up to which images are shown as they are, all of one size, and kept in memory."""


def folder_dataset(path: str) -> Dataset:
    """The table's entry for a folder. A class is its place among the sorted names of the training folders.

    Pictures of more than ``SMALL`` pixels are shown at 224. Raises :class:`UsageError` when the splits do not have
    the same classes or an image cannot be read.
    """
    top = Path(path)
    classes = class_names(top / "train")
    width, height = opened(files("train", top, 224).path(0)).size
    small = max(width, height) <= SMALL
    if small and width != height:
        raise UsageError(f"folder:{path} has small images of {width}×{height} pixels: pad or crop them to squares")
    size = width if small else 224

    def load(split: Split, _: Path) -> Images | Files:
        listed = files(split, top, size)
        if small:
            return decoded(listed, whole)
        return listed if split == "train" else decoded(listed)

    return Dataset(
        load=load,
        num_classes=len(classes),
        class_names=lambda _: classes,
        size=size,
        mean=MEAN,
        std=STD,
        recipe="cifar100-quick" if small else "finegrained-quick",
        model="preactresnet18" if small else "resnet18",
        width=64,
        about=f"the images in {path}",
    )


def files(split: Split, top: Path, size: int) -> Files:
    """The images of a split, listed; ``test`` may be called ``val``."""
    part = top / split
    if split == "test" and not part.is_dir() and (top / "val").is_dir():
        part = top / "val"
    found = class_folders(part, class_names(top / "train"))
    return Files.of(part, [name for name, _ in found], [label for _, label in found], size)
