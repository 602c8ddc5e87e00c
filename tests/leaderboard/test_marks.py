"""Methods that trained on relatives of the test corruptions are marked, as far as these are in the board's columns."""

import pytest

from catchup_bench.boards import Board
from catchup_bench.boards.grid import jobs_of
from catchup_bench.cli.catalog import catalog_entries
from catchup_bench.leaderboard.results import relatives_in
from catchup_bench.leaderboard.table import Row, Table
from catchup_bench.leaderboard.wording import TRAINED_ON, how_to_read, row_texts

METHODS = [
    "baseline",
    "augmix",
    {"name": "augmix", "label": "all", "set": {"all_ops": True}},
    "noisymix",
    "randaugment",
]


def board(*conditions: str) -> Board:
    setup = {"dataset": "digits", "model": "preactresnet10", "width": 4, "recipe": "digits", "suites": ["clean"]}
    columns = [{"name": "error", "conditions": list(conditions)}]
    return Board.model_validate(
        {"name": "x", "title": "x", "question": "x", "methods": METHODS, "seeds": [0], "rank": "error",
         "setups": [setup],
         "columns": columns}
    )  # fmt: skip


def test_only_what_is_tested_and_trained_on_counts() -> None:
    made = board("brightness-3-procedural", "gaussian_noise-1", "fog-*")
    assert relatives_in(made, jobs_of(made)) == {
        "baseline": (),
        "augmix": (),
        "all": ("brightness",),
        "noisymix": ("gaussian_noise",),
        "randaugment": ("brightness",),
    }
    clean = board("clean", "bar-lines-3")
    assert not any(relatives_in(clean, jobs_of(clean)).values())


@pytest.mark.parametrize("trained_on", [(), ("brightness",)])
def test_a_row_is_marked_and_the_mark_is_said(trained_on: tuple[str, ...]) -> None:
    row = Row("all", n=1, trained_on=trained_on)
    table = Table(board("clean"), [row], {}, {})
    assert row_texts(table, row, [], None)[2] == ("all ‡" if trained_on else "all")
    assert (TRAINED_ON in how_to_read(table)) == bool(trained_on)


def test_the_list_of_methods_says_it() -> None:
    said = {entry["name"]: entry["trained on relatives of"] for entry in catalog_entries("methods")}
    assert said["baseline"] == "" and said["noisymix"] == said["nfm"] == "gaussian_noise, speckle_noise"
    assert said["augmix"].endswith("(with all_ops)") and "elastic_transform" in said["prime"]
