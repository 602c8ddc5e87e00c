"""A board on a Ray cluster of several nodes, one of which is killed at work; and what is said without Ray."""

import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catchup_bench import boards
from catchup_bench.boards.grid import Job, jobs_of
from catchup_bench.errors import Busy, OutOfTime, RunFailed, UsageError
from catchup_bench.jobs import ray_cluster, ray_tasks
from catchup_bench.jobs.job import Deadline, Ledger, Workspace, missing_jobs
from catchup_bench.jobs.local import run_locally
from catchup_bench.jobs.ray_cluster import Cluster, connect, gpus_per_run, ping
from catchup_bench.jobs.ray_tasks import (
    ProgressActor,
    TaskResult,
    WorkerEnvironment,
    remote_workspace,
    retry_while_busy,
    run_on_ray,
    run_task,
)
from catchup_bench.records.results_folder import board_folder, failed_digest
from catchup_bench.system.files import locked
from tests.cli.test_cli import TINY
from tests.conftest import Cli

WAITS = '''
import os
import time
from dataclasses import dataclass
from pathlib import Path
from catchup_bench.method import Method, one_hot, soft_loss


@dataclass(frozen=True, kw_only=True)
class Waits(Method):
    """The baseline. It notes each start of an epoch, and holds the second one until the file ``go`` is there."""

    title, paper, year, level = "Waits", "none", 2026, "input"

    def start_epoch(self, net):
        first = all(int(n) == 0 for name, n in net.named_buffers() if name.endswith("num_batches_tracked"))
        with open("epochs", "a") as f:
            print(1 if first else 2, os.environ.get("CUDA_VISIBLE_DEVICES"), file=f)
        deadline = time.monotonic() + (15 if first else 600)  # a state is written at an epoch's end after 15 s
        while not Path("go").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def loss(self, net, x, y, plan, gen):
        return soft_loss(net(x), one_hot(y, net.num_classes))
'''

GRID = (
    TINY.replace('"catchup"]', '{ name = "./waits.py", label = "waits" }]')
    .replace("seeds = [0]", "seeds = [0, 1, 2]")
    .replace("epochs = 1", "epochs = 2")
    .replace(', "fgsm"', "")
)


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> boards.Board:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATCHUP_BENCH_WORKERS", "0")
    Path("waits.py").write_text(WAITS)
    Path("tiny.toml").write_text(GRID)
    return boards.load("tiny.toml")


def place(folder: Path) -> Workspace:
    return Workspace(folder / "runs", folder, None, "cpu")


class Quiet:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.seen: dict[str, float] = {}
        self.done: list[str] = []

    def start(self, total: int) -> None: ...
    def advance(self, share: float) -> None: ...

    def running(self, rows: Mapping[str, tuple[str, float]]) -> None:
        self.seen |= {name: share for name, (_, share) in rows.items()}

    def say(self, text: str) -> None:
        self.said.append(text)

    def finished(self, job: Job, seconds: float) -> None:
        self.done.append(job.name)


STEADY = {
    "health_check_initial_delay_ms": 1000,  # a killed node is seen in seconds
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "worker_register_timeout_seconds": 600,  # and none is lost because the machine is slow, or full of other work
    "memory_monitor_refresh_ms": 0,
}


