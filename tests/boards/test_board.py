"""Boards: from records to markdown, and back to what contradicts it."""

import dataclasses
import hashlib
import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from catchup_bench import boards, corruptions
from catchup_bench.boards import condition_groups
from catchup_bench.boards.grid import jobs_of
from catchup_bench.cli import tables
from catchup_bench.errors import NothingSelected, UsageError, VerificationFailed
from catchup_bench.leaderboard import findings, statistics, wording
from catchup_bench.leaderboard.markdown import NOTHING_KNOWN, between, board_page, excerpt, index_section
from catchup_bench.leaderboard.pages import stale_pages, write_pages
from catchup_bench.leaderboard.statistics import summarize
from catchup_bench.leaderboard.table import Table, make_table
from catchup_bench.leaderboard.wording import setup_texts
from catchup_bench.records.record import Outcome, Record, as_json, pack, read_record, unpack, write_record
from catchup_bench.records.results_folder import mark_file, read_marks
from catchup_bench.runs.run import Run
from catchup_bench.suites import make_suites
from catchup_bench.verification import all_records
from catchup_bench.verification.record import Verdict, keep_level, verify_record
from catchup_bench.verification.submission import entry_of
from tests.support.made_up import write_records
from tests.support.stored_records import written_out

TOML = """
title = "Tiny"
question = "Does it render?"
methods = ["baseline", "catchup", { name = "catchup", label = "catchup-no-input", set = { input_mix = "none" } }]
seeds = [0, 1]
rank = "both"
[[setups]]
dataset = "digits"
model = "preactresnet10"
width = 4
recipe = "digits"
suites = ["clean", "deformation"]
[[columns]]
name = "clean err"
conditions = ["clean"]
[[columns]]
name = "zoom acc"
metric = "accuracy"
conditions = ["zoom-60", "zoom-80"]
[[columns]]
name = "both"
about = "mean of the others"
mean_of = ["clean err", "zoom acc"]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made_up(tmp_path)


def made_up(tmp_path: Path, text: str = TOML) -> Path:
    """A folder with the board ``tiny.toml`` and made-up, consistent records of it."""
    (tmp_path / "tiny.toml").write_text(text)
    folder = tmp_path / "leaderboards" / "results" / "tiny"
    board = boards.load(str(tmp_path / "tiny.toml"))
    suites = make_suites(["clean", "deformation"], {})
    rng = np.random.default_rng(0)
    for job in jobs_of(board):
        error = {"baseline": 0.5, "catchup": 0.1, "catchup-no-input": 0.3}[job.label]
        outcomes = {
            c: Outcome.of(rng.random(80) > error, name, as_json(s.protocol(c)))
            for name, s in suites.items()
            for c in s.conditions()
        }
        record = Record(
            run=job.run,
            digest=job.run.digest,
            checkpoint={},
            test_sha256="0",
            training={"device": "test", "threads": 1, "precision": "fp32", "versions": {"torch": "0"}},
            evaluated=[{}],
            outcomes=outcomes,
        )
        write_record(record, folder / job.path)
    return tmp_path


def make(root: Path) -> Table:
    return make_table(boards.load(str(root / "tiny.toml")), root / "leaderboards" / "results" / "tiny")


SETUP = """
[[setups]]
name = "other"
dataset = "digits"
model = "preactresnet10"
width = 4
recipe = "digits"
set = ["catchup.alpha=2", "catchup.input_mix=inputmixup"]
suites = ["clean"]
"""


def test_a_setup_has_options_of_methods_and_a_rows_own_come_first(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TOML + SETUP)
    board = boards.load(str(tmp_path / "tiny.toml"))
    options = {(j.setup, j.label): j.run.method.options for j in jobs_of(board) if isinstance(j.run, Run)}
    assert [options["preactresnet10-w4", "catchup"][k] for k in ("alpha", "input_mix")] == [10, "cutmix"]
    assert [options["other", "catchup"][k] for k in ("alpha", "input_mix")] == [2, "inputmixup"]
    assert [options["other", "catchup-no-input"][k] for k in ("alpha", "input_mix")] == [2, "none"]
    said = dict(setup_texts(make(tmp_path)))
    assert "catchup.alpha=2" in said["other"] and "catchup" not in said["preactresnet10-w4"]
    run = next(j.run for j in jobs_of(board) if (j.setup, j.label) == ("other", "catchup"))
    assert isinstance(run, Run)
    assert entry_of(run, board.setups[1], None) == {"name": "catchup", "label": "catchup", "set": {}}
    assert entry_of(run, board.setups[0], "mine")["set"] == {"alpha": 2.0, "input_mix": "inputmixup"}


def test_options_of_a_method_that_is_not_on_the_board_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TOML + SETUP.replace("catchup.alpha", "cutmix.alpha"))
    with pytest.raises(UsageError, match="setup 'other' sets options of cutmix, which is no method of this board"):
        boards.load(str(tmp_path / "tiny.toml"))


def test_every_packaged_board_loads_and_has_runs() -> None:
    for name in boards.available():
        assert next(jobs_of(boards.load(name))).run.seed == boards.load(name).seeds[0]


def test_rows_are_means_and_deviations_of_the_bits(root: Path) -> None:
    row = next(r for r in make(root).rows if r.label == "baseline")
    folder = root / "leaderboards" / "results" / "tiny" / "preactresnet10-w4" / "baseline"
    clean, zoom = [], []
    for seed in (0, 1):
        outcomes = read_record(folder / f"seed{seed}.json").outcomes
        clean.append(Fraction(100 * int((~outcomes["clean"].array()).sum()), 80))
        zoom.append(Fraction(100 * int(sum(outcomes[c].array().sum() for c in ("zoom-60", "zoom-80"))), 160))
    assert row.values["clean err"] == summarize(clean)
    assert row.values["zoom acc"] == summarize(zoom)
    assert row.values["both"] == summarize([(c + 100 - z) / 2 for c, z in zip(clean, zoom, strict=True)])


def test_rows_are_sorted_by_the_ranking_column(root: Path) -> None:
    assert [r.label for r in make(root).rows] == ["catchup", "catchup-no-input", "baseline"]


def test_the_column_against_the_baseline_is_its_own_family(root: Path) -> None:
    """Verdict, difference and interval, in the ranking column's own points, on the page and in the sentence."""
    made = make(root)
    rows = {row.label: row for row in made.rows}
    assert rows["baseline"].against is None and wording.against_text(made, rows["baseline"]) == ""
    for label in ("catchup", "catchup-no-input"):
        against = rows[label].against
        assert against is not None
        assert against.difference == rows[label].values["both"].mean - rows["baseline"].values["both"].mean
        assert wording.against_text(made, rows[label]).startswith(
            f"{against.verdict} {float(against.difference):+.2f} ["
        )
    page = board_page("tiny", made)
    assert "vs baseline" in page and "in 2 comparisons with the baseline at once" in page


