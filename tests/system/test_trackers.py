"""Trackers: what each keeps is what the run's own files say, read back with the tracker's library, offline."""

import json
import sys
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from catchup_bench.cli import options
from catchup_bench.records.outcomes import read_stored
from catchup_bench.runs.make import make_run
from catchup_bench.system import trackers
from catchup_bench.system.progress import NoProgress
from catchup_bench.system.trackers import SINKS, Several, Tracking
from catchup_bench.training.several import train_all
from tests.conftest import Cli, as_json

SMALL = ["--method", "baseline", "--fraction", "0.05", "--width", "2", "--epochs", "2", "--json"]


class Remembers:
    def __init__(self, folder: Path, config: Any) -> None:
        print("as trackio does")
        self.folder, self.config = folder, config
        self.lines: list[tuple[dict[str, float], int]] = []
        self.closed = False

    def log(self, values: Any, step: int) -> None:
        print("as trackio does")
        self.lines.append((dict(values), step))

    def close(self) -> None:
        print("as trackio does")
        self.closed = True


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> list[Remembers]:
    made: list[Remembers] = []

    def make(folder: Path, config: Any) -> Remembers:
        made.append(Remembers(folder, config))
        return made[-1]

    monkeypatch.setitem(SINKS, "tensorboard", make)
    monkeypatch.setattr(trackers, "find_spec", lambda name: name)
    return made


