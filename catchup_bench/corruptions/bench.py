"""How fast the corruptions are, in images per CPU second."""

import time
from collections.abc import Sequence
from statistics import harmonic_mean

from torch import Tensor

from . import NAMES, SEVERITIES, corrupt
from .textures import Textures


def measure(
    images: Tensor,
    names: Sequence[str] = NAMES,
    severities: Sequence[int] = SEVERITIES,
    repeats: int = 3,
    textures: Textures | None = None,
) -> dict[str, float]:
    """Images a second of this process's CPU time, per corruption: harmonic mean over severities, best of ``repeats``.

    For images on the CPU. Set the number of threads to 1 for figures that machines can be compared by.
    """
    return {
        name: harmonic_mean([_rate(images, name, severity, repeats, textures) for severity in severities])
        for name in names
    }


def seconds_for_all(rates: dict[str, float]) -> float:
    """CPU seconds for all severities of all measured corruptions of one image."""
    return sum(len(SEVERITIES) / rate for rate in rates.values())


def _rate(images: Tensor, name: str, severity: int, repeats: int, textures: Textures | None) -> float:
    indices = range(len(images))
    seconds = []
    for _ in range(repeats + 1):  # the first run fills the caches
        start = time.process_time()
        corrupt(images, name, severity, indices=indices, dataset="bench", textures=textures)
        seconds.append(time.process_time() - start)
    return len(images) / max(min(seconds[1:]), 1e-9)