def test_against_the_baseline_in_accuracy_more_is_better(root: Path) -> None:
    (root / "tiny.toml").write_text(TOML.replace('rank = "both"', 'rank = "zoom acc"'))
    made = make(root)
    row = next(r for r in made.rows if r.label == "catchup")
    assert row.against is not None and row.against.difference < 0
    shown = wording.against_difference(made, row)
    assert shown == (-row.against.difference, -row.against.high, -row.against.low)
    assert row.values["zoom acc"].mean - made.rows[-1].values["zoom acc"].mean == shown[0]


def test_one_seed_has_no_tier_and_the_page_says_so(root: Path) -> None:
    for path in (root / "leaderboards" / "results" / "tiny").glob("*/catchup/seed1.json"):
        path.unlink()
    made = make(root)
    row = made.rows[0]
    assert (row.label, row.n, row.tier, row.rank) == ("catchup", 1, "–", (1, 3))
    page = board_page("tiny", made)
    assert "| – | 1–3 | catchup | one seed |" in page and "no tier, and any rank is possible" in page
    assert "catchup not compared, with one seed" in page
    for path in (root / "leaderboards" / "results" / "tiny").glob("*/*/seed1.json"):
        path.unlink()
    page = board_page("tiny", make(root))
    assert "One seed: no tiers." in page and "that needs two seeds or more of both" in page
    assert "±" not in page.split("Percent")[0]


