"""What the corruption suite can use besides a dataset: the published corrupted test sets and the frost pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..sources import SOURCES, absent
from .faults import counted


@dataclass(frozen=True)
class Extra:
    """``fetch(folder)`` brings it, ``check(folder)`` says what is there or raises :class:`UsageError`."""

    fetch: Callable[[Path], None]
    check: Callable[[Path], dict[str, Any]]


def fetch_corrupted(name: str, folder: Path) -> None:
    from ..robustbench_bridge import fetch_corrupted as download

    if absent(name, folder) is not None:
        download(name.removesuffix("-c"), folder)


def check_corrupted(name: str, folder: Path) -> dict[str, Any]:
    """All 19 arrays and the labels. Raises :class:`UsageError` for one that is missing or not the published one."""
    from .. import corruptions
    from ..npy import opened
    from .corrupted_files import check_published, refuse_generated

    if (error := absent(name, folder)) is not None:
        raise error
    top = folder / Path(SOURCES[name].needs[0]).parts[0]
    refuse_generated(top)
    count, classes = SOURCES[name].counts["test"], SOURCES[name].classes
    labels = opened(top / "labels.npy", (count,), None)
    if not np.array_equal(np.unique(labels), np.arange(classes)) or not np.array_equal(
        labels, np.tile(labels[: count // 5], 5)
    ):
        raise UsageError(f"{top / 'labels.npy'} are not labels 0 to {classes - 1} of the same images five times")
    faults = []
    for corruption in corruptions.NAMES:
        try:
            opened(top / f"{corruption}.npy", (count, 32, 32, 3), np.dtype(np.uint8))
        except UsageError as err:
            faults.append(str(err))
    if faults:
        raise UsageError(counted(faults, len(corruptions.NAMES), "arrays"))
    check_published(top, ["labels", *corruptions.NAMES])
    return {"folder": str(top), "arrays": len(corruptions.NAMES), "images": count, "classes": classes}


def fetch_frost(folder: Path) -> None:
    from ..corruptions import textures

    textures.fetch(folder / "frost")


def check_frost(folder: Path) -> dict[str, Any]:
    """The five pictures, each with its SHA-256."""
    from ..corruptions import textures

    if (error := absent("frost", folder)) is not None:
        raise error
    return {"folder": str(folder / "frost"), "pictures": len(textures.load(folder / "frost").pictures)}


EXTRAS = {
    "cifar10-c": Extra(partial(fetch_corrupted, "cifar10-c"), partial(check_corrupted, "cifar10-c")),
    "cifar100-c": Extra(partial(fetch_corrupted, "cifar100-c"), partial(check_corrupted, "cifar100-c")),
    "frost": Extra(fetch_frost, check_frost),
}
