"""Examples made on other runs: which runs these are, which class they aim at, and what belongs to an outcome."""

import shutil
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catchup_bench import boards, data
from catchup_bench.boards.grid import jobs_of
from catchup_bench.errors import OutOfTime, UsageError
from catchup_bench.evaluation.evaluate import evaluate, evaluation_mode
from catchup_bench.evaluation.evaluated_model import trained_model
from catchup_bench.jobs.job import Deadline, Workspace, do_job
from catchup_bench.leaderboard import findings
from catchup_bench.leaderboard.statistics import Summary, rank
from catchup_bench.leaderboard.table import Row, Table, make_table
from catchup_bench.records.outcomes import collect_record, read_outcomes
from catchup_bench.records.record import Outcome, write_record
from catchup_bench.records.results_folder import board_folder
from catchup_bench.registry import method_file
from catchup_bench.runs.folder import RunFolder
from catchup_bench.runs.make import make_run
from catchup_bench.suites import Context, make_suites, suite_class
from catchup_bench.suites.transfer import source_of, targets
from catchup_bench.system.files import locked
from catchup_bench.system.progress import NoProgress
from catchup_bench.training.loop import train
from catchup_bench.training.several import train_all
from catchup_bench.verification.reproduction import reproduce

CPU = torch.device("cpu")
OPTIONS = {"eps": 16.0, "step": 4.0, "steps": 5, "images": 100}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two methods, alike but for the method."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    overrides: dict[str, Any] = {"epochs": 3, "precision": "fp32"}
    made = [make_run(name, fraction=0.5, width=4, overrides=overrides) for name in ("baseline", "inputmixup")]
    return {run.method.name: train(run, folder, device=CPU) for run in made}


def measure(run: Path, **options: Any) -> dict[str, Outcome]:
    suites = make_suites(["transfer"], {"transfer": OPTIONS | options})
    return evaluate(trained_model(run, CPU), suites, device=CPU)


def test_a_matrix_is_hardest_where_examples_are_its_own(runs: dict[str, Path]) -> None:
    both = ["baseline", "inputmixup"]
    matrix = {name: measure(run, sources=both) for name, run in runs.items()}
    suffix = "-e16-step4-s5-n100"
    assert all(set(row) == {f"transfer-{name}{suffix}" for name in both} for row in matrix.values())
    for name, other in zip(both, reversed(both), strict=True):
        own, theirs = (matrix[name][f"transfer-{source}{suffix}"] for source in (name, other))
        assert own.n == theirs.n > 90 and own.error > theirs.error
        assert own.values["target"] > theirs.values["target"]
        assert own.values["source_error"] == pytest.approx(own.error), "the source is this run"
        assert theirs.values["source_error"] == pytest.approx(matrix[other][f"transfer-{other}{suffix}"].error)
        assert theirs.values["index"] == own.values["index"]


def test_a_source_has_the_methods_own_options(tmp_path: Path) -> None:
    """A row with other options is not the source of its method's name, where both would be one column; a method of a
    file has no other."""
    transfer = make_suites(["transfer"], {"transfer": {"sources": ["baseline", "inputmixup"]}})["transfer"]
    plain, other = make_run("inputmixup"), make_run("inputmixup", settings={"inputmixup": {"alpha": 0.3}})
    baseline = make_run("baseline")
    for run, needed in ((plain, [baseline]), (other, [baseline, plain]), (baseline, [plain])):
        assert [needs.folder for needs in transfer.runs_needed(run)] == [needs.folder for needs in needed]
    (tmp_path / "mine.py").write_text(method_file("inputmixup").read_text())
    mine = make_run(str(tmp_path / "mine.py"))
    assert source_of(mine, "mine") is mine