def test_the_table_as_json_has_no_number_that_is_none(root: Path) -> None:
    """One seed has null for its deviation; the comparison is in the ranking column's own points."""
    for path in (root / "leaderboards" / "results" / "tiny").glob("*/catchup/seed1.json"):
        path.unlink()
    made = make(root)
    rows = {r["label"]: r for r in json.loads(json.dumps(tables.table_json(made), allow_nan=False))["rows"]}
    assert rows["catchup"]["values"]["both"][1:] == [None, 1] and rows["catchup"]["against"] is None
    against, row = rows["catchup-no-input"]["against"], made.rows[1]
    assert row.label == "catchup-no-input" and against["verdict"] == row.against.verdict
    assert against["low"] < against["difference"] < against["high"]
    assert against["difference"] == pytest.approx(float(row.against.difference))
    assert rows["baseline"]["values"]["both"] == pytest.approx(
        [float(made.rows[2].values["both"].mean), math.sqrt(made.rows[2].values["both"].variance), 2]
    )


def test_the_first_value_is_bold_only_where_no_method_shares_a_letter(root: Path) -> None:
    made = make(root)
    bold = f"**{wording.value_text(made.rows[0], made.board.column('both'))}**"
    assert made.ranking is not None and made.ranking.differ == {
        ("catchup", "catchup-no-input"),
        ("catchup", "baseline"),
    }
    assert bold in board_page("tiny", made)
    differ = {("catchup", "baseline")}
    letters = statistics.letters(list(made.ranking.rank), differ)
    ranking = dataclasses.replace(made.ranking, letters=letters, differ=differ)
    assert "**" not in board_page("tiny", dataclasses.replace(made, rankings={"both": ranking})).split("Percent")[0]


def test_rendering_is_pure_and_checked(root: Path) -> None:
    (root / "README.md").write_text("Before\n<!-- BEGIN board: x -->\nkept\n<!-- END board: x -->\nAfter\n")
    board = boards.load(str(root / "tiny.toml"))
    write_pages(root, board)
    page = (root / "leaderboards" / "tiny.md").read_text()
    write_pages(root, board)
    assert (root / "leaderboards" / "tiny.md").read_text() == page
    assert stale_pages(root, board) == []
    (root / "leaderboards" / "tiny.md").write_text(page.replace("±", "+-", 1))
    assert stale_pages(root, board) == ["leaderboards/tiny.md"]
    assert "kept" in (root / "README.md").read_text()


def test_the_page_is_the_golden_one(root: Path) -> None:
    page = board_page("tiny", make(root))
    golden = Path(__file__).with_name("golden_board.md")
    assert page == golden.read_text(encoding="utf-8")


def test_the_excerpt_stands_between_its_markers() -> None:
    text = "a\n<!-- BEGIN board: tiny -->\nold\n<!-- END board: tiny -->\nb\n"
    assert between(text, "board: tiny", "new") == text.replace("old", "new")
    assert between(text, "board: other", "new") == text


def test_an_excerpt_shows_twelve_rows_before_a_click(root: Path) -> None:
    made = make(root)
    assert "<details>" not in excerpt("tiny", made)
    for many, seen in ((13, 13), (14, 12)):
        rows = [dataclasses.replace(made.rows[i % 3], label=f"method{i:02}") for i in range(many)]
        text = excerpt("tiny", dataclasses.replace(made, rows=rows))
        assert all(f"| method{i:02} |" in text for i in range(many)), "no row is lost"
        opened, _, folded = text.partition(f"<details>\n<summary>{many - seen} further rows</summary>\n\n| tier |")
        assert opened.count("| method") - 1 == seen and ("</details>" in folded) is (many > seen)
    marked = dataclasses.replace(made, rows=[dataclasses.replace(made.rows[0], trained_on=("noise",)), *made.rows[1:]])
    assert "‡ trained on relatives" in excerpt("tiny", marked) and "‡" not in excerpt("tiny", made)


def test_an_excerpt_says_what_is_known_and_names_what_was_not_run(root: Path) -> None:
    text = excerpt("tiny", make(root))
    assert text.startswith("**Tiny.** Does it render? By both, beside the baseline: catchup better than it; ")
    assert "Not run yet" not in text
    for path in (root / "leaderboards" / "results" / "tiny").glob("*/catchup*/seed*.json"):
        path.unlink()
    text = excerpt("tiny", make(root))
    assert "| baseline |" in text and "| catchup" not in text and NOTHING_KNOWN in text
    assert "\n\nNot run yet: catchup, catchup-no-input.\n" in text


