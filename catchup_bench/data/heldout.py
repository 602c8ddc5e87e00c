"""A part of the training images in the place of the test images: what hyper-parameters are chosen on."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..data_sources import HELD_OUT, HELD_OUT_SHARE, Split
from ..errors import UsageError
from .table import Dataset

if TYPE_CHECKING:
    from .images import Files, Images


def heldout_dataset(name: str) -> Dataset:
    """Return the dataset ``name`` without its test images: its "test" images are a fixed fifth of the training images
    of each class, its training images are the others.

    The fifth is the same for every seed and ``--fraction``, and each image keeps its index in the official training
    split. Raises :class:`UsageError` for a dataset without training images.
    """
    from . import get

    whole = get(name)
    if "train" not in whole.splits or name.startswith(HELD_OUT):
        raise UsageError(f"{HELD_OUT}{name}: {name} has no training images of its own to hold out")

    def load(split: Split, folder: Path) -> "Images | Files":
        import torch

        from .images import Files, stream_key, subset

        images = whole.load("train", folder)
        held = subset(images, HELD_OUT_SHARE, HELD_OUT + stream_key(name, images), seed=0)
        if split == "train":
            return images.take((~torch.isin(images.index, held.index)).nonzero()[:, 0])
        if isinstance(held, Files):
            from .decode import decoded

            return decoded(held)
        return held

    about = f"{name} with a fixed fifth of its training images in the place of the test images"
    return replace(whole, load=load, fetch=None, located=None, about=about, splits=("train", "test"))
