"""Calibration: does the confidence say how often the network is right? (Guo et al., ICML 2017, arXiv 1706.04599)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data.batches import batches
from ..records.record import Outcome
from . import ConditionResult, Context, Suite, fetch


@dataclass(frozen=True, kw_only=True)
class Calibration(Suite):
    """Expected calibration error in percent, over ``bins`` equal bins (l, r] of the top-1 softmax confidence, 15 in
    Guo et al.; negative log-likelihood in nats; Brier score summed over classes, from 0 to 2 (Brier, 1950).

    Logits come from one fp32 pass, everything after them is in float64. Beside the numbers stand the points of the
    reliability diagram, one per bin that holds an image. The bits are those of ``clean``.
    """

    about = "expected calibration error, negative log-likelihood, Brier score, reliability diagram"
    cost = "1 forward"

    bins: int = 15

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise ValueError(f"bins = {self.bins} is not allowed: it takes 1 or more")

    def conditions(self) -> list[str]:
        return ["calibration" if self.bins == 15 else f"calibration-{self.bins}bins"]

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Compare the calibration error and the accuracy with the points of the diagram."""
        try:
            points, stated = outcome.values["points"], outcome.values["ece"]
            again, right = ece(points), sum(p["n"] * p["accuracy"] for p in points)
            n = sum(p["n"] for p in points)
        except (KeyError, TypeError, ZeroDivisionError):
            return ["its points are damaged"]
        problems = []
        if not isinstance(stated, int | float) or not math.isclose(stated, again, rel_tol=1e-9, abs_tol=1e-9):
            problems.append(f"ece is stated as {stated}, its points give {again}")
        if n != outcome.n or round(right) != outcome.correct:
            problems.append(f"its points are of {right:.0f} of {n} right, its bits of {outcome.correct} of {outcome.n}")
        return problems

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        parts = []
        for x, y, _ in batches(context.images, context.batch_size, context.device):
            parts.append(per_image(context.forward(x), y))
        confidence, right, surprise, brier = fetch(parts, 1)
        bits = right.bool()
        points = reliability(confidence, bits, self.bins)
        values = {"ece": ece(points), "nll": float(surprise.mean()), "brier": float(brier.mean()), "points": points}
        for condition in conditions:
            yield condition, ConditionResult(bits, values)

    def summary(self) -> dict[str, list[str]]:
        """Return nothing: the error is that of ``clean``."""
        return {}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        values = outcomes[self.conditions()[0]].values
        return {"ECE, %": values["ece"], "NLL, nats": values["nll"], "Brier": values["brier"]}


def per_image(logits: Tensor, y: Tensor) -> Tensor:
    """Return 4×N in float64: confidence, whether right, -log p of the true class, and the Brier score."""
    log_p = logits.double().log_softmax(1)
    p, true = log_p.exp(), y[:, None]
    surprise = -log_p.gather(1, true)[:, 0]
    brier = p.square().sum(1) - 2 * p.gather(1, true)[:, 0] + 1
    return torch.stack([p.amax(1), (logits.argmax(1) == y).double(), surprise, brier])


def reliability(confidence: Tensor, right: Tensor, bins: int) -> list[dict[str, Any]]:
    """Return mean confidence and accuracy, both from 0 to 1, of the images in each bin that has any."""
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    bin_of = torch.bucketize(confidence, edges[1:-1])  # the first edge that is not below: bins are (l, r]
    points = []
    for i in bin_of.unique().tolist():
        inside = bin_of == i
        points.append(
            {
                "low": float(edges[i]),
                "high": float(edges[i + 1]),
                "n": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(right[inside].double().mean()),
            }
        )
    return points


def ece(points: list[dict[str, Any]]) -> float:
    """Return the expected calibration error in percent: the mean gap of the points, weighted by their images."""
    n = sum(p["n"] for p in points)
    return 100 * sum(p["n"] * abs(p["accuracy"] - p["confidence"]) for p in points) / n