def test_the_index_says_what_is_known_and_what_waits(root: Path) -> None:
    text = index_section({"tiny": make(root)})
    assert "| [Tiny](tiny.md) | Does it render? | By both, beside the baseline: catchup better than it; " in text
    waiting = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(waiting) == len(boards.available()) - 1, "all but the demonstration"
    assert any("`catchup-bench leaderboard run table1`" in line for line in waiting)


def test_a_board_has_the_name_of_its_file(root: Path) -> None:
    assert boards.load(str(root / "tiny.toml")).name == "tiny"
    (root / "named.toml").write_text(f'name = "other"\n{TOML}')
    with pytest.raises(
        UsageError, match=r"named\.toml: name = 'other': a board has the name of its file; leave it out"
    ):
        boards.load(str(root / "named.toml"))


def test_the_index_is_checked_too(root: Path) -> None:
    index = root / "leaderboards" / "README.md"
    index.write_text("Before\n<!-- BEGIN boards -->\n<!-- END boards -->\nAfter\n")
    write_pages(root, boards.load(str(root / "tiny.toml")))
    assert "[Tiny]" not in index.read_text(), "a board of one's own is not of the project's"
    demo = boards.load("demo")
    write_pages(root, demo)
    assert "[Demo](demo.md)" not in index.read_text()
    write_records(root, demo)
    assert stale_pages(root) == stale_pages(root, demo) == ["leaderboards/demo.md", "leaderboards/README.md"]
    write_pages(root, demo)
    assert "[Demo](demo.md)" in index.read_text() and index.read_text().endswith("After\n") and stale_pages(root) == []


def test_missing_runs_are_rows_that_say_so(root: Path) -> None:
    for path in (root / "leaderboards" / "results" / "tiny").glob("*/catchup/*.json"):
        path.unlink()
    rows = make(root).rows
    assert [r.label for r in rows][-1] == "catchup" and rows[-1].n == 0
    assert "not run" in board_page("tiny", make(root))


def test_records_of_another_protocol_do_not_count(root: Path) -> None:
    text = (root / "tiny.toml").read_text()
    (root / "tiny.toml").write_text(text.replace('recipe = "digits"', 'recipe = "digits"\noverrides = { lr = 0.2 }'))
    assert all(r.n == 0 for r in make(root).rows)