def test_examples_do_not_depend_on_the_batch(runs: dict[str, Path]) -> None:
    images = data.load("digits", "test").take(torch.arange(0, 40, 2))
    suite = make_suites(["transfer"], {"transfer": {**OPTIONS, "images": 0, "sources": ["inputmixup"]}})["transfer"]
    found = []
    for size in (20, 3):
        model = trained_model(runs["baseline"], CPU)
        where = Context(
            net=model.net, images=images, dataset="digits", mean=(0, 0, 0), device=CPU, batch_size=size,
            data_dir=Path("nowhere"), folder=model.folder,
        )  # fmt: skip
        with evaluation_mode(model.net):
            found += [one for _, one in suite.run(where, suite.conditions())]
    assert torch.equal(found[0].bits, found[1].bits) and found[0].values == found[1].values


def test_options_come_back_and_bad_ones_are_said() -> None:
    suite = make_suites(["transfer"], {"transfer": OPTIONS | {"sources": ["cutmix", "catchup"]}})["transfer"]
    protocols = [suite.protocol(condition) for condition in suite.conditions()]
    assert suite_class("transfer")(**suite_class("transfer").options_of(protocols)) == suite
    for options in ({"sources": ["a", "a"]}, {"sources": ["./a.py"]}, {"steps": 0}, {"eps": 4 / 255}):
        with pytest.raises((ValueError, UsageError)):
            make_suites(["transfer"], {"transfer": options})


def test_a_source_that_is_not_there_is_one_line(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"transfer from cutmix: .* train it first"):
        measure(runs["baseline"], sources=["cutmix"])
    alone = tmp_path / runs["baseline"].name
    shutil.copytree(runs["baseline"], alone, ignore=shutil.ignore_patterns("outcomes"))
    with pytest.raises(UsageError, match="transfer from inputmixup"):
        measure(alone, sources=["inputmixup"])
    assert read_outcomes(alone) == {}


def test_targets_are_other_classes_and_belong_to_the_images() -> None:
    y, index = torch.arange(1000) % 10, torch.arange(1000)
    found = targets(y, 10, index, "some", 0)
    assert (found != y).all() and set(found.tolist()) == set(range(10))
    assert np.bincount(((found - y) % 10).numpy(), minlength=10)[1:].min() > 70, "uniform among the others"
    rows = torch.tensor([900, 3, 77])
    assert torch.equal(targets(y[rows], 10, index[rows], "some", 0), found[rows])
    assert not torch.equal(targets(y, 10, index, "some", 1), found)


BOARD = """
title = "Tiny"
question = "Whose gradient breaks whom?"
methods = ["baseline", "inputmixup"]
seeds = [0]
rank = "from baseline"
set = ['transfer.sources=["baseline","inputmixup"]', "transfer.steps=2", "transfer.images=50"]
[[setups]]
dataset = "digits"
fraction = 0.1
model = "preactresnet10"
width = 4
recipe = "digits"
overrides = { epochs = 1, precision = "fp32" }
suites = ["transfer"]
[[columns]]
name = "from baseline"
source = "baseline"
conditions = ["transfer-baseline-s2-n50"]
[[columns]]
name = "from inputmixup"
source = "inputmixup"
conditions = ["transfer-inputmixup-s2-n50"]
"""


