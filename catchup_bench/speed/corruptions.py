"""How fast the batched corruptions are, against the published definitions one image at a time."""

import time
from collections.abc import Callable, Sequence
from statistics import fmean, geometric_mean, median
from typing import Any

import numpy as np
import torch

from ..corruptions import NAMES, SEVERITIES, corrupt, parameters
from ..errors import UsageError
from ..system.provenance import describe, stamp
from . import cost

Work = Callable[[str, int], None]
"""Do a corruption, by its name, at a severity."""


def measure(
    names: Sequence[str] = NAMES, size: int = 32, images: int = 500, one_by_one: int = 10, rounds: int = 3
) -> dict[str, Any]:
    """Measure, per corruption: images per CPU second both ways, over all severities, and their ratio; the geometric
    mean of the ratios, and the ratio of the sums over all variants.

    ``images`` random images at once against ``one_by_one`` of them in turn, alternating severity by severity, in this
    process's CPU time on one thread; the median over ``rounds``. Raises :class:`UsageError` when the packages of the
    published definitions are missing.
    """
    reference = _reference()
    for name in names:
        parameters(name, size)
    x = cost.random_images(images, size, 10).x
    threads, rng = torch.get_num_threads(), np.random.default_rng(0)

    def batched(name: str, severity: int) -> None:
        corrupt(x, name, severity, indices=range(images), dataset="bench")

    def each(name: str, severity: int) -> None:
        strength = parameters(name, size)[severity - 1]
        define = getattr(reference, name)
        for image in x[:one_by_one].numpy():
            define(image, strength, *reference.numbers(name, image, strength, rng))

    torch.set_num_threads(1)
    try:
        table = compare(names, batched, each, images, one_by_one, rounds)
        where = describe(torch.device("cpu"), "fp32")
    finally:
        torch.set_num_threads(threads)
    return {
        **table,
        "image_size": size,
        "images": [images, one_by_one],
        "rounds": rounds,
        "provenance": {**stamp(), **where},
    }


def compare(
    names: Sequence[str],
    batched: Work,
    each: Work,
    images: int,
    one_by_one: int,
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Any]:
    """Time ``batched`` on ``images`` images against ``each`` on ``one_by_one``, in seconds of ``clock``; return what
    :func:`measure` says of it."""

    def timed(work: Work, name: str, severity: int) -> float:
        start = clock()
        work(name, severity)
        return max(clock() - start, 1e-9)

    rows: dict[str, dict[str, float]] = {}
    for name in names:
        for severity in SEVERITIES:  # tables and kernels are made once for a test set, and not measured
            batched(name, severity)
        each(name, 1)
        table = [[(timed(batched, name, s), timed(each, name, s)) for s in SEVERITIES] for _ in range(rounds)]
        ours = [fmean(a for a, _ in row) / images for row in table]
        theirs = [fmean(b for _, b in row) / one_by_one for row in table]
        rows[name] = {
            "seconds": median(ours),
            "reference_seconds": median(theirs),
            "ratio": median(b / a for a, b in zip(ours, theirs, strict=True)),
        }
    return {
        "corruptions": rows,
        "geometric_mean": geometric_mean([f["ratio"] for f in rows.values()]),
        "all_variants": sum(f["reference_seconds"] for f in rows.values()) / sum(f["seconds"] for f in rows.values()),
        "variants": len(rows) * len(SEVERITIES),
    }


def _reference() -> Any:
    try:
        import cv2

        from . import reference
    except ImportError as err:
        raise UsageError(
            f"the published definitions need scikit-image and OpenCV ({err}): pip install 'catchup-bench[test]'"
        ) from None
    cv2.setNumThreads(1)
    return reference