def tamper(root: Path, change: object) -> Path:
    path = next((root / "leaderboards" / "results" / "tiny").glob("*/baseline/seed0.json"))
    value = written_out(path)
    change(value)  # type: ignore[operator]
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["outcomes"]["clean"].update(correct=79), "its bits say"),
        (lambda v: v["outcomes"]["clean"].update(n=90), "not of 90 images"),
        (lambda v: v["outcomes"]["clean"].update(bits="?"), "bits are damaged"),
        (lambda v: v.update(digest="0" * 12), "is not that of the run"),
        (lambda v: v["run"].update(seed=7), "is not that of the run"),
        (lambda v: v["outcomes"]["clean"].update(provenance=3), "nothing says what evaluated it"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(root: Path, change: object, words: str) -> None:
    tamper(root, change)
    with pytest.raises(VerificationFailed, match=words):
        make(root)


def test_rows_of_other_test_images_are_not_compared(root: Path) -> None:
    tamper(root, lambda v: v.update(test_sha256="1"))
    with pytest.raises(VerificationFailed, match="other test images"):
        make(root)


def test_a_record_that_is_not_json_is_named(root: Path) -> None:
    path = tamper(root, lambda v: None)
    path.write_text("{")
    with pytest.raises(UsageError, match="not valid JSON"):
        make(root)


def test_nothing_to_render_is_said(tmp_path: Path) -> None:
    (tmp_path / "leaderboards").mkdir()
    with pytest.raises(NothingSelected):
        write_pages(tmp_path)


def test_groups_weigh_as_the_lists_of_conditions_did() -> None:
    """``column_weights.json`` has digests of the weights of every column when boards still listed all conditions."""
    path = Path(__file__).with_name("column_weights.json")
    for name, columns in json.loads(path.read_text(encoding="utf-8")).items():
        board = boards.load(name)
        found = {}
        for column in board.columns:
            weights = sorted([*key, str(weight)] for key, weight in board.weights(column).items())
            found[column.name] = hashlib.sha256(json.dumps(weights).encode()).hexdigest()[:16]
        assert found == columns, name


@pytest.mark.parametrize(
    ("written", "first", "count"),
    [
        (["corruption:noise"], "gaussian_noise-1", 15),
        (["corruption:all19"], "gaussian_noise-1", 95),
        (["corruption:common15-official"], "gaussian_noise-1-official", 75),
        (["corruption:weather-3-n2000"], "snow-3-n2000", 4),
        (["corruption:extra-*"], "speckle_noise-1", 20),
        (["corruption:all19", "!frost-*"], "gaussian_noise-1", 90),
        (["corruption:all19", "!corruption:extra"], "gaussian_noise-1", 75),
        (["deformation:all"], "rotation-20", 8),
        (["deformation:zoom-black", "clean"], "zoom-60-black", 5),
        (["fog-*"], "fog-1", 5),
    ],
)
def test_columns_name_groups(written: list[str], first: str, count: int) -> None:
    conditions = boards.Column(name="x", conditions=written).conditions
    assert conditions[0] == first and len(conditions) == count == len(set(conditions))


def test_groups_are_those_of_the_suites() -> None:
    """Resolved from a file, without the suites, but the same."""
    suites = make_suites(["corruption", "deformation"], {"corruption": {"source": "generated", "frost": "published"}})
    assert list(condition_groups.expand(["corruption:all19"])) == suites["corruption"].conditions()
    assert list(condition_groups.expand(["deformation:all"])) == suites["deformation"].conditions()
    summary = suites["corruption"].summary()
    for group in corruptions.GROUPS:
        assert list(condition_groups.expand([f"corruption:{group}"])) == summary[group]
    assert list(condition_groups.expand(["corruption:common15"])) == summary["mean of 15 types"]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("corruption:nois", "noise"),
        ("coruption:noise", "corruption"),
        ("!frost-*", "nothing before it has frost-1"),
        ('deformation:rotation", "rotation-20', "names something twice"),
    ],
)
def test_a_wrong_group_is_one_line_with_what_there_is(root: Path, written: str, words: str) -> None:
    (root / "tiny.toml").write_text(TOML.replace('conditions = ["clean"]', f'conditions = ["{written}"]'))
    with pytest.raises(UsageError, match=words):
        boards.load(str(root / "tiny.toml"))


def test_column_weights_sum_to_one() -> None:
    for name in boards.available():
        board = boards.load(name)
        for column in board.columns:
            assert sum(board.weights(column).values()) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('rank = "both"', 'rank = "neither"', "is not a column"),
        ("seeds = [0, 1]", "seeds = []", "seeds"),
        ("seeds = [0, 1]", "seeds = [0, -1]", r"seeds\.1 = -1"),
        ("seeds = [0, 1]", f"seeds = [{2**31}]", r"seeds\.0 = 2147483648"),
        ('name = "clean err"\n', 'name = "clean err"\npaper = "T1.top1_er"\n', r"did you mean T1\.top1_err"),
        ('name = "clean err"\n', 'name = "clean err"\npaper = {id = "T1", note = "", rows = {}}\n', "name of a column"),
        ('title = "Tiny"', 'titel = "Tiny"', "titel"),
        ('conditions = ["clean"]', "", "needs either conditions or mean_of"),
        ('mean_of = ["clean err", "zoom acc"]', 'mean_of = ["both"]', "needs either"),
        (', label = "catchup-no-input"', "", "own label"),
        ('label = "catchup-no-input"', 'label = "../up"', "label"),
    ],
)
def test_bad_boards_are_one_line(root: Path, old: str, new: str, words: str) -> None:
    (root / "tiny.toml").write_text(TOML.replace(old, new, 1))
    with pytest.raises(UsageError, match=words):
        boards.load(str(root / "tiny.toml"))


def test_bits_survive_packing() -> None:
    for bits in itertools.product([False, True], repeat=9):
        array = np.array(bits)
        assert np.array_equal(unpack(pack(array), 9), array)


PAPER = (
    TOML.replace('rank = "both"', 'rank = "clean err"\ndiffers = "made up"\ncost_paper = "T1.time_per_epoch"')
    .replace('name = "clean err"\n', 'name = "clean err"\npaper = "T1.top1_err"\n')
    .replace('label = "catchup-no-input"', 'label = "catchup-no-input", paper = "inputmixup"')
)


