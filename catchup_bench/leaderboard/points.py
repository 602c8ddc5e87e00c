"""Points of the curves that records hold: means over seeds."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..records.record import Record


class CurveKind(NamedTuple):
    """Of training where ``share`` is ``None``, else of accuracy without features, ``share`` saying which; ``where``
    names the setup on a board that has several."""

    share: str | None
    where: str


RELIANCE = {
    "highest value": ("reliance-bottom80", "top"),
    "lowest value": ("reliance-bottom80", "bottom"),
    "highest magnitude": ("reliance-bottom80-magnitude", "top"),
    "lowest magnitude": ("reliance-bottom80-magnitude", "bottom"),
}

Points = tuple[list[float], list[float]]


def mean_curves(records: Mapping[str, Mapping[str, Mapping[int, Record]]]) -> dict[CurveKind, dict[str, Points]]:
    """Return the curves that ``records`` (label → setup → seed) hold, by kind and label: the means over the seeds whose
    points have the same abscissae as the first one's. What is damaged is left out."""
    setups = list(dict.fromkeys(setup for of_label in records.values() for setup in of_label))
    made: dict[CurveKind, dict[str, Points]] = {}
    for setup in setups:
        where = f", {setup}" if len(setups) > 1 else ""
        for share in (None, *RELIANCE):
            for label, of_label in records.items():
                each = [curve_of(record, share) for record in of_label.get(setup, {}).values()]
                usable = [points for points in each if points is not None and points[0] == (each[0] or points)[0]]
                if usable:
                    mean = np.mean([y for _, y in usable], axis=0).tolist()
                    made.setdefault(CurveKind(share, where), {})[label] = usable[0][0], mean
    return made


def curve_of(record: Record, share: str | None) -> Points | None:
    """Return the points of a curve of ``record``; ``None`` where it has none, or its numbers are damaged."""
    try:
        if share is None:
            epochs, _, errors = zip(*record.training["curve"], strict=True)
            x, y = [float(e) for e in epochs], [float(e) for e in errors]
        else:
            condition, end = RELIANCE[share]
            outcome = record.outcomes[condition]
            right = outcome.values["right"][end]
            x = [100 * i / (len(right) - 1) for i in range(len(right))]
            y = [100 * float(count) / outcome.n for count in right]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return (x, y) if len(x) > 1 and np.isfinite([x, y]).all() else None
