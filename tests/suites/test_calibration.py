"""Calibration against scikit-learn and plain loops over the logits."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench.data import Images
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.report.summary import summarise
from catchup_bench.suites import ConditionResult, Context, suite_class

Calibration = suite_class("calibration")

calibration = importlib.import_module("catchup_bench.suites.calibration")


class Says(nn.Module):
    """A network whose logits for the image with index i, written in its first pixel, are row i of a table."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[(x[:, 0, 0, 0] * 255).round().long()]


def evaluate(logits: Tensor, y: Tensor, bins: int = 15) -> ConditionResult:
    n = len(y)
    x = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 2, 2, 3)
    where = Context(
        net=Says(logits.float()),
        images=Images(x, y, torch.arange(n)),
        dataset="some",
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=7,
        data_dir=Path("nowhere"),
    )
    suite = Calibration(bins=bins)
    return dict(suite.run(where, suite.conditions()))[suite.conditions()[0]]


def some(n: int = 200, classes: int = 5, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, classes, generator=gen), torch.randint(classes, (n,), generator=gen)


def plain_ece(p: np.ndarray, y: np.ndarray, bins: int) -> float:
    total = 0.0
    for i in range(bins):
        inside = [r for r in range(len(y)) if i / bins < p[r].max() <= (i + 1) / bins]
        if inside:
            accuracy = sum(p[r].argmax() == y[r] for r in inside) / len(inside)
            total += len(inside) / len(y) * abs(accuracy - sum(p[r].max() for r in inside) / len(inside))
    return 100 * total


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("classes", [2, 5, 100])
def test_numbers_equal_scikit_learn_and_a_loop(bins: int, classes: int) -> None:
    from sklearn.metrics import log_loss

    logits, y = some(classes=classes)
    found = evaluate(logits, y, bins)
    p = logits.double().softmax(1).numpy()
    assert found.values["ece"] == pytest.approx(plain_ece(p, y.numpy(), bins), abs=1e-9)
    assert found.values["nll"] == pytest.approx(log_loss(y, p, labels=range(classes)), abs=1e-9)
    onehot = np.eye(classes)[y]
    assert found.values["brier"] == pytest.approx(((p - onehot) ** 2).sum(1).mean(), abs=1e-9)
    assert torch.equal(found.bits, logits.argmax(1) == y)


def test_brier_of_two_classes_is_twice_scikit_learns() -> None:
    from sklearn.metrics import brier_score_loss

    logits, y = some(classes=2)
    theirs = brier_score_loss(y, logits.double().softmax(1)[:, 1])
    assert evaluate(logits, y).values["brier"] == pytest.approx(2 * theirs, abs=1e-9)


def test_points_equal_scikit_learns_reliability_diagram() -> None:
    from sklearn.calibration import calibration_curve

    logits, y = some(classes=5)
    found = evaluate(logits, y, 10)
    confidence, right = logits.double().softmax(1).amax(1), found.bits
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    assert [p["accuracy"] for p in found.values["points"]] == pytest.approx(accuracy.tolist(), abs=1e-12)
    assert [p["confidence"] for p in found.values["points"]] == pytest.approx(mean.tolist(), abs=1e-12)


@given(st.integers(1, 60), st.integers(2, 12), st.integers(0, 10_000), st.floats(0, 50))
def test_points_hold_every_image_and_give_the_error_again(n: int, classes: int, seed: int, scale: float) -> None:
    found = evaluate(*some(n, classes, seed, scale))
    values, points = found.values, found.values["points"]
    assert sum(p["n"] for p in points) == n and all(p["low"] < p["confidence"] <= p["high"] + 1e-12 for p in points)
    assert sum(p["n"] * p["accuracy"] for p in points) == pytest.approx(int(found.bits.sum()))
    assert values["ece"] == pytest.approx(calibration.ece(points)) and 0 <= values["ece"] <= 100
    assert 0 <= values["brier"] <= 2 and values["nll"] >= 0
    # binning can only hide gaps, never invent them
    gap = abs(sum(p["n"] * (p["confidence"] - p["accuracy"]) for p in points)) / n
    assert values["ece"] >= 100 * gap - 1e-9


@pytest.mark.parametrize(("right", "ece", "brier"), [(True, 0.0, 0.0), (False, 100.0, 2.0)])
def test_certainty_is_perfect_or_worst(right: bool, ece: float, brier: float) -> None:
    y = torch.arange(20) % 4
    found = evaluate(80 * torch.eye(4)[y if right else (y + 1) % 4], y)
    assert (found.values["ece"], found.values["brier"]) == pytest.approx((ece, brier), abs=1e-9)
    assert found.values["nll"] == pytest.approx(0 if right else 80, abs=1e-9)


def test_an_undecided_network_is_calibrated() -> None:
    found = evaluate(torch.zeros(40, 4), torch.arange(40) % 4)
    assert found.values["ece"] == pytest.approx(0, abs=1e-9) and found.values["nll"] == pytest.approx(math.log(4))
    assert [p["n"] for p in found.values["points"]] == [40]


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    points = calibration.reliability(torch.tensor([0.2, 0.2 + 1e-9, 1.0], dtype=torch.float64), torch.ones(3), 5)
    assert [(round(p["high"], 9), p["n"]) for p in points] == [(0.2, 1), (0.4, 1), (1.0, 1)]


def test_the_report_shows_the_numbers_and_no_second_clean_error() -> None:
    logits, y = some()
    found, suite = evaluate(logits, y), Calibration()
    outcome = Outcome.of(found.bits.numpy(), "calibration", as_json(suite.protocol("calibration")), found.values)
    rows = summarise({"calibration": outcome}, {"calibration": suite})
    assert list(rows) == ["ECE, %", "NLL, nats", "Brier"]
    assert float(rows["ECE, %"]) == pytest.approx(found.values["ece"], rel=1e-3)


def test_other_bins_are_another_condition_and_none_are_refused() -> None:
    assert Calibration(bins=10).conditions() != Calibration().conditions()
    with pytest.raises(ValueError, match="bins = 0 is not allowed"):
        Calibration(bins=0)
