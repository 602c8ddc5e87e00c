"""ImageNet-1k and ImageNet-O: one folder of images per class."""

from pathlib import Path

from ..data_sources import SOURCES, Split, absent
from ..errors import UsageError
from .archives import unpack
from .decode import decoded
from .images import Files, Images
from .listing import class_folders, class_names
from .notes import note_skipped

O_MD5 = "86bd7a50c1c4074fb18fc5f219d6d50b"


def classes(folder: Path) -> list[str]:
    """The WordNet ids that have a training folder, sorted."""
    if (error := absent("imagenet", folder)) is not None:
        raise error
    return class_names(folder / "imagenet" / "train")


def load_imagenet(split: Split, folder: Path) -> Images | Files:
    """``imagenet/train/<wnid>`` and ``imagenet/val/<wnid>``; the validation images are the test set.

    Raises :class:`UsageError` when the two do not have the same classes.
    """
    top = folder / "imagenet" / ("train" if split == "train" else "val")
    listed = listing(top, classes(folder))
    return listed if split == "train" else decoded(listed)


def listing(top: Path, classes: list[str]) -> Files:
    """Return the images in the class folders of ``top``, listed."""
    found = class_folders(top, classes)
    note_skipped(top, found.skipped)
    return Files.of(top, found.names, found.labels, 224)


def unpack_imagenet(folder: Path) -> None:
    """Unpack the official archives through torchvision, which checks their MD5 and sorts the validation images."""
    from torchvision.datasets import ImageNet
    from torchvision.datasets.imagenet import parse_devkit_archive

    if absent("imagenet", folder) is None:
        return
    if not (folder / "imagenet").is_dir():
        raise UsageError(f"ImageNet cannot be downloaded without an account: {SOURCES['imagenet'].obtain}")
    parse_devkit_archive(str(folder / "imagenet"))  # torchvision would load any meta.bin that lies there already
    for split in ("train", "val"):
        ImageNet(str(folder / "imagenet"), split)


def load_imagenet_o(split: Split, folder: Path) -> Images:
    """``imagenet-o/<wnid>``: images of classes that ImageNet lacks, in folders of what they are taken for
    (Hendrycks et al., CVPR 2021). Raises :class:`UsageError` for the training split, which it does not have."""
    if split == "train":
        raise UsageError("imagenet-o has no training images: it is for --ood imagenet-o")
    if (error := absent("imagenet-o", folder)) is not None:
        raise error
    top = folder / "imagenet-o"
    return decoded(listing(top, class_names(top)))


def class_count(folder: Path) -> int:
    return len(classes(folder))


def classes_o(folder: Path) -> list[str]:
    """The WordNet ids of what the images of ImageNet-O are taken for, sorted."""
    return class_names(folder / "imagenet-o")


def fetch_imagenet_o(folder: Path) -> None:
    unpack(SOURCES["imagenet-o"].obtain, O_MD5, folder, "imagenet-o")