def started(nodes: Any, **what: Any) -> Any:
    """A new node, with what Ray takes for a GPU. Ray gives up one whose Python helpers take 15 s to start, as they may
    on a machine that has just booted: then it is tried again."""
    for left in (2, 1, 0):
        try:
            return nodes.add_node(num_gpus=1, object_store_memory=80 * 2**20, **what)
        except Exception:
            if not left:
                raise


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of processes of this machine: one node, with a core and what it takes for a GPU."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    made = Cluster()
    try:
        started(made, num_cpus=1, include_dashboard=False, _system_config=STEADY)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_nodes_runs_are_done_elsewhere_and_the_records_are_the_local_ones(
    nodes: Any, grid: boards.Board, tmp_path: Path
) -> None:
    """Two of three runs share a node's GPU and are lost with it, one of them with its folder, as if on its disk."""
    todo = [job for job in jobs_of(grid) if job.label == "waits"]
    away, home = place(tmp_path / "ray"), place(tmp_path / "local")

    class Kills(Quiet):
        """The wide node, when all are in their second epoch. The survivor's run is held, and with it the only core
        that is left, until the driver has seen both losses and both workers are gone."""

        killed = False

        def running(self, rows: Mapping[str, tuple[str, float]]) -> None:
            super().running(rows)
            if not self.killed and [epoch for epoch, _ in noted()].count("2") == 3:
                self.killed = True
                nodes.remove_node(wide, allow_graceful=False)

        def say(self, text: str) -> None:
            super().say(text)
            if len(self.said) == 2:
                deadline = time.monotonic() + 60
                while len(lost := [folder for folder in away.runs.iterdir() if free(folder)]) < 2:
                    assert time.monotonic() < deadline, "a worker outlives its node"
                    time.sleep(0.1)
                assert all((folder / "state.pt").exists() for folder in lost)
                shutil.rmtree(lost[0])
                Path("go").touch()

    watcher, until = Kills(), time.time() + 900
    with connect(Cluster(nodes.address, gpus=0.5), "auto") as cluster:
        assert cluster is not None
        wide = started(nodes, num_cpus=2)  # now, so that the driver is not connected to it
        remote = replace(remote_workspace(away, cluster), device="cpu")
        assert run_on_ray(grid, away, todo, cluster=cluster, progress=watcher, until=until, remote=remote) == []
    assert len(watcher.said) == 2 and all("its worker was lost" in said for said in watcher.said)
    assert sorted(watcher.done) == sorted(job.name for job in todo) and watcher.seen
    epochs = noted()
    assert sorted(epoch for epoch, _ in epochs[:6]) == ["1", "1", "1", "2", "2", "2"]
    assert sorted([epoch for epoch, _ in epochs[6:]]) == ["1", "2", "2"], "one goes on, the other begins anew"
    assert {gpu for _, gpu in epochs} == {"0"}
    assert missing_jobs(grid, away, todo) == []
    run_locally(grid, home, todo, workers=2, progress=Quiet())
    there, here = (board_folder(workspace.root, grid.name) for workspace in (away, home))
    for job in todo:
        assert lasting(there / job.path) == lasting(here / job.path)


def noted() -> list[list[str]]:
    """The starts of epochs, and the GPUs that the worker was given."""
    return [line.split() for line in Path("epochs").read_text().splitlines()] if Path("epochs").exists() else []


def free(folder: Path) -> bool:
    """Whether no process trains there."""
    try:
        with locked(folder / ".lock"):
            return True
    except Busy:
        return False


def lasting(record: Path) -> bytes:
    """All of a record but how long it took."""
    value = json.loads(record.read_text())
    del value["training"]["seconds"]
    return json.dumps(value, sort_keys=True).encode()


def test_without_ray_one_line_says_how_to_get_it(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "tiny.toml").write_text(TINY)
    result = cli("leaderboard", "run", "tiny.toml", "--on", "ray")
    assert result.exit_code == 2
    assert result.stderr.strip() == "error: --on ray needs Ray: pip install 'catchup-bench[ray]'"
    assert not list((tmp_path / "leaderboards").iterdir()) and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--address auto", "are for --on ray"),
        ("--gpus-per-run 0.5", "are for --on ray"),
        ("--on ray --workers 2", "--workers is for --on local"),
        ("--on ray --gpus-per-run 1.5", "a fraction of one GPU or a whole number"),
        ("--on ray --gpus-per-run -1", "a fraction of one GPU or a whole number"),
        ("--on ray --gpus-per-run nan", "a fraction of one GPU or a whole number"),
        ("--on ray --cpus-per-run 0", "a number above 0"),
    ],
)
def test_bad_options_are_one_line(cli: Cli, tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "leaderboards").mkdir()
    result = cli("leaderboard", "run", "digits", *words.split())
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1 and message in result.stderr


def test_gpus_are_taken_where_there_are_any() -> None:
    plain = Cluster()
    assert gpus_per_run(plain, "auto", {"GPU": 2.0}) == 1 == gpus_per_run(plain, "cuda", {})
    assert gpus_per_run(plain, "auto", {"CPU": 8.0}) == 0 == gpus_per_run(plain, "cpu", {"GPU": 2.0})
    assert gpus_per_run(replace(plain, gpus=0.25), "auto", {"GPU": 2.0}) == 0.25
    for gpus, device in ((1.0, "cpu"), (0.0, "cuda")):
        with pytest.raises(UsageError, match="does not go with"):
            gpus_per_run(replace(plain, gpus=gpus), device, {"GPU": 2.0})


