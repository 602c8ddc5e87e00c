"""A board as jobs of Slurm: through a queue in this process, and through submitit's local executor."""

import json
import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from catchup_bench import boards
from catchup_bench.boards.grid import jobs_of
from catchup_bench.errors import RunFailed, UsageError
from catchup_bench.jobs import remote, slurm
from catchup_bench.jobs.job import Workspace, missing_jobs
from catchup_bench.jobs.remote import TRIES
from catchup_bench.jobs.slurm import Handle, Slurm, SubmititQueue, key_of, parse_slurm, run_on_slurm
from tests.cli.test_cli import TINY
from tests.conftest import Cli
from tests.jobs.test_ray import Quiet, place

HERE = Slurm(cluster="local")


@dataclass
class QueueHere:
    """Does jobs when its states are asked for, one a look; ``lost`` says how many times a job ends without a word."""

    folder: Path
    lost: int = 0
    held: bool = False
    calls: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    def submit(self, name: str, do: Callable[..., Any], *args: Any) -> Handle:
        number = str(len(self.calls) + 1)
        self.calls[number] = do, args
        return self.attach(number)

    def attach(self, job_id: str) -> Any:
        self.folder.mkdir(exist_ok=True)
        paths = SimpleNamespace(result_pickle=self.folder / f"{job_id}.pkl")
        return SimpleNamespace(job_id=job_id, paths=paths, cancel=lambda: self.cancelled.append(job_id))

    def states(self, handles: Sequence[Handle]) -> dict[str, str]:
        shown: dict[str, str] = {}
        for handle in handles:
            path = Path(handle.paths.result_pickle)
            if self.held:
                shown[handle.job_id] = "PENDING"
            elif not path.exists() and self.lost:
                self.lost -= 1
            elif not path.exists():
                do, args = self.calls[handle.job_id]
                path.write_bytes(pickle.dumps(("success", do(*args))))
        return shown


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> boards.Board:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATCHUP_BENCH_WORKERS", "0")
    monkeypatch.setattr(slurm, "PATIENCE", 1)
    Path("tiny.toml").write_text(TINY.replace(', "fgsm"', "").replace("fraction = 0.25", "fraction = 0.05"))
    return boards.load("tiny.toml")


def run(board: boards.Board, workspace: Workspace, queue: Any, until: float | None = None) -> tuple[list[Any], Quiet]:
    watcher = Quiet()
    todo = missing_jobs(board, workspace, jobs_of(board))
    left = run_on_slurm(board, workspace, todo, slurm=HERE, progress=watcher, until=until, queue=queue, poll=0.0)
    return left, watcher


def test_jobs_write_records_and_lost_ones_are_submitted_again(grid: boards.Board, tmp_path: Path) -> None:
    workspace, queue = place(tmp_path), QueueHere(tmp_path / "results", lost=3)
    left, watcher = run(grid, workspace, queue)
    assert left == [] and missing_jobs(grid, workspace, jobs_of(grid)) == []
    assert len(queue.calls) == 5 and len(watcher.done) == 2
    assert sum("it is submitted again" in line for line in watcher.said) == 3
    assert json.loads((tmp_path / "runs" / "slurm" / "tiny.json").read_text()) == {}


def test_a_job_that_is_always_lost_fails(grid: boards.Board, tmp_path: Path) -> None:
    workspace, queue = place(tmp_path), QueueHere(tmp_path / "results", lost=10**6)
    with pytest.raises(RunFailed, match=f"baseline seed 0: its job was lost {TRIES} times"):
        run(grid, workspace, queue)
    assert len(queue.calls) == 2 * TRIES


def test_the_next_command_picks_jobs_up(grid: boards.Board, tmp_path: Path) -> None:
    """Those that ended meanwhile, and those that are in the queue; nothing is submitted twice."""
    workspace, queue = place(tmp_path), QueueHere(tmp_path / "results", held=True)

    class Interrupts(Quiet):
        def advance(self, share: float) -> None:
            raise KeyboardInterrupt

    watcher = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        run_on_slurm(grid, workspace, list(jobs_of(grid)), slurm=HERE, progress=watcher, queue=queue, poll=0.0)
    assert any("the jobs go on in Slurm" in line for line in watcher.said)
    known = json.loads((tmp_path / "runs" / "slurm" / "tiny.json").read_text())
    assert known == {key_of(job): str(i) for i, job in enumerate(jobs_of(grid), start=1)}
    do, args = queue.calls["1"]
    (tmp_path / "results" / "1.pkl").write_bytes(pickle.dumps(("success", do(*args))))
    queue.held = False
    left, watcher = run(grid, workspace, queue)
    assert left == [] and len(queue.calls) == 2 and len(watcher.done) == 2


