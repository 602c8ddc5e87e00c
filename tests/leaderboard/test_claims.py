"""What the paper claims of its method, tested on records; and numbers and curves that records store."""

import base64
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from catchup_bench import boards
from catchup_bench.boards.grid import jobs_of
from catchup_bench.boards.metrics import METRICS
from catchup_bench.errors import UsageError, VerificationFailed
from catchup_bench.leaderboard import claims, findings, pages
from catchup_bench.leaderboard.html_page import html_page, reports_beside
from catchup_bench.leaderboard.markdown import board_page, index_section
from catchup_bench.leaderboard.statistics import Comparisons, Images, Scores
from catchup_bench.leaderboard.table import Table, make_table
from catchup_bench.leaderboard.values import value_of
from catchup_bench.records.record import Outcome, Record, write_record

from .test_html_page import Parsed

TOML = """
title = "Inside"
question = "Does the page test the claim?"
methods = ["baseline", "cutmix", "catchup"]
seeds = [0, 1, 2]
rank = "clean err"
claim = "catchup"
[[setups]]
dataset = "digits"
model = "preactresnet10"
width = 4
recipe = "digits"
suites = ["clean"]
[[columns]]
name = "clean err"
conditions = ["clean"]
[[columns]]
name = "area"
metric = "area-top"
conditions = ["reliance-bottom80"]
[[columns]]
name = "Gini"
metric = "gini"
conditions = ["dynamics"]
[[columns]]
name = "λ₁"
metric = "lambda1"
conditions = ["landscape-eigen"]
[[columns]]
name = "radius"
metric = "radius"
conditions = ["landscape-eigen"]
"""
N = 200

AREA = {"baseline": 40, "cutmix": 40, "catchup": 60}
GINI = {"baseline": 0.3, "cutmix": 0.1, "catchup": 0.2}
LAMBDA = {"baseline": 5.0, "cutmix": 1.0, "catchup": 9.0}

ROOT = Path(__file__).parents[2]

CHECKOUT = pytest.mark.skipif(not (ROOT / "leaderboards" / "results").exists(), reason="not in a checkout")

Change = Callable[[str, int, dict[str, Outcome]], object]


def outcomes_of(label: str, seed: int) -> dict[str, Outcome]:
    """Made-up outcomes with the numbers above, a little other ones for each seed."""
    rng = np.random.default_rng([seed, *label.encode()])
    bits = rng.random(N) > 0.1
    areas = np.clip(AREA[label] + rng.integers(-3, 4, N), 0, 100).astype(np.uint8)
    right = [N - 2 * i for i in range(51)]
    reliance = {
        "area": {"top": float(areas.mean())},
        "area_per_image": {"top": base64.b64encode(areas.tobytes()).decode()},
        "right": {"top": right, "bottom": right},
    }
    noise = 1 + 0.01 * rng.standard_normal()
    norms = {"epochs": {"9": {"gini": 0.9}, "10": {"gini": GINI[label] * noise}}}
    radius = None if label == "cutmix" else 0.1 * noise
    plane = {"eigenvalues": [LAMBDA[label] * noise, 0.5], "doubling_radius": radius, "extent": 0.5}
    return {
        "clean": Outcome.of(bits, "clean", {}),
        "reliance-bottom80": Outcome.of(bits, "reliance", {}, reliance),
        "dynamics": Outcome.of(bits, "dynamics", {}, norms),
        "landscape-eigen": Outcome.of(bits, "landscape", {}, plane),
    }


def areas_of(label: str, seed: int) -> Any:
    """The areas of the images of these outcomes."""
    text = outcomes_of(label, seed)["reliance-bottom80"].values["area_per_image"]["top"]
    return np.frombuffer(base64.b64decode(text), np.uint8).astype(int)


def make(tmp_path: Path, text: str = TOML, change: Change = lambda *_: None) -> Table:
    path = tmp_path / "inside.toml"
    path.write_text(text)
    board = boards.load(str(path))
    folder = tmp_path / "leaderboards" / "results" / "inside"
    for job in jobs_of(board):
        outcomes = outcomes_of(job.label, job.run.seed)
        change(job.label, job.run.seed, outcomes)
        curve = [[5, 2.0, 50.0], [10, 1.0, 10.0 + job.run.seed]]
        record = Record(
            run=job.run, digest=job.run.digest, checkpoint={}, test_sha256="0", training={"curve": curve},
            evaluated=[{}], outcomes=outcomes,
        )  # fmt: skip
        write_record(record, folder / job.path)
    return make_table(board, folder)


