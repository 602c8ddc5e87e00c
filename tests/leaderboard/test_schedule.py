"""From which length of training on a method is better than the baseline, as pages say it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from catchup_bench import boards
from catchup_bench.boards.grid import jobs_of
from catchup_bench.errors import UsageError
from catchup_bench.leaderboard.curves import of_schedule
from catchup_bench.leaderboard.markdown import board_page, index_line
from catchup_bench.leaderboard.schedule import schedule_table, sentences
from catchup_bench.leaderboard.table import Table, make_table
from catchup_bench.records.record import Outcome, Record, write_record
from catchup_bench.records.results_folder import cost_file
from catchup_bench.system.files import write_json

HEAD = """
title = "By length"
question = "From when on?"
methods = ["baseline", "early", "late", "fades"]
seeds = [0, 1, 2, 3]
rank = "acc, 2 epochs"
schedule = ["acc, 1 epochs", "acc, 2 epochs"]
"""

PER_LENGTH = """
[[setups]]
name = "e{0}"
dataset = "digits"
model = "preactresnet10"
width = 4
recipe = "digits"
overrides = {{ epochs = {0} }}
suites = ["clean"]
[[columns]]
name = "acc, {0} epochs"
metric = "accuracy"
setup = "e{0}"
conditions = ["clean"]
"""

TOML = (HEAD + "".join(PER_LENGTH.format(epochs) for epochs in (1, 2))).replace(
    '"early", "late", "fades"',
    ", ".join(f'{{ name = "catchup", label = "{label}" }}' for label in ("early", "late", "fades")),
)

ACCURACY = {"baseline": (0.5, 0.6), "early": (0.7, 0.9), "late": (0.3, 0.9), "fades": (0.7, 0.4)}


def table_of(folder: Path, seeds: int = 4) -> Table:
    """The board's table where every method has its accuracy in each setup, up to a quarter of a point between seeds."""
    (folder / "length.toml").write_text(TOML)
    board = boards.load(str(folder / "length.toml"))
    for job in jobs_of(board):
        if job.run.seed < seeds:
            right = round(400 * ACCURACY[job.label][job.setup == "e2"]) + job.run.seed % 2
            order = np.random.default_rng(job.run.seed).permutation(400)
            outcome = Outcome.of(order < right, "clean", {"version": 1})
            record = Record(
                run=job.run, digest=job.run.digest, checkpoint={}, test_sha256="0", training={"device": "none"},
                evaluated=[{}], outcomes={"clean": outcome},
            )  # fmt: skip
            write_record(record, folder / job.path)
    return make_table(board, folder)


def test_the_page_says_from_which_schedule_on_each_method_is_better(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    lines = {line[0]: line for line in schedule_table(table)}
    assert lines["method"][1:] == ["acc, 1 epochs ↑", "acc, 2 epochs ↑", "better than the baseline"]
    assert lines["baseline"][1] == "50.12 ± 0.14" and lines["baseline"][-1] == ""
    assert lines["early"][-1] == "from 1 epochs on"
    assert lines["late"][-1] == "from 2 epochs on"
    assert lines["fades"][-1] == "not shown at 2 epochs, though at a shorter one"
    assert lines["early"][1].startswith("70.12 ± 0.14 [+") and lines["late"][1].startswith("30.12 ± 0.14 [-")
    answer = (
        "By acc, better than the baseline: early from 1 epochs on; late from 2 epochs on; fades not shown at "
        "2 epochs, though at a shorter one. Worse than it: late at 1 epochs; fades at 2 epochs."
    )
    assert " ".join(sentences(table)) == answer and f"| {answer} |" in index_line("length", table)
    page = board_page("length", table)
    assert all(f"- {text}\n" in page for text in sentences(table))
    assert "## How it depends on the schedule" in page and "| late | 30.12 ± 0.14" in page


def test_the_schedule_is_drawn_by_epochs_and_by_what_they_cost(tmp_path: Path) -> None:
    write_json(cost_file(tmp_path, "e1"), {"methods": {"baseline": {"ratio": 1.0}, "late": {"ratio": 2.0}}})
    by_epochs, by_cost = of_schedule(table_of(tmp_path), "length")
    assert all(label in by_epochs.image for label in ACCURACY) and "by epochs, with its 95 %" in by_epochs.caption
    assert "late" in by_cost.image and "fades" not in by_cost.image, "no cost, no point"
    assert "in epochs of the baseline" in by_cost.caption


def test_columns_of_a_schedule_that_share_no_name_are_named_in_full(tmp_path: Path) -> None:
    table_of(tmp_path)
    renamed = TOML.replace("acc, 1 epochs", "short").replace("acc, 2 epochs", "long")
    (tmp_path / "length.toml").write_text(renamed)
    board = boards.load(str(tmp_path / "length.toml"))
    better, worse = sentences(make_table(board, tmp_path))
    assert better.startswith("Better than the baseline: early from short on; late from long on; fades not shown at")
    assert worse == "Worse than it: late at short; fades at long."


def test_what_is_said_of_several_columns_stands_once(tmp_path: Path) -> None:
    table_of(tmp_path)
    said = TOML.replace('metric = "accuracy"', 'metric = "accuracy"\nabout = "on all images"')
    (tmp_path / "length.toml").write_text(said)
    page = board_page("length", make_table(boards.load(str(tmp_path / "length.toml")), tmp_path))
    assert "- **acc, 1 epochs; acc, 2 epochs**: on all images\n" in page and page.count("on all images") == 1


def test_one_seed_is_not_compared_and_no_runs_make_no_section(tmp_path: Path) -> None:
    table = table_of(tmp_path, seeds=1)
    assert {line[-1] for line in schedule_table(table)[1:]} == {"", "not compared: one seed"} and not sentences(table)
    empty = make_table(table.board, tmp_path / "nothing")
    assert schedule_table(empty) == [] and "schedule" not in board_page("length", empty)


def test_a_page_without_the_ranked_schedule_says_so(tmp_path: Path) -> None:
    board = table_of(tmp_path).board
    shutil.rmtree(tmp_path / "e2")
    page = board_page("length", make_table(board, tmp_path))
    assert "No run has acc, 2 epochs yet." in page and "50.12 ± 0.14" in page
    assert "No runs yet." in board_page("length", make_table(board, tmp_path / "nothing"))


def test_a_schedule_names_columns_of_errors(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(TOML.replace('schedule = ["acc, 1 epochs"', 'schedule = ["acc, 9 epochs"'))
    with pytest.raises(UsageError, match="schedule: 'acc, 9 epochs' is no column of errors or accuracies"):
        boards.load(str(tmp_path / "wrong.toml"))


def test_a_row_trains_with_its_own_overrides_and_the_page_names_them(tmp_path: Path) -> None:
    own = TOML.replace('label = "late"', 'label = "late", overrides = { lr = 0.03 }, set = { alpha = 0.5 }')
    (tmp_path / "own.toml").write_text(own)
    board = boards.load(str(tmp_path / "own.toml"))
    recipes = {(job.label, job.setup): job.run.recipe for job in jobs_of(board) if hasattr(job.run, "recipe")}
    assert (recipes["late", "e1"].lr, recipes["late", "e2"].epochs, recipes["early", "e2"].lr) == (0.03, 2, 0.1)
    page = board_page("own", make_table(board, tmp_path))
    assert "- **row late**: catchup.alpha=0.5, recipe.lr=0.03\n" in page