def test_what_waits_when_the_time_is_over_is_cancelled(
    grid: boards.Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "GRACE", 0.0)
    workspace, queue = place(tmp_path), QueueHere(tmp_path / "results", held=True)
    left, _ = run(grid, workspace, queue, until=time.time() - 1)
    assert left == list(jobs_of(grid)) and queue.cancelled == ["1", "2"]


def test_a_job_that_is_refused_leaves_nothing(grid: boards.Board, tmp_path: Path) -> None:
    class Refuses(QueueHere):
        def submit(self, name: str, do: Callable[..., Any], *args: Any) -> Handle:
            (tmp_path / "runs" / "slurm").mkdir(parents=True)
            raise UsageError("Slurm refuses the job")

    with pytest.raises(UsageError, match="refuses"):
        run(grid, place(tmp_path), Refuses(tmp_path / "results"))
    assert not (tmp_path / "runs").exists()


def test_a_job_that_is_refused_keeps_what_other_boards_have_in_the_queue(grid: boards.Board, tmp_path: Path) -> None:
    class Refuses(QueueHere):
        def submit(self, name: str, do: Callable[..., Any], *args: Any) -> Handle:
            raise UsageError("Slurm refuses the job")

    result = tmp_path / "runs" / "slurm" / "7_0_result.pkl"
    result.parent.mkdir(parents=True)
    result.write_bytes(b"of another board")
    with pytest.raises(UsageError, match="refuses"):
        run(grid, place(tmp_path), Refuses(tmp_path / "results"))
    assert result.read_bytes() == b"of another board"


def test_what_a_job_says_of_its_end_is_shown(grid: boards.Board, tmp_path: Path) -> None:
    class Fails(QueueHere):
        def states(self, handles: Sequence[Handle]) -> dict[str, str]:
            for handle in handles:
                Path(handle.paths.result_pickle).write_bytes(pickle.dumps(("error", "Traceback\nImportError: torch\n")))
            return {}

    with pytest.raises(RunFailed, match="baseline seed 0: ImportError: torch; catchup seed 0: ImportError"):
        run(grid, place(tmp_path), Fails(tmp_path / "results"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--partition", "gpu"], "--partition, --time-per-run and --sbatch are for --on slurm"),
        (["--on", "ray", "--sbatch", "a=b"], "are for --on slurm"),
        (["--on", "slurm", "--workers", "2"], "--workers is for --on local"),
        (["--on", "slurm", "--address", "auto"], "--address for --on ray"),
        (["--on", "slurm", "--gpus-per-run", "0.5"], "they are whole numbers"),
        (["--on", "slurm", "--gpus-per-run", "1", "--device", "cpu"], "GPUs go with --device cuda or auto"),
        (["--on", "slurm", "--cpus-per-run", "0"], "--cpus-per-run is at least 1"),
        (["--on", "slurm", "--sbatch", "account"], "it takes KEY=VALUE"),
        (["--on", "slurm", "--time-per-run", "soon"], "soon"),
    ],
)
def test_options_of_another_place_are_refused(cli: Cli, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "leaderboards").mkdir()
    result = cli("leaderboard", "run", "demo", *words)
    assert result.exit_code == 2 and said in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_options_become_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parse_slurm("slurm", None, 4.0, 1.0, None, "auto", "gpu", "90m", ["account=mine"])
    assert made == Slurm("gpu", 4, 1, 90, ("account=mine",))
    assert parse_slurm("slurm", None, None, None, None, "cuda", None, None, []) == Slurm(gpus=1)
    assert parse_slurm("local", None, 1.0, None, "2", "auto", None, None, []) is None


def test_the_extra_and_the_program_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'catchup-bench\[slurm\]'"):
        SubmititQueue(Slurm(), tmp_path)
    monkeypatch.setattr(slurm, "find_spec", lambda name: name)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="--on slurm needs sbatch here"):
        SubmititQueue(Slurm(), tmp_path)


@pytest.mark.slow
def test_submitits_local_executor_does_the_jobs(
    grid: boards.Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes of their own, one of which is killed at work."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(Path(slurm.__file__).parents[2]))
    workspace, killed = place(tmp_path), []
    queue = SubmititQueue(HERE, tmp_path / "runs" / "slurm")

    class Kills(Quiet):
        def running(self, rows: Any) -> None:
            if rows and not killed:
                process = next(iter(handles.values()))._process
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)

    handles: dict[str, Any] = {}
    submit = queue.submit

    def remember(name: str, do: Callable[..., Any], *args: Any) -> Any:
        handle: Any = submit(name, do, *args)
        handles[handle.job_id] = handle
        return handle

    monkeypatch.setattr(queue, "submit", remember)
    left = run_on_slurm(grid, workspace, list(jobs_of(grid)), slurm=HERE, progress=Kills(), queue=queue, poll=0.2)
    assert left == [] and killed and missing_jobs(grid, workspace, jobs_of(grid)) == [] and len(handles) >= 2
    assert remote.TRIES == TRIES
