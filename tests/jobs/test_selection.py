"""Which jobs of a board a command does, and for how long."""

import json
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench import boards
from catchup_bench.boards.grid import jobs_of
from catchup_bench.errors import UsageError
from catchup_bench.jobs import selection
from catchup_bench.jobs.estimate import look_ahead
from catchup_bench.jobs.job import Deadline, Workspace
from catchup_bench.jobs.run_board import find_work
from catchup_bench.records.results_folder import board_folder, cost_file
from catchup_bench.runs.folder import make_folder
from catchup_bench.speed import cost
from catchup_bench.system.files import write_json
from catchup_bench.system.hardware import choose_precision
from catchup_bench.system.provenance import device_name
from tests.cli.test_cli import TINY
from tests.conftest import Cli, as_json

DEMO = boards.load("demo")

JOBS = list(jobs_of(DEMO))


def selected(*words: str, share: str = "1/1") -> list[Path]:
    return [job.path for job in selection.parse(DEMO, words, share).of(JOBS)]


def test_nothing_said_is_everything() -> None:
    assert selected() == [job.path for job in JOBS]


def test_choices_are_taken_together_and_in_either_form() -> None:
    wanted = {(job.label, job.run.seed) for job in JOBS if job.label in ("catchup", "baseline") and job.run.seed == 0}
    for words in (("method=catchup,baseline", "seed=0"), ("method=catchup,baseline seed=0",)):
        assert {(p.parts[1], int(p.stem.removeprefix("seed"))) for p in selected(*words)} == wanted


@given(st.integers(1, 20))
def test_shares_are_disjoint_and_whole(parts: int) -> None:
    shares = [selected(share=f"{i}/{parts}") for i in range(1, parts + 1)]
    assert sorted(path for share in shares for path in share) == sorted(selected())
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("method=catchop", "did you mean catchup"),
        ("seed=9", "unknown seed of this board '9'"),
        ("setup=x", "unknown setup of this board"),
        ("catchup", "a choice is method=NAME"),
        ("model=resnet", "a choice is method=NAME"),
        ("method=", "unknown method of this board ''"),
    ],
)
def test_choices_that_are_not_there_are_one_line(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        selection.parse(DEMO, [words])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("2.5h", 9000), ("1d", 86_400)])
def test_times_are_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert selection.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "9", "m", "-9m", "0m", "9 m", "1e3s", "9min"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--time-budget"):
        selection.seconds(text)


def test_a_run_is_asked_to_stop_when_its_time_is_over() -> None:
    assert not Deadline(None).should_stop()
    assert not Deadline(time.time() + 100).should_stop()
    assert Deadline(time.time() - 1).should_stop()


@pytest.mark.usefixtures("in_process")
def test_a_board_is_cut_down_stopped_in_time_and_gone_on_with(cli: Cli, tmp_path: Path) -> None:
    """Commands for the missing runs, none when the time is over before the first, and the rest by repeating."""
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "tiny.toml").write_text(TINY)
    words = ("leaderboard", "run", "tiny.toml", "--workers", 1)
    printed = cli(*words, "--print").stdout.splitlines()
    assert [line.split("--only ")[1] for line in printed] == [
        f"'method={m} seed=0 setup=preactresnet10-w4'" for m in ("baseline", "catchup")
    ]
    assert as_json(cli(*words, "--print", "--json")) == printed and not (tmp_path / "runs").exists()
    result = as_json(cli(*words, "--time-budget", "0.001s", "--json"))
    assert len(result["left"]) == 2 and all(row["n"] == 0 for row in result["rows"])
    cut = as_json(cli(*words, "--only", "method=baseline", "seed=0", "--json"))
    assert {r["label"]: r["n"] for r in cut["rows"]} == {"baseline": 1, "catchup": 0} and cut["left"] == []
    assert "| catchup | not run |" in (tmp_path / "leaderboards" / "tiny.md").read_text()
    rest = cli(*words, "--print").stdout.splitlines()
    assert len(rest) == 1 and "method=catchup" in rest[0]