def test_every_quantity_says_who_is_better_by_it(tmp_path: Path) -> None:
    t = make(tmp_path)
    lines = {line.column.name: line[1:] for line in claims.lines(t)}
    assert {k: tuple(map(sorted, v)) for k, v in lines.items()} == {
        "area": (["baseline", "cutmix"], [], []),
        "Gini": (["baseline"], ["cutmix"], []),
        "λ₁": ([], ["baseline", "cutmix"], []),
        "radius": ([], ["cutmix"], ["baseline"]),
    }
    first, others, flat, rest, test = claims.sentences(t)
    assert first == "By area, Gini, catchup relies on more features than the baseline."
    assert others == (
        "Beside the baseline there is 1: by every one of these quantities catchup relies on more features than none "
        "of them, and relies on fewer than none of them."
    )
    assert flat == (
        "By λ₁, catchup has a sharper loss than the baseline; by radius, catchup and the baseline are not separable."
    )
    assert rest.endswith("has a flatter loss than none of them, and has a sharper loss than cutmix.")
    assert "Holm over 3 pairs" in test and claims.in_short(t) == f"{first} {flat}"
    assert f"| {findings.in_short(t)} {first} {flat} |" in index_section({"inside": t}), "the board's own answer first"
    head, area, gini, largest, radius = claims.table(t)
    assert head == ["", "catchup", "baseline", *claims.HEAD]
    assert area[0] == "area ↑" and gini[0] == "Gini ↓" and largest[0] == "λ₁ ↓" and radius[0] == "radius ↑"
    assert re.fullmatch(r"(19|20)\.\d\d ± 0\.\d\d", gini[1]), "percent, of the last epoch"


def test_a_quantity_without_images_is_welchs_test_over_seeds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(at, 1, 4) for name, at in (("a", 0), ("b", 1), ("c", 3))}
    scores = {name: Scores(tuple(map(Fraction, v)), {}, 100) for name, v in values.items()}
    for a, b in (("a", "b"), ("a", "c"), ("b", "c")):
        expected = ttest_ind(values[a], values[b], equal_var=False).pvalue
        assert Comparisons(scores).difference(a, b).p == pytest.approx(expected, rel=1e-9)


def test_a_quantity_of_images_has_their_variance_too(tmp_path: Path) -> None:
    t = make(tmp_path)
    value = {row.label: row.values["area"] for row in t.rows}
    stored = {label: [areas_of(label, s) for s in range(3)] for label in value}
    seeds = {label: [100 - areas.mean() for areas in stored[label]] for label in value}
    assert float(value["catchup"].mean) == pytest.approx(100 - np.mean(seeds["catchup"]))
    per_image = {label: sum(100 - areas for areas in stored[label]) for label in value}
    images = Images("0", N)
    scores = {k: Scores(tuple(map(Fraction, seeds[k])), {images: per_image[k]}, 100) for k in value}
    difference = Comparisons(scores).difference("catchup", "baseline")
    spread = [np.var(seeds[k], ddof=1) / 3 for k in ("catchup", "baseline")]
    spread.append(np.var((per_image["catchup"] - per_image["baseline"]) / 3, ddof=1) / N)
    assert difference.error == pytest.approx(np.sqrt(sum(spread)))


def test_without_such_outcomes_nothing_is_claimed(tmp_path: Path) -> None:
    def only_clean(label: str, seed: int, outcomes: dict[str, Outcome]) -> None:
        for condition in [c for c in outcomes if c != "clean"]:
            del outcomes[condition]

    t = make(tmp_path, change=only_clean)
    assert claims.table(t) == [] and claims.sentences(t) == []
    assert "rely on more features" not in board_page("inside", t) + html_page({"inside": t})


def test_one_seed_or_no_claim_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert claims.table(make(tmp_path / "one", TOML.replace("seeds = [0, 1, 2]", "seeds = [0]"))) == []
    assert claims.table(make(tmp_path, TOML.replace('claim = "catchup"\n', ""))) == []


def test_the_pages_have_the_section_and_the_curves(tmp_path: Path) -> None:
    t = make(tmp_path)
    page, html = board_page("inside", t), html_page({"inside": t})
    assert "## Does catchup rely on more features, and is its loss flatter?" in page
    assert "| area ↑ | 60." in page and "Percent unless stated" in page
    parsed = Parsed(html)
    assert "By area, Gini, catchup relies on more features than the baseline." in "".join(parsed.text)
    captions = [text for text in parsed.text if "mean over seeds" in text and text.endswith(".")]
    assert captions == [
        "Clean error during training, mean over seeds.",
        "Accuracy without the features of highest value, mean over seeds.",
        "Accuracy without the features of lowest value, mean over seeds.",
    ]
    (training, *_), labels = t.curves.values(), set(AREA)
    assert set(training) == labels and training["catchup"] == ([5.0, 10.0], [50.0, 11.0]), "the mean of 10, 11 and 12"


