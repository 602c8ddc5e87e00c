"""Natural shifts: other images of classes that a network knows."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import data
from ..data.batches import batches
from ..data.images import Images
from ..data_sources import missing
from ..errors import UsageError, pick
from ..system.hardware import to_device
from . import ConditionResult, Context, Suite, fetch

SETS = {
    "imagenet": ("imagenet-a", "imagenet-r", "imagenet-sketch", "imagenet-v2"),
    "cifar10": ("cifar10.1",),
}
"""Dataset of a network → sets of other images of its classes, whose names they share."""


@dataclass(frozen=True, kw_only=True)
class Shift(Suite):
    """Top-1 on ImageNet-A (Hendrycks et al., CVPR 2021, arXiv 1907.07174), ImageNet-R (ICCV 2021, arXiv 2006.16241),
    ImageNet-Sketch (Wang et al., NeurIPS 2019, arXiv 1905.13549), ImageNetV2 (Recht et al., ICML 2019, arXiv
    1902.10811) and CIFAR-10.1 (Recht et al., arXiv 1806.00451).

    ``sets`` are those to take; ``auto`` stands for all of the dataset that are there. A set of some of the classes, as
    -A and -R of 200, is scored on the logits of these classes alone, as its authors do: the network has to choose among
    them. Images of classes that the network does not know are left out, and their number is stated. The bits are of the
    images of the set.
    """

    about = "natural shifts: ImageNet-A, -R, -Sketch, V2, CIFAR-10.1; classes masked as their authors do"
    cost = "1 forward of each set"

    sets: tuple[str, ...] = ("auto",)

    def __post_init__(self) -> None:
        if not self.sets or ("auto" in self.sets and len(self.sets) > 1):
            raise ValueError(f"sets = {self.sets} is not allowed: it takes auto, or names of sets")
        for name in self.sets:
            pick("set of shift", name, ["auto", *(name for names in SETS.values() for name in names)])

    def resolve(self, dataset: str, data_dir: Path) -> Self:
        if dataset not in SETS:
            raise UsageError(f"shift has no sets for {dataset}: it takes networks of {' and '.join(SETS)}")
        if self.sets != ("auto",):
            for name in self.sets:
                pick(f"set of shift for {dataset}", name, SETS[dataset])
            return self
        there = tuple(name for name in SETS[dataset] if not missing(name, data_dir))
        if not there:
            names = ", ".join(SETS[dataset])
            raise UsageError(
                f"shift: none of {names} is in {data_dir}; catchup-bench data where NAME says how to get it"
            )
        return replace(self, sets=there)

    def conditions(self) -> list[str]:
        return [f"shift-{name}" for name in self.sets]

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, "set": condition.removeprefix("shift-"), "logits": "of the set's classes"}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"sets": tuple(protocol["set"] for protocol in protocols)}

    def images_digest(self, context: Context, condition: str) -> str:
        """Return the SHA-256 of the digests of the test images, which say the classes, and of the set."""
        other = data.load(condition.removeprefix("shift-"), "test", context.data_dir)
        return hashlib.sha256(f"{context.images.digest()} {other.digest()}".encode()).hexdigest()

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        for condition in conditions:
            name = condition.removeprefix("shift-")
            images, outputs, left_out = known(context, name)
            values = {"classes": len(outputs), "images_of_unknown_classes": left_out, "other_images": True}
            yield condition, ConditionResult(right(context, images, outputs), values)

    def summary(self) -> dict[str, list[str]]:
        return {f"{condition} (logits of its classes)": [condition] for condition in self.conditions()}


def known(context: Context, name: str) -> tuple[Images, Tensor, int]:
    """Return the images of a set that are of classes of the network, labelled by their place among the outputs that
    stand for these classes; these outputs; and how many images are of other classes."""
    images = data.load(name, "test", context.data_dir)
    own, theirs = (data.get(of).class_names for of in (context.dataset, name))
    assert own is not None and theirs is not None
    output_of = {wnid: i for i, wnid in enumerate(own(context.data_dir))}
    names = theirs(context.data_dir)
    shared = [i for i, wnid in enumerate(names) if wnid in output_of]
    if not shared:
        raise UsageError(f"shift: no class of {name} is one of {context.dataset}")
    outputs = torch.tensor([output_of[names[i]] for i in shared])
    place = torch.full((len(names),), -1)
    place[torch.tensor(shared)] = torch.arange(len(shared))
    labels = place[images.y]
    rows = (labels >= 0).nonzero()[:, 0]
    taken = images if len(rows) == len(images) else images.take(rows)
    return replace(taken, y=labels[rows]), outputs, len(images) - len(rows)


def right(context: Context, images: Images, outputs: Tensor) -> Tensor:
    """Return whether the largest of the logits ``outputs`` is that of each image's class. Images of another size are
    resized to that of the test images (bilinear, antialiased)."""
    size, columns = tuple(context.images.x.shape[1:3]), to_device(outputs, context.device)
    bits = []
    for x, y, _ in batches(images, context.batch_size, context.device):
        if tuple(x.shape[2:]) != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        bits.append(context.forward(x).index_select(1, columns).argmax(1) == y)
    return fetch(bits)