def test_the_papers_numbers_stand_beside_ours(root: Path) -> None:
    """The value, the difference, whether it lies inside the prediction interval, and which pairs keep the order."""
    (root / "tiny.toml").write_text(PAPER)
    made = make(root)
    for row in made.rows:
        value = row.values["clean err"]
        found = findings.beside(made, row, made.board.column("clean err"))
        printed = Fraction({"baseline": "22.98", "catchup": "17.76", "catchup-no-input": "19.26"}[row.label])
        assert found is not None and (found.ours, found.printed) == (value.mean, printed)
        # one run of the paper beside two of ours; the t quantile for one degree of freedom
        half = 12.7062 * math.sqrt(value.variance * (1 / 2 + 1 / 1))
        assert found.interval == pytest.approx((float(value.mean) - half, float(value.mean) + half), abs=1e-4)
        assert found.inside == (abs(value.mean - printed) <= half)
    page = board_page("tiny", made)
    assert "prediction interval" in page
    assert "**Not the same protocol**: made up." in page
    assert "very probably exchanged" in page, "what the paper contradicts itself in"
    assert "clean err beside Table 1: 3 of 3 pairs of methods stand in its order" in page


def test_costs_stand_beside_the_papers_as_ratios(root: Path) -> None:
    (root / "tiny.toml").write_text(PAPER)
    cost = {"methods": {m: {"ratio": r} for m, r in (("baseline", 1.0), ("catchup", 1.1), ("catchup-no-input", 1.0))}}
    folder = root / "leaderboards" / "results" / "tiny" / "preactresnet10-w4"
    (folder / "cost.json").write_text(json.dumps(cost))
    made = make(root)
    row = next(r for r in made.rows if r.label == "catchup")
    found = findings.beside_cost(made, row)
    assert found is not None and (found.ours, found.printed) == (Fraction("1.1"), Fraction("107.8") / Fraction("103.8"))


def test_a_method_of_a_file_is_a_row_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(boards.__file__).parents[2] / "methods" / "inputmixup.py"
    (tmp_path / "mine.py").write_text(source.read_text())
    methods = 'methods = ["baseline", "./mine.py", { name = "./mine.py", label = "half", set = { alpha = 0.5 } }]\n'
    old = TOML[TOML.index("methods = ") : TOML.index("seeds = ")]
    (tmp_path / "tiny.toml").write_text(TOML.replace(old, methods))
    board = boards.load("tiny.toml")
    assert [e.row for e in board.rows] == ["baseline", "mine", "half"]
    found = {job.path.parent.name: job.run for job in jobs_of(board)}
    assert list(found) == ["baseline", "mine", "half"] and found["half"].method.options["alpha"] == 0.5


def test_what_was_changed_after_it_was_verified_is_named(root: Path) -> None:
    path = next((root / "leaderboards" / "results" / "tiny").glob("*/catchup/seed0.json"))
    keep_level(path, Verdict(2, 1, {}))
    assert read_marks(path) == (2, [])
    path.write_text(path.read_text() + "\n")
    assert "changed after verified-seed0.json" in read_marks(path).problems[0]
    with pytest.raises(VerificationFailed, match="changed after verified-seed0"):
        verify_record(path, None, torch.device("cpu"))
    mark_file(path).unlink()
    assert verify_record(path, None, torch.device("cpu")).level == 1


def test_records_of_other_images_than_most_are_named(root: Path) -> None:
    folder = root / "leaderboards" / "results" / "tiny"
    every = {path: read_record(path) for path in sorted(folder.glob("*/*/seed*.json"))}
    assert list(all_records.unlike_others(every)) == []
    path, record = next(iter(every.items()))
    every[path] = record.model_copy(update={"test_sha256": "other"})
    assert [p for p, text in all_records.unlike_others(every) if "its test images are other" in text] == [path]
    longer = record.outcomes["clean"].model_copy(update={"n": 79})
    every[path] = record.model_copy(update={"outcomes": record.outcomes | {"clean": longer}})
    assert [text for _, text in all_records.unlike_others(every)] == [
        "clean is of 79 images; that of most records beside it is of 80"
    ]


def test_a_bit_of_no_image_is_damage() -> None:
    bits = np.ones(5, bool)
    assert (unpack(pack(bits), 5) == bits).all()
    with pytest.raises(ValueError, match="beyond"):
        unpack(pack(np.ones(8, bool)), 5)