def test_looking_ahead_says_what_is_missing_and_from_where_it_comes(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "leaderboards").mkdir()
    words = ("leaderboard", "run", "table11", "--dry-run", "--data-dir", tmp_path, "--only", "method=baseline")
    found = as_json(cli(*words, "--json"))
    assert len(found["missing"]) == 1
    [setup] = found["setups"]
    assert not setup["data"]["present"] and setup["data"]["fetched by"] == "catchup-bench data fetch cifar100"
    assert setup["cells"] == {"baseline": [0]}
    images = 50_000 * 2000 + 10_000 / 3  # a forward pass is a third of a step
    assert setup["hours"] == pytest.approx(images * setup["seconds_per_image"] / 3600)
    assert list(tmp_path.iterdir()) == [tmp_path / "leaderboards"]


def test_hours_are_learnt_from_the_runs_that_were_finished_here(tmp_path: Path) -> None:
    """A method with a finished run takes its time, one without the baseline's times its cost; a run of another machine,
    of other batches or precision, and a damaged folder count for nothing."""
    (tmp_path / "tiny.toml").write_text(TINY.replace('"catchup"]', '"catchup", "cutmix"]'))
    board = boards.load(str(tmp_path / "tiny.toml"))
    workspace, device = Workspace(tmp_path / "runs", tmp_path, None, "cpu"), torch.device("cpu")
    jobs = {job.label: job for job in jobs_of(board)}
    recipe = jobs["baseline"].run.recipe
    images, precision = 1000 * recipe.epochs, choose_precision(recipe.precision, device)
    for label, seconds, name in (
        ("baseline", 100.0, device_name(device)), ("catchup", 300.0, device_name(device)), ("cutmix", 1.0, "another"),
    ):  # fmt: skip
        folder = make_folder(jobs[label].run, tmp_path / "runs")
        of_run = {"seconds": seconds, "epochs": images // 1000, "train_images": 1000}
        (folder / "training.json").write_text(json.dumps({**of_run, "device": name, "precision": precision}))
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "training.json").write_text("{")
    other = jobs["catchup"].run.model_copy(
        update={"method": jobs["catchup"].run.method.model_copy(update={"options": {"alpha": 9.0}})}
    )
    batches = jobs["catchup"].run.model_copy(update={"recipe": recipe.model_copy(update={"batch_size": 7})})
    rounded = jobs["catchup"].run.model_copy(update={"seed": 77})
    for unlike, was in ((other, precision), (batches, precision), (rounded, "another")):
        facts = {"seconds": 9e9, "epochs": 1, "train_images": 1, "device": device_name(device), "precision": was}
        (make_folder(unlike, tmp_path / "runs") / "training.json").write_text(json.dumps(facts))
    costs = {"methods": {"cutmix": {"ratio": 1.5}}}
    write_json(cost_file(board_folder(tmp_path, board.name), board.setups[0].name), costs)
    [setup] = look_ahead(find_work(board, workspace), workspace, device)["setups"]
    assert setup["learnt"] == 2 and setup["seconds_per_image"] == pytest.approx(100 / images)
    passes = 1 + 2 * (setup["conditions"] - 1) + 2  # clean; FGSM at each ε, and its one gradient
    forward = 3 * passes * 797 * 100 / images / 3
    quarter = (100 + 300 + 150) / 4
    assert setup["hours"] == pytest.approx((quarter + forward) / 3600)


def test_the_step_is_measured_with_the_threads_that_runs_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as cores, beside a busy one, make a small network's step ten times as long."""
    seen: list[int] = []
    monkeypatch.setattr(cost.Timed, "warm_up", lambda self: seen.append(torch.get_num_threads()))
    monkeypatch.setattr(cost.Timed, "seconds", lambda self, steps: 1.0)
    (tmp_path / "tiny.toml").write_text(TINY)
    work = find_work(boards.load(str(tmp_path / "tiny.toml")), Workspace(tmp_path / "runs", tmp_path, None, "cpu"))
    torch.set_num_threads(3)
    for threads, wanted in ((None, 1), (2, 2)):
        look_ahead(work, Workspace(tmp_path / "runs", tmp_path, None, "cpu", threads=threads), torch.device("cpu"))
        assert seen.pop() == wanted and torch.get_num_threads() == 3
