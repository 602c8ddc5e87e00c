"""mCE as a column: errors relative to a reference, computed here from the bits by themselves."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catchup_bench import boards
from catchup_bench.boards import Board
from catchup_bench.boards.condition_groups import expand
from catchup_bench.errors import UsageError, VerificationFailed
from catchup_bench.leaderboard.html_page import html_page
from catchup_bench.leaderboard.markdown import board_page
from catchup_bench.leaderboard.pages import stale_pages, write_pages
from catchup_bench.leaderboard.statistics.intervals import critical
from catchup_bench.leaderboard.table import Table, make_table
from catchup_bench.records.record import read_record, unpack, write_record
from catchup_bench.records.results_folder import board_folder, record_path
from catchup_bench.reference_errors import ALEXNET
from tests.support.made_up import write_records

TOML = """
title = "Relative"
question = "Is it relative?"
methods = ["baseline", "cutmix", "inputmixup"]
seeds = [0, 1, 2]
rank = "mCE"
[[setups]]
name = "s"
dataset = "imagenet"
model = "resnet50"
width = 64
recipe = "imagenet-quick"
suites = ["corruption"]
[[columns]]
name = "mean"
about = "plain mean"
conditions = ["corruption:noise", "fog-*", "snow-1"]
[[columns]]
name = "mCE"
about = "relative"
relative_to = "baseline"
conditions = ["corruption:noise", "fog-*", "snow-1"]
[[columns]]
name = "mCE (AlexNet)"
relative_to = "published:alexnet"
conditions = ["corruption:noise", "fog-*", "snow-1"]
"""

TYPES = {
    **{f"{name}_noise": [f"{name}_noise-{s}" for s in range(1, 6)] for name in ("gaussian", "shot", "impulse")},
    "fog": [f"fog-{s}" for s in range(1, 6)],
    "snow": ["snow-1"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(TOML)
    write_records(tmp_path, load(tmp_path))
    return tmp_path


def load(root: Path) -> Board:
    return boards.load(str(root / "tiny.toml"))


def table(root: Path) -> Table:
    return make_table(load(root), board_folder(root, "tiny"))


def wrong(root: Path, label: str, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return where a run is wrong, by condition."""
    record = read_record(record_path(board_folder(root, "tiny"), "s", label, seed))
    return {c: ~np.asarray(unpack(o.bits, o.n)) for c, o in record.outcomes.items()}


def of_type(run: dict[str, np.ndarray[Any, Any]], name: str) -> np.ndarray[Any, Any]:
    """Return the error of each image in a type, the mean over its severities, in percent."""
    return 100 * np.mean([run[c] for c in TYPES[name]], 0)


def reference(root: Path, by: str) -> dict[str, float]:
    if by == "mCE (AlexNet)":
        return {name: ALEXNET[name] for name in TYPES}
    return {name: float(np.mean([of_type(wrong(root, "baseline", s), name) for s in range(3)])) for name in TYPES}


@pytest.mark.parametrize("column", ["mCE", "mCE (AlexNet)"])
def test_it_is_the_mean_over_types_of_errors_over_those_of_the_reference(root: Path, column: str) -> None:
    errors = reference(root, column)
    for row in table(root).rows:
        runs = [wrong(root, row.label, seed) for seed in range(3)]
        values = [100 * np.mean([of_type(run, c).mean() / errors[c] for c in TYPES]) for run in runs]
        summary = row.values[column]
        assert float(summary.mean) == pytest.approx(np.mean(values), rel=1e-12)
        assert float(summary.variance or 0) == pytest.approx(np.var(values, ddof=1), rel=1e-9)


def test_a_row_relative_to_itself_has_exactly_100(root: Path) -> None:
    row = next(r for r in table(root).rows if r.label == "baseline")
    assert row.values["mCE"].mean == Fraction(100)


