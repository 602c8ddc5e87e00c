"""Any image-classification dataset that the ``datasets`` library reads, by ``--dataset hf:NAME`` and no code.

NAME is a dataset of the Hugging Face hub or a local folder in a layout that the library knows (one sub-folder of
images per class and split, parquet files, …). Where it has several columns of images or of class labels,
``hf:NAME?label=COLUMN&image=COLUMN`` says which. Pictures are decoded by :mod:`catchup_bench.data.decode`, as those
of any other dataset.
"""

from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import torch

from ..data_sources import SPLIT_NAMES, Split, parse
from ..errors import UsageError
from ..system.hub import quiet
from .decode import decoding, open_picture
from .images import Images, check_labels, check_size
from .notes import note
from .table import Dataset

COLUMNS: dict[str, tuple[str, ...]] = {"label": (), "image": ()}
"""Options of an ``hf:`` name: which column; any name."""


def hub_dataset(text: str) -> Dataset:
    """Return the table's entry for ``text``; its images must all have one size, since they are kept in memory as one
    tensor.

    Raises :class:`UsageError` when it cannot be loaded, when its column of images or of class labels is missing or not
    the only one, and when no split has labels.
    """
    hub = _Hub(text)
    split = hub.splits[0]
    first = hub.picture(split, 0)
    check_size(first.width, first.height, hub.name)
    return Dataset(
        load=lambda split, folder: hub.images(split),
        num_classes=hub.part(split).features[hub.label].num_classes,
        class_names=lambda _: list(hub.part(split).features[hub.label].names),
        size=first.height,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        recipe="cifar100-quick",
        model="preactresnet18",
        width=64,
        about=f"{text}, read by the datasets library",
        splits=hub.splits,
    )


@cache
def _open(path: str) -> Any:
    import datasets

    if not path:
        raise UsageError("hf: needs a name: hf:NAME of the hub, or hf:PATH of a local folder")
    try:
        with quiet():
            return datasets.load_dataset(path)
    except Exception as err:  # the library raises many kinds, of its own and of its dependencies
        first = next(iter(str(err).splitlines()), "")
        raise UsageError(f"cannot load hf:{path}: {type(err).__name__}: {first}") from None


class _Hub:
    """The splits of a dataset that have labels, and which columns are read."""

    def __init__(self, text: str) -> None:
        path, self.options = parse(text, "hf:", COLUMNS)
        self.name, self.whole = f"hf:{text}", _open(path)
        anything = next(iter(self.whole.values()))
        self.label = self.column(anything, "label", "ClassLabel")
        self.image = self.column(anything, "image", "Image")
        chosen = {split: self.labelled(split) for split in SPLIT_NAMES}
        self.chosen: dict[Split, str] = {split: name for split, name in chosen.items() if name is not None}
        if not self.chosen:
            raise UsageError(f"{self.name} has no images with labels to train or test on: it has {self.whole_names}")
        self.splits: tuple[Split, ...] = tuple(self.chosen)

    @property
    def whole_names(self) -> str:
        return ", ".join(self.whole)

    def column(self, part: Any, option: str, kind: str) -> str:
        """Return the column of a kind: the one that was asked for, or the only one."""
        there = [str(name) for name, feature in part.features.items() if type(feature).__name__ == kind]
        if not there:
            raise UsageError(f"{self.name} has no column of type {kind}: it has {part.features}")
        wanted = self.options.get(option, there[0])
        if wanted not in there:
            raise UsageError(f"{self.name} has no column {wanted} of type {kind}: it has {', '.join(there)}")
        if len(there) > 1 and option not in self.options:
            way = f"{self.name}{'&' if self.options else '?'}{option}={wanted}"
            raise UsageError(f"{self.name} has the {option} columns {', '.join(there)}: say which, as in {way}")
        return wanted

    def labelled(self, split: Split) -> str | None:
        """Return the first split of the names of ``split`` in which any image has a label."""
        there = [name for name in SPLIT_NAMES[split] if name in self.whole]
        labelled = next((name for name in there if self.any_label(name)), None)
        if labelled is not None and labelled != there[0]:
            note(f"{split} of {self.name}", f"{self.name}: {there[0]} has no labels, {labelled} is the {split} set")
        return labelled

    def any_label(self, name: str) -> bool:
        return any(label is not None and label >= 0 for label in self.labels(name))

    def labels(self, name: str) -> list[int | None]:
        return list(self.whole[name].select_columns([self.label])[:][self.label])

    def part(self, split: Split) -> Any:
        if split not in self.chosen:
            raise UsageError(
                f"{self.name} has no {split} split with labels, called {' or '.join(SPLIT_NAMES[split])}: "
                f"it has {self.whole_names}"
            )
        return self.whole[self.chosen[split]]

    def picture(self, split: Split, row: int) -> Any:
        return self.decode(self.encoded(split)[row], f"image {row} of {self.name}")

    def encoded(self, split: Split) -> Any:
        import datasets

        return self.part(split).cast_column(self.image, datasets.Image(decode=False))[self.image]

    def decode(self, value: dict[str, Any] | None, name: str) -> Any:
        """Return a picture of the library, its bytes or a file, in RGB."""
        with decoding(name):
            if value is None:
                raise ValueError("there is none")
            if value["bytes"] is not None:
                return open_picture(BytesIO(value["bytes"]), name, upright=True)
            from datasets.utils.file_utils import xopen

            with xopen(value["path"], "rb") as file:
                return open_picture(BytesIO(file.read()), name, upright=True)

    def images(self, split: Split) -> Images:
        """Return a split. Raises :class:`UsageError` for images without a label and for several sizes."""
        part = self.part(split)
        labels = [-1 if label is None else label for label in self.labels(self.chosen[split])]
        y = torch.tensor(labels, dtype=torch.int64)
        check_labels(y, part.features[self.label].num_classes, f"{self.name}, {self.chosen[split]},")
        pixels = [
            np.asarray(self.decode(value, f"image {row} of {self.name}"))
            for row, value in enumerate(self.encoded(split))
        ]
        if len({p.shape for p in pixels}) != 1:
            raise UsageError(f"{self.name} has images of several sizes: resize them to one first")
        return Images(torch.from_numpy(np.stack(pixels)), y, torch.arange(len(pixels)))