def test_another_board_with_the_same_networks_shows_the_answer(tmp_path: Path) -> None:
    t = make(tmp_path)
    outer = tmp_path / "outer.toml"
    text = TOML.replace('claim = "catchup"', 'claim_board = "demo"').split("[[columns]]")
    outer.write_text("[[columns]]".join(text[:2]))
    board = boards.load(str(outer))
    made = make_table(board, tmp_path / "leaderboards" / "results" / "inside")
    page = board_page("outer", made, t)
    assert "From [Inside](demo.md), with runs of its own." in page
    assert "- By area, Gini, catchup relies on more features than the baseline." in page
    assert "rely on more features" not in board_page("outer", made)


@CHECKOUT
def test_rendering_either_board_writes_the_page_that_shows_both() -> None:
    for name in ("digits", "digits-inside"):
        made = pages.make_pages(ROOT, pages.tables_of(ROOT, boards.load(name))).files
        assert "From [Digits, inside](digits-inside.md)" in made[ROOT / "leaderboards" / "digits.md"]


def test_damaged_curves_are_left_out(tmp_path: Path) -> None:
    def damage(label: str, seed: int, outcomes: dict[str, Outcome]) -> None:
        if label == "cutmix":
            o = outcomes["reliance-bottom80"]
            values = o.values | {"right": {"top": ["<b>"], "bottom": None}}
            outcomes["reliance-bottom80"] = o.model_copy(update={"values": values})

    t = make(tmp_path, change=damage)
    assert all("cutmix" not in by_label for kind, by_label in t.curves.items() if kind.share)


def test_a_report_beside_a_record_is_linked(tmp_path: Path) -> None:
    t = make(tmp_path)
    results = tmp_path / "leaderboards" / "results"
    path = next(row for row in t.rows if row.label == "catchup").records[0]
    html = html_page({"inside": t}, reports=reports_beside({"inside": t}, results))
    assert f"catchup-bench report leaderboards/results/inside/{t.rows[0].records[0]}" in html
    assert ">report</a>" not in html
    report = results / "inside" / path
    report.parent.mkdir(parents=True, exist_ok=True)
    report.with_suffix(".html").write_text("")
    linked = html_page({"inside": t}, "leaderboards", reports_beside({"inside": t}, results))
    assert linked.count(">report</a>") == 1
    assert f'href="leaderboards/results/inside/{path.removesuffix(".json")}.html"' in linked


@pytest.mark.parametrize(
    "values",
    [
        {"area": {"top": 1.0}, "area_per_image": {"top": "AAAA"}},
        {"area": {"top": 1.0}, "area_per_image": {"top": "%"}},
        {"area": {"top": "<b>"}},
        {},
    ],
)
def test_damaged_numbers_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    def damage(label: str, seed: int, outcomes: dict[str, Outcome]) -> None:
        o = outcomes["reliance-bottom80"]
        outcomes["reliance-bottom80"] = o.model_copy(update={"values": values})

    with pytest.raises(VerificationFailed):
        make(tmp_path, change=damage)


@given(st.floats(-1e6, 1e6), st.sampled_from(sorted(METRICS)))
def test_a_metric_is_the_number_that_is_stored(number: float, name: Any) -> None:
    metric = METRICS[name]
    values: Any = number
    for key in reversed(metric.path):
        values = [values] if key == 0 else {"10" if key == "last" else key: values}
    if metric.path:
        assert value_of(values, metric) == Fraction(number) * metric.scale


def test_what_lies_beyond_the_plane_counts_as_its_edge() -> None:
    assert value_of({"doubling_radius": None, "extent": 0.5}, METRICS["radius"]) == 50


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('claim = "catchup"', 'claim = "manifold"', "claim = 'manifold' is no row of this board"),
        ('metric = "gini"', 'metric = "ginny"', "metric"),
        ('rank = "clean err"', 'rank = "clean err"\nclaim_board = "demo"', "tests no claim itself"),
        ('claim = "catchup"', 'claim_board = "outside"', "claim_board = 'outside' is not one of"),
    ],
)
def test_bad_boards_are_one_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    (tmp_path / "inside.toml").write_text(TOML.replace(old, new))
    with pytest.raises(UsageError, match=words):
        boards.load(str(tmp_path / "inside.toml"))