def test_rows_are_compared_by_it_with_the_noise_of_seeds_and_images(root: Path) -> None:
    """Welch's variance of the difference to the baseline, in floating point."""
    made, errors = table(root), reference(root, "mCE")
    of_images = {
        label: np.array([
            100 * np.mean([of_type(wrong(root, label, seed), c) / errors[c] for c in TYPES], 0) for seed in range(3)
        ])
        for label in ("baseline", "cutmix", "inputmixup")
    }  # fmt: skip
    for row in made.rows:
        if row.against is None:
            continue
        pair = [of_images[label] for label in (row.label, "baseline")]
        gap = pair[0].mean() - pair[1].mean()
        parts = [runs.mean(1).var(ddof=1) / 3 for runs in pair]
        parts.append((pair[0].mean(0) - pair[1].mean(0)).var(ddof=1) / pair[0].shape[1])
        half = (float(row.against.high) - float(row.against.low)) / 2
        assert float(row.against.difference) == pytest.approx(gap, rel=1e-9)
        df = min(sum(parts) ** 2 / sum(v * v / f for v, f in zip(parts, (2, 2, pair[0].shape[1] - 1), strict=True)), 4)
        assert half == pytest.approx(critical(0.05 / 2, df) * math.sqrt(sum(parts)), rel=1e-6)
    order = [row.label for row in made.rows]
    assert order == sorted(order, key=lambda label: of_images[label].mean()) and made.ranking is not None
    assert set(made.ranking.tier) == set(order)


def test_pages_name_the_reference_and_are_checked(root: Path) -> None:
    made = table(root)
    page, html = board_page("tiny", made), html_page({"tiny": made})
    for words in (
        "relative; 100 times the error relative to the errors of baseline on this board, the mean over 5 types (mCE)",
        "relative to AlexNet&#39;s published errors on ImageNet-C, the mean over 5 types (mCE)",
    ):
        assert words.replace("&#39;", "'") in page and words in html
    assert "mCE ↓" in page and "100.00" in page
    board = load(root)
    (root / "leaderboards" / "README.md").write_text("")
    write_pages(root, board)
    assert not stale_pages(root, board)
    record_of(root).unlink()
    assert stale_pages(root, board)


def record_of(root: Path, label: str = "baseline", seed: int = 0) -> Path:
    return record_path(board_folder(root, "tiny"), "s", label, seed)


def test_without_the_reference_only_its_own_column_is_missing(root: Path) -> None:
    for seed in range(3):
        record_of(root, seed=seed).unlink()
    row = next(r for r in table(root).rows if r.label == "cutmix")
    assert set(row.values) == {"mean", "mCE (AlexNet)"}


def test_nothing_is_relative_to_no_errors(root: Path) -> None:
    for seed in range(3):
        path = record_of(root, seed=seed)
        record = read_record(path)
        right = {
            c: o.model_copy(update={"bits": record.outcomes[c].of(np.ones(o.n, bool), o.suite, o.protocol).bits,
                                    "correct": o.n})
            for c, o in record.outcomes.items() if c.startswith("fog")
        }  # fmt: skip
        write_record(record.model_copy(update={"outcomes": record.outcomes | right}), path)
    with pytest.raises(VerificationFailed, match="mCE: baseline makes no error in fog"):
        table(root)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('relative_to = "baseline"', 'relative_to = "alexnet"', r"is no row of this board and not published:alexnet"),
        ('dataset = "imagenet"', 'dataset = "cub"', r"has errors on gaussian_noise.* of imagenet alone"),
        ('"snow-1"]', '"saturate-1"]', r"has errors on gaussian_noise"),
        ('relative_to = "baseline"', 'relative_to = "baseline"\nmetric = "accuracy"', r"only errors over conditions"),
        (
            'about = "plain mean"\nconditions = ["corruption:noise", "fog-*", "snow-1"]',
            'mean_of = ["mCE"]',
            r"plain err",
        ),
    ],
)
def test_bad_references_are_one_line(root: Path, old: str, new: str, words: str) -> None:
    (root / "tiny.toml").write_text(TOML.replace(old, new))
    with pytest.raises(UsageError, match=words) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_types_are_conditions_but_for_their_severity() -> None:
    named = expand(["corruption:noise-official", "corruption-bar:all-3-n200", "zoom-120", "clean"])
    column = boards.Column(name="x", conditions=named)
    assert column.types["gaussian_noise"] == tuple(f"gaussian_noise-{s}-official" for s in range(1, 6))
    assert column.types["bar-lines"] == ("bar-lines-3-n200",) and len(column.types) == 3 + 10 + 2