def test_an_address_without_a_cluster_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in (None, "auto", "local", "ray://head:10001"):
        ping(address)
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"
        ping(there)
    with pytest.raises(OSError, match="refused"):
        ping(there)
    for address in ("", "head", "head:", ":6379", "head:port", "head:0", "head:65536"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            ping(address)
    monkeypatch.setenv("RAY_ADDRESS", there)
    named = [ray_cluster.address_of(Cluster(address)) for address in (None, "auto", "head:1")]
    assert named == [there, there, "head:1"]


def test_a_lost_run_is_not_shown_until_it_begins_again() -> None:
    desk = ProgressActor()
    desk.tell("a", "node", 0.5)
    desk.tell("b", "node", 0.2)
    desk.forget("a")
    desk.forget("never told")
    assert desk.all() == {"b": ("node", 0.2)}


def test_a_run_that_fits_on_no_node_is_told() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 32.0}},
    ]
    assert ray_tasks.unmet(Cluster(cpus=4, gpus=0.5), nodes) == ""
    assert ray_tasks.unmet(Cluster(cpus=16, gpus=0.0), nodes) == ""
    assert ray_tasks.unmet(Cluster(cpus=8, gpus=1), nodes) == "8 CPU and 1 GPU"


class Told:
    """Stands for the actor."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float]] = []
        self.tell = self

    def remote(self, name: str, where: str, share: float) -> None:
        self.rows.append((name, share))


def perform(job: Job, where: Workspace, until: float | None = None, **home: Any) -> tuple[TaskResult, Told]:
    desk = Told()
    return run_task(job, {}, where, until, 1.0, WorkerEnvironment(**home), desk), desk


def test_a_task_answers_with_its_record(grid: boards.Board, tmp_path: Path) -> None:
    job, here = next(jobs_of(grid)), place(tmp_path)
    answer, desk = perform(job, here)
    ledger = Ledger(board_folder(here.root, grid.name), Quiet())
    ray_tasks.settle(ledger, job, answer)
    assert ledger.close() == [] and missing_jobs(grid, here, [job]) == []
    assert desk.rows[0] == (job.name, 0.0) and 0 < desk.rows[-1][1] <= 0.9


def test_time_that_is_over_leaves_the_run(grid: boards.Board, tmp_path: Path) -> None:
    job, here = next(jobs_of(grid)), place(tmp_path)
    ledger = Ledger(board_folder(here.root, grid.name), Quiet())
    ray_tasks.settle(ledger, job, perform(job, here, until=1.0)[0])
    assert ledger.close() == [job] and not here.runs.exists()


def test_a_failed_training_is_told_beside_the_record(grid: boards.Board, tmp_path: Path) -> None:
    setup = grid.setups[0].model_copy(update={"overrides": {"epochs": 1, "lr": 1e18, "precision": "fp32"}})
    job, here = next(jobs_of(grid.model_copy(update={"setups": (setup,)}))), place(tmp_path)
    ledger = Ledger(board_folder(here.root, grid.name), Quiet())
    ray_tasks.settle(ledger, job, perform(job, here)[0])
    assert failed_digest(ledger.results / job.path) == job.run.digest
    with pytest.raises(RunFailed, match="no longer finite"):
        ledger.close()


def test_another_version_on_a_node_fails_its_runs(grid: boards.Board, tmp_path: Path) -> None:
    answer, _ = perform(next(jobs_of(grid)), place(tmp_path), version="0.0.1")
    assert "not 0.0.1" in answer.problem and not answer.record


def test_the_lock_of_a_dying_worker_is_waited_for() -> None:
    slept: list[float] = []
    answers = iter([Busy("held"), Busy("held"), 3.0])

    def do() -> float:
        answer = next(answers)
        if isinstance(answer, Busy):
            raise answer
        return answer

    assert retry_while_busy(do, Deadline(None), sleep=slept.append) == 3.0 and len(slept) == 2
    with pytest.raises(OutOfTime):
        retry_while_busy(lambda: (_ for _ in ()).throw(Busy("held")), Deadline(1.0), sleep=slept.append)
    with pytest.raises(Busy):
        retry_while_busy(lambda: (_ for _ in ()).throw(Busy("held")), Deadline(None), patience=0.0)
