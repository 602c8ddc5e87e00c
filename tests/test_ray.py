"""A board on a Ray cluster of several nodes, one of which is killed at work; and what is said without Ray."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catchup_bench import board as boards
from catchup_bench import jobs, ray_jobs, table
from catchup_bench.errors import Busy, OutOfTime, RunFailed, UsageError

from .conftest import Cli
from .test_cli import TINY

WAITS = '''
import time
from dataclasses import dataclass
from pathlib import Path
from catchup_bench.method import Method, one_hot, soft_loss


@dataclass(frozen=True, kw_only=True)
class Waits(Method):
    """The baseline, once the file ``go`` is there."""

    title, paper, year, level = "Waits", "none", 2026, "input"

    def start_epoch(self, net):
        while not Path("go").exists():
            time.sleep(0.05)

    def loss(self, net, x, y, plan, gen):
        return soft_loss(net(x), one_hot(y, net.num_classes))
'''
GRID = (
    TINY.replace('"catchup"]', '{ name = "./waits.py", label = "waits" }]')
    .replace("seeds = [0]", "seeds = [0, 1]")
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


def place(folder: Path) -> jobs.Place:
    return jobs.Place(folder / "runs", folder, "tiny", None, "cpu")


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

    def finished(self, job: boards.Job, seconds: float) -> None:
        self.done.append(ray_jobs.name_of(job))


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of a head without work and two nodes with a core each, as processes of this machine."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": quick, **small})
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_nodes_runs_are_done_elsewhere_and_the_records_are_the_local_ones(
    nodes: Any, grid: boards.Board, tmp_path: Path
) -> None:
    todo = list(grid.jobs())
    away, home = place(tmp_path / "ray"), place(tmp_path / "local")

    class Kills(Quiet):
        """A node, when both are in the middle of a run; these go on once the loss is seen, so neither can end first."""

        killed = False

        def running(self, rows: Mapping[str, tuple[str, float]]) -> None:
            super().running(rows)
            if not self.killed and rows.keys() == {f"preactresnet10-w4 waits seed {n}" for n in (0, 1)}:
                self.killed = True
                nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)

        def say(self, text: str) -> None:
            super().say(text)
            Path("go").touch()

    watcher = Kills()
    with ray_jobs.connected(ray_jobs.Cluster(nodes.address), "cpu") as cluster:
        assert cluster is not None and cluster.gpus == 0
        assert ray_jobs.run(grid, away, todo, cluster=cluster, watcher=watcher) == []
    assert len(watcher.said) == 1 and "waits seed" in watcher.said[0] and "its worker was lost" in watcher.said[0]
    assert sorted(watcher.done) == sorted(map(ray_jobs.name_of, todo)) and watcher.seen
    assert jobs.missing(grid, away, todo) == []
    jobs.run(grid, home, todo, workers=2, watcher=Quiet())
    for job in todo:
        assert lasting(away.results / job.path) == lasting(home.results / job.path)
    assert table.make(grid, away.results).rows[0].n == 2


def lasting(record: Path) -> bytes:
    """All of a record but how long it took."""
    value = json.loads(record.read_text())
    del value["training"]["seconds"]
    return json.dumps(value, sort_keys=True).encode()


def test_without_ray_one_line_says_how_to_get_it(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catchup_bench.ray_jobs.find_spec", lambda name: None)
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "tiny.toml").write_text(TINY)
    result = cli("leaderboard", "run", "tiny.toml", "--on", "ray")
    assert result.exit_code == 2
    assert result.stderr.strip() == "error: --on ray needs Ray: pip install 'catchup-bench[ray]'"
    assert not list((tmp_path / "leaderboards").iterdir()) and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--on rya", "did you mean ray"),
        ("--address auto", "are for --on ray"),
        ("--gpus-per-run 0.5", "are for --on ray"),
        ("--on ray --workers 2", "--workers is for --on local"),
        ("--on ray --gpus-per-run 1.5", "a fraction of one GPU or a whole number"),
        ("--on ray --gpus-per-run nan", "a fraction of one GPU or a whole number"),
        ("--on ray --cpus-per-run 0", "a number above 0"),
    ],
)
def test_bad_options_are_one_line(cli: Cli, tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "leaderboards").mkdir()
    result = cli("leaderboard", "run", "digits", *words.split())
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1 and message in result.stderr


def test_gpus_are_taken_where_there_are_any() -> None:
    plain = ray_jobs.Cluster()
    assert ray_jobs.gpus_per_run(plain, "auto", {"GPU": 2.0}) == 1 == ray_jobs.gpus_per_run(plain, "cuda", {})
    assert ray_jobs.gpus_per_run(plain, "auto", {"CPU": 8.0}) == 0 == ray_jobs.gpus_per_run(plain, "cpu", {"GPU": 2.0})
    assert ray_jobs.gpus_per_run(replace(plain, gpus=0.25), "auto", {"GPU": 2.0}) == 0.25
    for gpus, device in ((1.0, "cpu"), (0.0, "cuda")):
        with pytest.raises(UsageError, match="does not go with"):
            ray_jobs.gpus_per_run(replace(plain, gpus=gpus), device, {"GPU": 2.0})


def test_a_run_that_fits_on_no_node_is_told() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 32.0}},
    ]
    assert ray_jobs.unmet(ray_jobs.Cluster(cpus=4, gpus=0.5), nodes) == ""
    assert ray_jobs.unmet(ray_jobs.Cluster(cpus=16, gpus=0.0), nodes) == ""
    assert ray_jobs.unmet(ray_jobs.Cluster(cpus=8, gpus=1), nodes) == "8 CPU and 1 GPU"


class Told:
    """Stands for the actor."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float]] = []
        self.tell = self

    def remote(self, name: str, where: str, share: float) -> None:
        self.rows.append((name, share))


