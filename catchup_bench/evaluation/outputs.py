"""Which outputs of an external network stand for the classes of a dataset."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import data
from ..data.listing import composed
from ..errors import UsageError
from ..robustbench_bridge import imagenet_wnids
from ..runs.external import listed

HOW = (
    "say with --classes FILE which outputs they are: a line per class with the index of its output, counted from 0, or "
    "a line per output with the name of its class"
)


class SelectedOutputs(nn.Module):
    """A network's logits for some of its outputs, B×K in the order of ``outputs``, as if it had no others."""

    outputs: Tensor

    def __init__(self, net: nn.Module, outputs: list[int]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("outputs", torch.tensor(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).index_select(1, self.outputs)


def classes_of(dataset: data.Dataset, data_dir: Path | None) -> tuple[int, list[str] | None]:
    """Return how many classes of ``dataset`` are there, and their names where they have some."""
    if dataset.class_names is None:
        return dataset.count_classes(data_dir), None
    names = dataset.class_names(data_dir or data.default_folder())
    return len(names), names


def choose_outputs(
    count: int, dataset: data.Dataset, data_dir: Path | None, file: Path | None, of_imagenet: bool, what: str
) -> tuple[list[int], str]:
    """Return the output of each class of ``dataset``, of a network with ``count`` outputs, and how they were chosen:
    ``""`` when output i is class i of as many.

    A network ``of_imagenet`` with 1,000 outputs has them in the order of the WordNet ids, so they are known for a
    dataset whose classes have such names (ImageNet's authors' order; a part of it is scored as Hendrycks et al. score
    ImageNet-A and -R: the logits of its classes alone). Raises :class:`UsageError` when they are not known, and for a
    ``file`` (see :data:`HOW`) that does not give one output to each class.
    """
    classes, names = classes_of(dataset, data_dir)
    if file is not None:
        return _read_classes(file, count, classes, names), f"--classes {file.name}"
    if of_imagenet and count == 1000 and names is not None:
        index = {wnid: i for i, wnid in enumerate(imagenet_wnids())}
        if all(name in index for name in names):
            outputs = [index[name] for name in names]
            return outputs, "" if outputs == list(range(count)) else "WordNet ids"
    if count != classes:
        raise UsageError(f"{what} has {count} outputs, {dataset.name} has {classes} classes: {HOW}")
    return list(range(count)), ""


def _read_classes(file: Path, count: int, classes: int, names: list[str] | None) -> list[int]:
    try:
        text = composed(file.read_text(encoding="utf-8"))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"--classes {file}: it cannot be read: {err}") from None
    if all(line.isdecimal() and line.isascii() for line in lines):
        outputs = [int(line[:9]) for line in lines]
        if len(outputs) != classes:
            raise UsageError(f"--classes {file} has {len(outputs)} outputs for {classes} classes: one a line is needed")
        if wrong := [i for i in outputs if i >= count]:
            raise UsageError(f"--classes {file}: there is no output {wrong[0]}; the network has 0 to {count - 1}")
        if len(set(outputs)) != len(outputs):
            raise UsageError(f"--classes {file}: an output stands for two classes")
        return outputs
    if names is None:
        raise UsageError(f"--classes {file}: the classes have no names here: give the index of an output a line")
    if len(lines) != count:
        raise UsageError(f"--classes {file} has {len(lines)} names for {count} outputs: one a line is needed")
    names = [composed(name) for name in names]
    if lost := [name for name in names if lines.count(name) != 1]:
        raise UsageError(f"--classes {file} must name each class once, and does not for {listed(lost)}")
    return [lines.index(name) for name in names]


def selection_facts(outputs: list[int], how: str) -> dict[str, Any]:
    """Return what a record says of outputs that were chosen."""
    digest = hashlib.sha256(",".join(map(str, outputs)).encode()).hexdigest()
    return {"outputs": {"by": how, "count": len(outputs), "sha256": digest}} if how else {}
