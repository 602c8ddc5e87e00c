"""Every table of the paper in miniature: its board as it is, with narrow networks and a few images in the official
layouts. Here two of each board's methods; all of them with CATCHUP_BENCH_WHOLE_TABLES=1."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision

from catchup_bench import boards
from catchup_bench.boards import paper
from catchup_bench.boards.grid import jobs_of
from catchup_bench.errors import UsageError
from catchup_bench.jobs.job import Workspace, missing_jobs
from catchup_bench.jobs.local import work
from catchup_bench.leaderboard.markdown import board_page
from catchup_bench.leaderboard.table import make_table
from catchup_bench.records.outcomes import collect_record
from catchup_bench.records.record import write_record
from catchup_bench.records.results_folder import board_folder
from tests.support import layouts

TABLES = [f"table{n}" for n in range(1, 14)]

PUBLIC = "openmixup-200"
"""A board beside public numbers that are not the paper's."""

FIGURES = [f"figure{n}" for n in (1, 3, 5, 7)]

WIDTHS = {"densenet121": 4, "resnext50": 32, "pyramidnet200": 8, "mobilenetv2": 8, "vgg11": 8, "wrn16-8": 4}

CLASSES = ("n01440764", "n02085620")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of every dataset: 20 training images of the small ones, 4 of the large ones."""
    root = tmp_path_factory.mktemp("data")
    small, large = layouts.items(2, 10, 64, 64), layouts.items(2, 2, 250, 240)
    layouts.tiny(root, CLASSES, small, layouts.items(2, 2, 64, 64, seed=1))
    for make, tested in ((layouts.cub, 3), (layouts.cars, 1), (layouts.aircraft, 1)):
        make(root, ["001.a", "002.b"], large, layouts.items(2, tested, 250, 240, seed=1))
    layouts.folders(root / "imagenet", CLASSES, train=large, val=layouts.items(2, 2, 250, 240, seed=1))
    for item in layouts.items(2, 2, 250, 240, seed=2):
        layouts.put(root / "imagenet-o" / CLASSES[item.label] / item.name, item.content)
    rng = np.random.default_rng(0)
    for name, n in (("train", 20), ("test", 4)):
        batch = {"data": rng.integers(0, 256, (n, 3072), np.uint8), "fine_labels": [i % 2 for i in range(n)]}
        layouts.put(root / "cifar-100-python" / name, pickle.dumps(batch))
    layouts.put(root / "cifar-100-python" / "meta", pickle.dumps({"fine_label_names": ["a", "b"]}))
    return root


@pytest.fixture
def few_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's loader checks for the official files, which these are not."""
    monkeypatch.setattr(torchvision.datasets.utils, "check_integrity", lambda *_: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)


def miniature(name: str) -> boards.Board:
    board = boards.load(name)
    setups = tuple(
        s.model_copy(
            update={
                "width": WIDTHS.get(s.model, 16),
                "fraction": max(s.fraction, 0.2),
                "overrides": {
                    "epochs": 10 if name == PUBLIC else 1,
                    "batch_size": 4,
                    "precision": "fp32",
                    "pretrained": "",
                },
            }
        )
        for s in board.setups
    )
    methods = board.methods if os.environ.get("CATCHUP_BENCH_WHOLE_TABLES") else (board.methods[0], board.methods[-1])
    return board.model_copy(update={"setups": setups, "methods": methods, "seeds": (0,)})


LONG = {"table6", "table13"}
"""Deep networks: half a minute for one step of each."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in [*TABLES, PUBLIC]]
)
@pytest.mark.usefixtures("few_cifar")
def test_a_table_runs_from_its_board_to_its_page(
    name: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_WORKERS", "0")
    board = miniature(name)
    place = Workspace(tmp_path / "runs", tmp_path, data_dir, "cpu")
    todo, results = missing_jobs(board, place, jobs_of(board)), board_folder(tmp_path, board.name)
    assert len(todo) == len(board.methods) * len(board.setups)
    for job in todo:
        work(job, board.settings, place, None)
        write_record(collect_record(place.runs / job.run.folder), results / job.path)
    made = make_table(board, results)
    page = board_page(name, made)
    published = {"mCE", "mCE, generated"}  # without the published arrays and frost pictures
    assert all(set(row.values) == {c.name for c in board.columns} - published for row in made.rows)
    assert f"## Beside {'OpenMixup and cvlab-yonsei' if name == PUBLIC else 'the paper'}" in page
    assert "✓ [" not in page and "✗ [" not in page, "one seed has no interval"
    assert not missing_jobs(board, place, jobs_of(board))


def test_every_printed_row_and_column_is_on_a_board() -> None:
    """Nothing of the paper's tables, and of the public ones, is left out."""
    names = [*TABLES, PUBLIC]
    every = [boards.load(name) for name in names]
    shown = [column for b in every for column in (b.cost_paper, *(c.paper for c in b.columns)) if column is not None]
    assert set(paper.names_of_columns()) == {column.id for column in shown}
    for name in names:
        board = boards.load(name)
        for column in board.columns:
            rows = column.paper.rows if column.paper else {}
            assert set(rows) <= {e.printed for e in board.methods}, column.name


def test_quick_boards_have_quick_recipes_and_say_so() -> None:
    for name in [*TABLES, *FIGURES]:
        board = boards.load(f"{name}-quick")
        assert all(s.recipe.endswith("-quick") for s in board.setups)
        assert "quick recipes" in board.title and "quick recipes" in board.differs
        assert board.methods == boards.load(name).methods and board.columns == boards.load(name).columns


@pytest.mark.parametrize("name", ["openmixup-200", "cifar100-schedule"])
def test_a_board_whose_lengths_are_its_own_takes_no_other_recipe(name: str) -> None:
    """It would be called short and train as long as before."""
    with pytest.raises(UsageError, match="sets the epochs of its recipes itself"):
        boards.load(name, "quick" if name == "openmixup-200" else "cifar100-4epochs")


def test_another_recipe_gives_a_page_of_its_own(tmp_path: Path) -> None:
    assert boards.load("digits").claim_board and not boards.load("digits", "cifar100-4epochs").claim_board
    assert boards.load("table4").name == "table4"
    assert boards.load("table4", "quick").name == boards.load("table4-quick").name == "table4-quick"
    assert boards.load("table4", str(tmp_path / "mine.toml")).name == "table4-mine"
    with pytest.raises(UsageError, match="unknown recipe"):
        list(jobs_of(boards.load("table4", "cifar100-quik")))
    with pytest.raises(UsageError, match="no digits-quick, a short variant of digits"):
        boards.load("digits", "quick")