def test_a_job_of_a_board_and_its_reproduction_train_the_sources_of_its_examples(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(BOARD)
    board = boards.load(str(tmp_path / "tiny.toml"))
    workspace = Workspace(runs=tmp_path / "runs", root=tmp_path, data_dir=None, device="cpu")
    results = board_folder(tmp_path, "tiny")
    first, second = list(jobs_of(board))
    do_job(first, board.settings, workspace, NoProgress())
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {first.run.folder, second.run.folder}
    assert set(read_outcomes(workspace.runs / first.run.folder)) == {c for k in board.columns for c in k.conditions}
    assert read_outcomes(workspace.runs / second.run.folder) == {}
    weights = RunFolder(workspace.runs / second.run.folder).weights
    trained = weights.stat().st_mtime_ns
    do_job(second, board.settings, workspace, NoProgress())
    assert weights.stat().st_mtime_ns == trained
    for job in (first, second):
        write_record(collect_record(workspace.runs / job.run.folder), results / job.path)
    texts = findings.sentences(make_table(board, results))
    assert any("a row's own" in text for text in texts)
    again = reproduce(results / first.path, tmp_path, tmp_path / "again", device=CPU, board=str(tmp_path / "tiny.toml"))
    assert {p.name for p in (tmp_path / "again").iterdir()} == {first.run.folder, second.run.folder}
    assert again.weights and not any(again.differing.values())


def test_a_run_that_another_process_trains_is_waited_for(tmp_path: Path) -> None:
    overrides: dict[str, Any] = {"epochs": 1, "precision": "fp32"}
    busy, free = (make_run(n, fraction=0.1, width=4, overrides=overrides) for n in ("baseline", "cutmix"))
    folders = [RunFolder(tmp_path / run.folder) for run in (busy, free)]
    folders[0].path.mkdir()
    waiting = threading.Thread(target=train_all, args=([busy, free], tmp_path), kwargs={"device": CPU})
    with locked(folders[0].lock):
        waiting.start()
        while not folders[1].finished and waiting.is_alive():
            time.sleep(0.05)
        assert waiting.is_alive() and not folders[0].finished
    waiting.join(60)
    assert folders[0].finished and not waiting.is_alive()


def test_waiting_ends_with_the_time(tmp_path: Path) -> None:
    run = make_run("baseline", fraction=0.1, width=4, overrides={"epochs": 1})
    folder = RunFolder(tmp_path / run.folder)
    folder.path.mkdir()
    with locked(folder.lock), pytest.raises(OutOfTime):
        train_all([run], tmp_path, device=CPU, progress=Deadline(0.0))


def test_the_packaged_board_is_a_matrix() -> None:
    board = boards.load("digits-transfer")
    suite = make_suites(["transfer"], board.settings)["transfer"]
    columns = [column for column in board.columns if column.source]
    assert [c.source for c in columns] == [row.row for row in board.rows] == list(suite.sources)  # type: ignore[attr-defined]
    assert [c for column in columns for c in column.conditions] == suite.conditions()
    jobs = {job.run.digest: job.run for job in jobs_of(board)}
    for run in jobs.values():
        needed = suite.runs_needed(run)
        assert len(needed) == len(columns) - 1 and {one.digest for one in needed} < jobs.keys()
        assert all(one.seed == run.seed for one in needed)


def test_matrices_say_whose_gradient_is_masked(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(BOARD)
    board = boards.load(str(tmp_path / "tiny.toml"))
    errors = {"baseline": (0.9, 0.3), "inputmixup": (0.6, 0.2)}  # on examples of either
    rows = [
        Row(
            label, 1, {c.name: Summary(Fraction(str(100 * e)), None, 1) for c, e in zip(board.columns, es, strict=True)}
        )
        for label, es in errors.items()
    ]
    found = list(findings.sentences(Table(board, rows, {"from baseline": rank({})}, {})))
    assert any("inputmixup (60.00 % from baseline, 20.00 % from itself)" in text for text in found)
    assert any(text.endswith("own examples for baseline.") for text in found)
    for bad in (
        BOARD.replace('source = "baseline"', 'source = "cutmix"'),
        BOARD.replace('source = "baseline"', 'source = "baseline"\nmetric = "accuracy"'),
        BOARD.replace('"inputmixup"]', '{ name = "inputmixup", set = { alpha = 0.3 } }]'),
        BOARD.replace("suites =", 'set = ["inputmixup.alpha=0.3"]\nsuites ='),
    ):
        assert bad != BOARD
        (tmp_path / "bad.toml").write_text(bad)
        with pytest.raises(UsageError, match="is no row of a method with its own options, or this is no error"):
            boards.load(str(tmp_path / "bad.toml"))