def test_a_tracker_receives_what_the_runs_files_say(cli: Cli, tmp_path: Path, sinks: list[Remembers]) -> None:
    run = as_json(cli("train", *SMALL, "--track", "tensorboard"))
    folder = tmp_path / run["folder"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    expected = [({k: v for k, v in line.items() if k not in ("epoch", "seconds")}, line["epoch"]) for line in lines]
    (training,) = sinks
    assert training.lines == expected and training.closed and training.config == run["run"]
    found = as_json(cli("evaluate", folder.name, "--suite", "clean", "--track", "tensorboard", "--json"))
    assert sinks[1].lines == [({"clean/clean": found[str(Path("runs") / folder.name)]["clean"]["error"]}, 2)]
    assert sinks[1].folder.name == folder.name and sinks[1].closed
    as_json(cli("evaluate", folder.name, "--suite", "clean", "--track", "tensorboard", "--json"))
    assert len(sinks) == 2, "nothing happened, so nothing was opened"


BOARD = """title = "Tracked"
question = "Does a tracker see a board's runs?"
rank = "clean err"
methods = ["baseline"]
seeds = [0, 1]
[[setups]]
dataset = "digits"
model = "preactresnet10"
width = 2
fraction = 0.05
recipe = "digits"
suites = ["clean"]
[setups.overrides]
epochs = 2
[[columns]]
name = "clean err"
conditions = ["clean"]
"""


def test_a_tracker_receives_each_run_of_a_board(cli: Cli, tmp_path: Path, sinks: list[Remembers]) -> None:
    (tmp_path / "tracked.toml").write_text(BOARD)
    (tmp_path / "leaderboards").mkdir()
    words = ["leaderboard", "run", "tracked.toml", "--workers", "0", "--track", "tensorboard", "--json"]
    as_json(cli(*words))
    assert [s.config["seed"] for s in sinks] == [0, 1] and all(s.closed for s in sinks)
    for sink in sinks:
        folder = tmp_path / "runs" / sink.folder.name
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        (clean,) = read_stored(folder).values()
        assert sink.lines[:-1] == [
            ({k: v for k, v in line.items() if k not in ("epoch", "seconds")}, line["epoch"]) for line in lines
        ]
        assert sink.lines[-1] == ({"clean/clean": clean.outcome.error}, 2)
    as_json(cli(*words))
    assert len(sinks) == 2, "nothing was missing, so nothing was opened"


def test_bad_input_opens_no_tracker(cli: Cli, tmp_path: Path, sinks: list[Remembers]) -> None:
    result = cli("train", *SMALL, "--dataset", "cifar10", "--track", "tensorboard", "--data-dir", tmp_path / "none")
    assert result.exit_code == 2 and sinks == [] and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", SINKS)
def test_a_tracker_that_is_not_installed_is_said(
    cli: Cli, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    for words in (["train", *SMALL], ["evaluate"], ["leaderboard", "run", "demo"]):
        result = cli(*words, "--track", name)
        assert result.exit_code == 2 and list(tmp_path.iterdir()) == []
        install = "mlflow-skinny sqlalchemy alembic" if name == "mlflow" else f"'catchup-bench[{name}]'"
        assert result.stderr == f"error: --track {name} needs {name}: pip install {install}\n"


def test_the_options_are_the_trackers() -> None:
    assert get_args(options.Tracker) == tuple(SINKS)


def test_a_tracker_that_fails_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the epochs before are kept, so that the run resumes."""

    def make(folder: Path, config: Any) -> Remembers:
        raise OSError("no\nserver")

    monkeypatch.setitem(SINKS, "tensorboard", make)
    monkeypatch.setattr(trackers, "find_spec", lambda name: name)
    result = cli("train", *SMALL, "--track", "tensorboard")
    assert result.exit_code == 1 and result.stderr == "error: --track tensorboard: OSError: no server\n"
    assert len(as_json(cli("train", *SMALL))["training"]) > 3


def test_several_stop_when_one_does() -> None:
    class Stops(NoProgress):
        def should_stop(self) -> bool:
            return True

    assert Several(NoProgress(), Stops()).should_stop() and not Several(NoProgress()).should_stop()


LINES: list[dict[str, Any]] = [
    {"epoch": 1, "loss": 2.5, "lr": 0.1, "seconds": 1.0, "images_per_second": 10.0},
    {"epoch": 2, "loss": 1.25, "lr": 0.05, "seconds": 1.0, "images_per_second": 12.0, "test_error": 50.0},
]
CONFIG = {"method": {"name": "baseline", "options": {"layers": [0, 1]}}, "seed": 3}


class Clean:
    suite, error = "clean", 37.5


def track(name: str, folder: Path, pause: float = 0.0) -> None:
    """A run that is interrupted after an epoch, resumed and evaluated."""
    folder.mkdir(exist_ok=True)
    for part in (LINES[:1], LINES[1:]):
        with Tracking(name, folder, CONFIG, 2) as tracking:
            for line in part:
                tracking.epoch(line)
        time.sleep(pause)
    with Tracking(name, folder, CONFIG, 2) as tracking:
        tracking.condition("clean", Clean())


def test_tensorboard_for_real(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track("tensorboard", tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    read = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert read["loss"] == [(1, 2.5), (2, 1.25)] and read["test_error"] == [(2, 50.0)]
    assert read["clean/clean"] == [(2, 37.5)] and "seconds" not in read
    stated = events.Tensors("run/text_summary")[0].tensor_proto.string_val[0]
    assert json.loads(stated) == CONFIG


@pytest.mark.filterwarnings("ignore")
def test_mlflow_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    track("mlflow", tmp_path / "run")
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("catchup-bench").experiment_id])
    history = {m: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, m)] for m in run.data.metrics}
    assert history["loss"] == [(1, 2.5), (2, 1.25)] and history["clean/clean"] == [(2, 37.5)]
    assert run.data.params["method.name"] == "baseline" and run.data.params["seed"] == "3"
    assert run.info.status == "FINISHED" and run.info.run_name == "run"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    track("wandb", tmp_path / "run", pause=1.1)  # its folders are named by the second
    written = b"".join(p.read_bytes() for p in sorted(tmp_path.rglob("*.wandb")))
    for word in (b"loss", b"clean/clean", b"37.5", b"baseline"):
        assert word in written


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trackio_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    import subprocess

    code = (
        "import sys; from pathlib import Path; from tests.system.test_trackers import track\n"
        f"track('trackio', Path({str(tmp_path / 'run')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    import sqlite3

    (database,) = (tmp_path / "trackio").glob("catchup-bench*.db")
    with sqlite3.connect(database) as connection:
        rows = [json.loads(row[0]) for row in connection.execute("select metrics from metrics order by id")]
    assert [row["loss"] for row in rows if "loss" in row] == [2.5, 1.25]
    assert [row["clean/clean"] for row in rows if "clean/clean" in row] == [37.5]


def test_a_tracker_receives_nothing_of_the_other_runs_that_a_suite_needs(tmp_path: Path) -> None:
    class Epochs(NoProgress):
        def __init__(self) -> None:
            self.seen: list[int] = []

        def epoch(self, line: dict[str, Any]) -> None:
            self.seen.append(line["epoch"])

    runs = [
        make_run("baseline", "digits", width=2, overrides={"epochs": epochs}, fraction=0.05, seed=0)
        for epochs in (1, 2)
    ]
    own, others = Epochs(), Epochs()
    train_all(runs, tmp_path, device=torch.device("cpu"), progress=others, of_first=own)
    assert own.seen == [1] and others.seen == [1, 2]
