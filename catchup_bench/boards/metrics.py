"""The metrics of columns: what is better, and where an outcome holds a number that does not follow from its bits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MetricName = Literal[
    "error",
    "accuracy",
    "fpr95",
    "auroc",
    "aupr",
    "area-top",
    "area-bottom",
    "half-top",
    "gini",
    "spearman",
    "starved",
    "lambda1",
    "trace",
    "sharpness",
    "radius",
    "last10-accuracy",
]

FEATURES, FLATNESS = "relies on more features", "has a flatter loss"
"""Claims of the Catch-up Mix paper about a method; a metric with one of them tests it."""

LAST = "last"
"""In a path: the largest number among the keys."""


@dataclass(frozen=True)
class Metric:
    """``path`` leads to the number in an outcome's values, ``otherwise`` to one that stands for it where it is null;
    both are empty for what follows from the bits. The number is shown times ``scale``, with ``places`` decimals.
    ``claim`` is what a better value says of a method; ``per_image`` leads to the numbers of single images. One
    ``of_training`` is in what a record says of its training, not in an outcome."""

    higher: bool
    path: tuple[str | int, ...] = ()
    otherwise: tuple[str | int, ...] = ()
    scale: int = 1
    places: int = 2
    claim: str = ""
    per_image: tuple[str | int, ...] = ()
    of_training: bool = False


def _ood(higher: bool, name: str) -> Metric:
    """Return a metric of the suite ``ood``, for the maximum softmax probability."""
    return Metric(higher, ("metrics", "msp", name))


def _norms(higher: bool, name: str, scale: int = 1, claim: str = "") -> Metric:
    """Return a metric of the suite ``dynamics`` at the last epoch."""
    return Metric(higher, ("epochs", LAST, name), scale=scale, claim=claim)


METRICS: Mapping[MetricName, Metric] = {
    "error": Metric(False),
    "accuracy": Metric(True),
    "fpr95": _ood(False, "fpr95_closest"),
    "auroc": _ood(True, "auroc"),
    "aupr": _ood(True, "aupr_out"),
    "area-top": Metric(True, ("area", "top"), claim=FEATURES, per_image=("area_per_image", "top")),
    "area-bottom": Metric(True, ("area", "bottom"), per_image=("area_per_image", "bottom")),
    "half-top": Metric(True, ("half", "top"), scale=100),
    "gini": _norms(False, "gini", 100, FEATURES),
    "spearman": _norms(True, "spearman"),
    "starved": _norms(False, "starved"),
    "lambda1": Metric(False, ("eigenvalues", 0), places=3, claim=FLATNESS),
    "trace": Metric(False, ("trace",), places=3, claim=FLATNESS),
    "sharpness": Metric(False, ("sharpness",)),
    "radius": Metric(True, ("doubling_radius",), ("extent",), scale=100, claim=FLATNESS),
    "last10-accuracy": Metric(True, ("last10_accuracy",), of_training=True),
}
