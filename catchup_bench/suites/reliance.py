"""Feature reliance: how many of the features that enter the last layer does a network need? (Figures 1c, 5 and 6 of the
Catch-up Mix paper)."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.batches import batches
from ..records.record import Outcome
from . import ConditionResult, Context, Suite, fetch
from ._linear_head import features_and_logits, linear_head
from ._values import same

STEPS = 50
"""Fractions of the features are dropped in steps of 1/50: 51 points."""
ENDS = ("top", "bottom")
SHARE = 40
"""The step at which the lowest 80 % are dropped."""


@dataclass(frozen=True, kw_only=True)
class Reliance(Suite):
    """Accuracy as a fraction r = 0, 0.02, …, 1 of an image's own features is set to 0 before the linear layer, the
    highest first (``top``) or the lowest first (``bottom``); floor(rD + 0.5) of D are dropped, ties by index.

    Features are ordered by their value and, as a second condition, by their magnitude: the same where none is negative.
    The bits are of the network without the lowest 80 %. Beside them stand, for both ends, how many images are ``right``
    at each r; the ``area`` under that curve in percent (trapezoids; 100 where nothing is ever lost) and as a percentage
    of the clean accuracy; ``half``, the first r with at most half of the clean accuracy; and the area of each image, an
    integer from 0 to 100 in one byte, so that areas can be compared by paired tests.
    """

    about = "accuracy as the highest or lowest features are dropped; needs a linear last layer"
    cost = "1 forward, and 204 of the last layer"

    def conditions(self) -> list[str]:
        return ["reliance-bottom80", "reliance-bottom80-magnitude"]

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, "by": _order(condition), "steps": STEPS}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {}

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Compare the areas and the rest with the curves, and these with the bits."""
        try:
            right, packed = outcome.values["right"], outcome.values["area_per_image"]
            again = derived(right, outcome.n)
            pairs = [(f"{key} {end}", again[key][end], outcome.values[key][end]) for key in again for end in ENDS]
            means = {end: float(unpack(packed[end], outcome.n).mean()) for end in ENDS}
        except (KeyError, TypeError, ValueError, IndexError) as err:
            return [f"its curves are damaged: {type(err).__name__} {err}"]
        problems = [f"{name} is stated as {b}, its curve gives {a}" for name, a, b in pairs if not same(a, b)]
        problems += [
            f"area_per_image {end} has the mean {mean}, its curve gives {again['area'][end]}"
            for end, mean in means.items()
            if not same(again["area"][end], mean)
        ]
        if right["bottom"][SHARE] != outcome.correct:
            problems.append(f"{right['bottom'][SHARE]} right without the lowest 80 %, its bits say {outcome.correct}")
        if any(right["top"][i] != right["bottom"][i] for i in (0, STEPS)):
            problems.append("its curves do not begin and end together")
        return problems

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        first = next(batches(context.images, 2, context.device))[0]
        head = linear_head(context.net, first)
        orders = [_order(condition) for condition in conditions]
        answers, lowest = [], []
        with torch.inference_mode():
            for x, y, _ in batches(context.images, context.batch_size, context.device):
                features, logits = features_and_logits(context.net, head, x)
                answers.append(torch.stack([curves(features, logits, y, head, order) for order in orders]))
                lowest.append(features.amin(1))
        bits, low = fetch(answers, 3), float(fetch(lowest).amin())
        for condition, both in zip(conditions, bits, strict=True):
            values = {"features": head.in_features, "min_feature": low, **summarised(both)}
            yield condition, ConditionResult(both[ENDS.index("bottom"), SHARE], values)

    def summary(self) -> dict[str, list[str]]:
        return {f"without the lowest 80 % of features, by {_order(c)}": [c] for c in self.conditions()}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        """Return the figures by value; by magnitude they differ only where a feature is negative."""
        areas: dict[str, float] = {}
        for condition in self.conditions():
            values, order = outcomes[condition].values, _order(condition)
            if order == "value" or values["min_feature"] < 0:
                areas[f"area without the highest, by {order}, %"] = values["area"]["top"]
                areas[f"area without the lowest, by {order}, %"] = values["area"]["bottom"]
                if values["half"]["top"] is not None:
                    areas[f"half the accuracy without the highest, by {order}, share"] = values["half"]["top"]
        return areas


def curves(features: Tensor, logits: Tensor, y: Tensor, head: nn.Linear, order: str) -> Tensor:
    """Return whether each image is right, 2×51×B: by the end that is dropped, and by how much of it.

    Nothing is dropped at the first step, where the network's own ``logits`` stand.
    """
    key = features if order == "value" else features.abs()
    places = torch.arange(features.shape[1], device=features.device).expand_as(features)
    parts = []
    for end in ENDS:
        sorted_ = key.argsort(dim=1, descending=end == "top", stable=True)
        rank = torch.empty_like(sorted_).scatter_(1, sorted_, places)
        for count in dropped(features.shape[1]):
            kept = features.where(rank >= count, 0)
            said = logits if count == 0 else F.linear(kept, head.weight, head.bias)
            parts.append(said.argmax(1) == y)
    return torch.stack(parts).unflatten(0, (len(ENDS), STEPS + 1))


def dropped(features: int) -> list[int]:
    """Return how many features are dropped at each step: floor(rD + 0.5), in integers so that halves round up."""
    return [(2 * i * features + STEPS) // (2 * STEPS) for i in range(STEPS + 1)]


def summarised(bits: Tensor) -> dict[str, Any]:
    """Return what is stored of 2×51×N bits."""
    n, right = bits.shape[2], dict(zip(ENDS, bits.sum(2).tolist(), strict=True))
    weights = torch.full((STEPS + 1, 1), 100 // STEPS, dtype=torch.uint8)
    weights[[0, -1]] //= 2
    per_image = (bits * weights).sum(1, dtype=torch.uint8).numpy()
    packed = {end: base64.b64encode(areas.tobytes()).decode() for end, areas in zip(ENDS, per_image, strict=True)}
    return {"right": right, **derived(right, n), "area_per_image": packed}


def derived(right: dict[str, list[int]], n: int) -> dict[str, dict[str, float | None]]:
    """Return the scalars, by end, that follow from the numbers of images ``right`` out of ``n`` at each step."""
    summary: dict[str, dict[str, float | None]] = {"area": {}, "area_of_clean": {}, "half": {}}
    for end in ENDS:
        counts = right[end]
        if len(counts) != STEPS + 1 or not all(type(c) is int and 0 <= c <= n for c in counts):
            raise ValueError(f"{end} has not {STEPS + 1} numbers of images")
        area = (sum(counts) - (counts[0] + counts[-1]) / 2) / STEPS
        summary["area"][end] = 100 * area / n
        summary["area_of_clean"][end] = 100 * area / counts[0] if counts[0] else None
        summary["half"][end] = next((i / STEPS for i, c in enumerate(counts) if 2 * c <= counts[0]), None)
    return summary


def unpack(text: str, n: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Return the area of each image in percent from ``area_per_image``."""
    areas = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(areas) != n or areas.max() > 100:
        raise ValueError(f"these are not the areas of {n} images")
    return areas


def _order(condition: str) -> str:
    return "magnitude" if condition.endswith("-magnitude") else "value"
