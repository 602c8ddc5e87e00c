"""ImageNet-C and Tiny-ImageNet-C as they are published: a folder per corruption, severity and class, of JPEG files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .. import corruptions
from ..data_sources import CORRUPTION_ARCHIVES, SOURCES, absent
from ..errors import UsageError
from .archives import unpack_parts
from .decode import decoded, whole
from .faults import counted
from .images import Files, Images, subset
from .listing import class_folders, class_names
from .notes import note_skipped

PICTURES = {"imagenet": ("ImageNet-C", 224), "tinyimagenet": ("Tiny-ImageNet-C", 64)}
"""Dataset → folder, and the side of its images in pixels."""

ARCHIVES = {
    "imagenet": (
        "2235448",
        {
            "noise": "e80562d7f6c3f8834afb1ecf27252745",
            "blur": "2d8e81fdd8e07fef67b9334fa635e45c",
            "weather": "33ffea4db4d93fe4a428c40a6ce0c25d",
            "digital": "89157860d7b10d5797849337ca2e5c03",
            "extra": "d492dfba5fc162d8ec2c3cd8ee672984",
        },
    ),
    "tinyimagenet": (
        "8206060",
        {
            "Tiny-ImageNet-C": "f9c9a9dbdc11469f0b850190f7ad8be1",
            "Tiny-ImageNet-C-extra": "0db0588d243cf403ef93449ec52b70eb",
        },
    ),
}
"""Dataset → record on Zenodo, and the MD5 of each of its archives, as pytorch-ood and TorchUncertainty have them."""


class CorruptedFolders:
    """The images of one dataset: TOP/<corruption>/<severity>/<wnid>/*.JPEG, or with the folder of the archive they came
    in (noise, blur, …) above the corruption's.

    They are shown as they are, without resizing or cropping. Labels are those of their folders. The images of
    ImageNet-C are those of the validation set in its order; Tiny-ImageNet-C's were cut from ImageNet anew, so they are
    other images than the validation set of Tiny-ImageNet (hendrycks/robustness issue 39). ``classes`` are the WordNet
    ids of the dataset; folders of others are left out.
    """

    def __init__(self, dataset: str, data_dir: Path, classes: Sequence[str]) -> None:
        name, self.size = PICTURES[dataset]
        self.folder, self.classes = data_dir / name, tuple(classes)
        self.listed: dict[tuple[str, int], Files] = {}

    def check(self, names: Sequence[str]) -> None:
        """Raise :class:`UsageError` unless all severities of ``names`` are there with images of every class."""
        faults = []
        for name in names:
            for severity in corruptions.SEVERITIES:
                try:
                    self.files(name, severity)
                except UsageError as err:
                    faults.append(str(err))
        if faults:
            raise UsageError(counted(faults, len(names) * len(corruptions.SEVERITIES), "folders"))

    def top(self, name: str) -> Path:
        """Return the folder of a corruption. Raises :class:`UsageError` when it is not there."""
        groups = [group for group, members in corruptions.GROUPS.items() if name in members]
        tops = [self.folder / name, *(self.folder / group / name for group in groups)]
        there = [top for top in tops if top.is_dir()]
        if not there:
            raise UsageError(
                f"{tops[0]} is missing: unpack the archive that holds it, or leave it out with corruption.types"
            )
        return there[0]

    def files(self, name: str, severity: int) -> Files:
        """List the images of a corruption at ``severity``. Raises :class:`UsageError` for one that is not there."""
        if (name, severity) not in self.listed:
            part = self.top(name) / str(severity)
            listing = class_folders(part, self.classes, may_have_others=True)
            note_skipped(part, listing.skipped)
            self.listed[name, severity] = Files.of(part, listing.names, listing.labels, self.size)
        return self.listed[name, severity]

    def images(self, name: str, severity: int, count: int, key: str) -> Images:
        """Return the images; ``count`` of them, the same number of every class, chosen by ``key``; all for 0."""
        files = self.files(name, severity)
        if count > len(files):
            raise UsageError(f"corruption.images = {count}: {self.folder.name} has {len(files)} images")
        return decoded(subset(files, count / len(files), key, 0) if count else files, whole)

    def digest(self, name: str, severity: int) -> str:
        """Return the SHA-256 of the names, sizes and labels of the images."""
        return hashlib.sha256(f"{self.folder.name} {self.files(name, severity).digest()}".encode()).hexdigest()


def fetch_folders(dataset: str, folder: Path) -> None:
    """Download and unpack the archives whose corruptions are not all there."""
    top = PICTURES[dataset][0]
    record, archives = ARCHIVES[dataset]
    for archive, md5 in archives.items():
        extra = archive.endswith("-extra")
        several = [group for group in CORRUPTION_ARCHIVES if (group == "extra") == extra]
        groups = [archive] if archive in CORRUPTION_ARCHIVES else several
        parts = {name: f"{group}/{name}" for group in groups for name in CORRUPTION_ARCHIVES[group]}
        unpack_parts(f"https://zenodo.org/records/{record}/files/{archive}.tar", md5, folder, top, parts)


def check_folders(dataset: str, folder: Path) -> dict[str, object]:
    """List all images. Raises :class:`UsageError` when a corruption, a severity, a class or an image of the whole set
    is missing. Images are not opened: there are millions."""
    source = SOURCES[f"{dataset}-c"]
    if (error := absent(f"{dataset}-c", folder)) is not None:
        raise error
    images = source.counts["test"]
    found = CorruptedFolders(dataset, folder, ())
    first = found.top(corruptions.NAMES[0]) / "1"
    found.classes = tuple(class_names(first))
    if len(found.classes) != source.classes:
        raise UsageError(f"{first} has {len(found.classes)} classes; the whole set has {source.classes}")
    found.check(corruptions.NAMES)
    for name in corruptions.NAMES:
        for severity in corruptions.SEVERITIES:
            if (count := len(found.files(name, severity))) != images:
                raise UsageError(
                    f"{found.top(name) / str(severity)} has {count:,} of {images:,} images: fetch it again"
                )
    return {
        "folder": str(found.folder),
        "corruptions": len(corruptions.NAMES),
        "images": images,
        "classes": source.classes,
    }
