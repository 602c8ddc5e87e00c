"""ImageNet-C and Tiny-ImageNet-C as they are published: a folder per corruption, severity and class, of JPEG files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .. import corruptions
from ..errors import UsageError
from .decode import decoded, whole
from .faults import counted
from .images import Files, Images, subset
from .listing import class_folders
from .notes import note_skipped

PICTURES = {"imagenet": ("ImageNet-C", 224), "tinyimagenet": ("Tiny-ImageNet-C", 64)}
"""Dataset → folder, and the side of its images in pixels."""


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

    def files(self, name: str, severity: int) -> Files:
        """List the images of a corruption at ``severity``. Raises :class:`UsageError` for one that is not there."""
        if (name, severity) not in self.listed:
            groups = [group for group, members in corruptions.GROUPS.items() if name in members]
            tops = [self.folder / name, *(self.folder / group / name for group in groups)]
            there = [top for top in tops if top.is_dir()]
            if not there:
                raise UsageError(
                    f"{tops[0]} is missing: unpack the archive that holds it, or leave it out with corruption.types"
                )
            part = there[0] / str(severity)
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
