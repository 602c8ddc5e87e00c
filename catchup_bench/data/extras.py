"""What the corruption suite can use besides a dataset: the published corrupted test sets and the frost pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..data_sources import absent
from .corrupted import check_corrupted, fetch_corrupted
from .corrupted_folders import check_folders, fetch_folders


@dataclass(frozen=True)
class Extra:
    """``fetch(folder)`` brings it, ``check(folder)`` says what is there or raises :class:`UsageError`."""

    fetch: Callable[[Path], None]
    check: Callable[[Path], dict[str, Any]]


def fetch_frost(folder: Path) -> None:
    from ..corruptions import textures

    textures.fetch(folder / "frost")


def check_frost(folder: Path) -> dict[str, Any]:
    """Check the five pictures and return the SHA-256 of each."""
    from ..corruptions import textures

    if (error := absent("frost", folder)) is not None:
        raise error
    return {"folder": str(folder / "frost"), "pictures": len(textures.load(folder / "frost").pictures)}


EXTRAS = {
    "cifar10-c": Extra(partial(fetch_corrupted, "cifar10-c"), partial(check_corrupted, "cifar10-c")),
    "cifar100-c": Extra(partial(fetch_corrupted, "cifar100-c"), partial(check_corrupted, "cifar100-c")),
    "imagenet-c": Extra(partial(fetch_folders, "imagenet"), partial(check_folders, "imagenet")),
    "tinyimagenet-c": Extra(partial(fetch_folders, "tinyimagenet"), partial(check_folders, "tinyimagenet")),
    "frost": Extra(fetch_frost, check_frost),
}
