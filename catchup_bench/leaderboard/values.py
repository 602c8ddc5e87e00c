"""Numbers that records store and that do not follow from bits: of a column, and as scores that can be compared."""

import base64
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..boards import Column
from ..boards.metrics import LAST, METRICS, Metric
from ..errors import VerificationFailed
from ..records.record import Outcome
from .statistics import Images, Scores

Key = tuple[str, str]
"""Setup and condition."""


def value_scores(
    column: Column, weights: Mapping[Key, Fraction], images: Mapping[Key, Images], chosen: Mapping[str, Sequence[Any]]
) -> dict[str, Scores]:
    """Return the scores of every method in a column of numbers that outcomes store, so that less is better: by image
    where they are stored by image and the column is of one condition, else by seed alone."""
    metric = METRICS[column.metric]
    key = next(iter(weights))
    scores = {}
    for label, seeds in chosen.items():
        values = [value_of_column(column, weights, seed) for seed in seeds]
        errors = tuple(100 - value if metric.per_image else -value if metric.higher else value for value in values)
        of_image = {}
        if metric.per_image and len(weights) == 1:
            of_image = {images[key]: sum(100 - areas(seed[key], metric) for seed in seeds)}
        scores[label] = Scores(errors, of_image, 100)
    return scores


def areas(outcome: Outcome, metric: Metric) -> Any:
    """Return the areas of an outcome's images, integers from 0 to 100. Raises :class:`VerificationFailed` when they are
    damaged, or their mean is not the number that is stored."""
    try:
        raw = base64.b64decode(follow(outcome.values, metric.per_image), validate=True)
        of_image = np.frombuffer(raw, np.uint8).astype(np.int64)
    except (TypeError, ValueError) as err:
        raise VerificationFailed(f"the areas of its images are damaged: {err}") from None
    mean = value_of(outcome.values, metric)
    if (
        len(of_image) != outcome.n
        or of_image.max() > 100
        or abs(Fraction(int(of_image.sum()), outcome.n) - mean) > 1e-6
    ):
        raise VerificationFailed(f"the areas of its images do not have the mean {float(mean)}")
    return of_image


def value_of_column(column: Column, weights: Mapping[Key, Fraction], seed: Mapping[Key, Outcome]) -> Fraction:
    """Return the weighted mean of the numbers that the outcomes of a seed store."""
    metric = METRICS[column.metric]
    return sum((w * value_of(seed[k].values, metric) for k, w in weights.items()), Fraction(0))


def value_of(values: Mapping[str, Any], metric: Metric) -> Fraction:
    """Return the number of ``metric`` in the ``values`` of an outcome, exactly as it is stored, times its scale.

    Raises :class:`VerificationFailed` when there is none, or what is there is no finite number.
    """
    for path in filter(None, (metric.path, metric.otherwise)):
        number = follow(values, path)
        if type(number) in (int, float) and math.isfinite(number):
            return Fraction(number) * metric.scale
    raise VerificationFailed(f"no number at {'.'.join(map(str, metric.path))} in the values of its outcome")


def follow(values: Any, path: tuple[str | int, ...]) -> Any:
    """Return what ``path`` leads to, ``None`` where it leads nowhere."""
    try:
        for key in path:
            values = values[max(values, key=int) if key == LAST else key]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return values