def perform(
    job: boards.Job, where: jobs.Place, until: float | None = None, **home: Any
) -> tuple[ray_jobs.Answer, Told]:
    desk = Told()
    return ray_jobs.perform(job, {}, where, until, 1.0, ray_jobs.Home(**home), desk), desk


def test_a_task_answers_with_its_record(grid: boards.Board, tmp_path: Path) -> None:
    job, here = next(grid.jobs()), place(tmp_path)
    answer, desk = perform(job, here)
    ledger = jobs.Ledger(here, Quiet())
    ray_jobs.settle(ledger, job, answer)
    assert ledger.close() == [] and jobs.missing(grid, here, [job]) == []
    assert desk.rows[0] == (ray_jobs.name_of(job), 0.0) and 0 < desk.rows[-1][1] <= 0.9


def test_time_that_is_over_leaves_the_run(grid: boards.Board, tmp_path: Path) -> None:
    job, here = next(grid.jobs()), place(tmp_path)
    ledger = jobs.Ledger(here, Quiet())
    ray_jobs.settle(ledger, job, perform(job, here, until=1.0)[0])
    assert ledger.close() == [job] and not here.runs.exists()


def test_a_failed_training_is_told_beside_the_record(grid: boards.Board, tmp_path: Path) -> None:
    setup = grid.setups[0].model_copy(update={"overrides": {"epochs": 1, "lr": 1e18, "precision": "fp32"}})
    job, here = next(grid.model_copy(update={"setups": (setup,)}).jobs()), place(tmp_path)
    ledger = jobs.Ledger(here, Quiet())
    ray_jobs.settle(ledger, job, perform(job, here)[0])
    assert jobs.has_failed(here, job)
    with pytest.raises(RunFailed, match="no longer finite"):
        ledger.close()


def test_another_version_on_a_node_fails_its_runs(grid: boards.Board, tmp_path: Path) -> None:
    answer, _ = perform(next(grid.jobs()), place(tmp_path), version="0.0.1")
    assert "not 0.0.1" in answer.problem and not answer.record


def test_the_lock_of_a_dying_worker_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    answers = iter([Busy("held"), Busy("held"), 3.0])

    def do() -> float:
        answer = next(answers)
        if isinstance(answer, Busy):
            raise answer
        return answer

    assert ray_jobs.patiently(do, jobs.Until(None)) == 3.0
    with pytest.raises(OutOfTime):
        ray_jobs.patiently(lambda: (_ for _ in ()).throw(Busy("held")), jobs.Until(1.0))
    monkeypatch.setattr(ray_jobs, "PATIENCE", 0.0)
    with pytest.raises(Busy):
        ray_jobs.patiently(lambda: (_ for _ in ()).throw(Busy("held")), jobs.Until(None))
