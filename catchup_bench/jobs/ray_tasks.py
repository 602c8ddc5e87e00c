"""A board's missing runs on a Ray cluster: a task each, with its share of a node's cores and GPUs.

A node needs the same catchup-bench and, at the same paths, the data and the files of external methods; on a shared
disk the run folders too, and then a run whose node is lost is resumed elsewhere from its last state instead of from the
start. Records come back with the tasks and are written by the command that submitted them.
"""

import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..boards import Board, Setup
from ..boards.grid import Job
from ..errors import BenchError, OutOfTime, RunFailed
from ..records.outcomes import collect_record
from ..records.results_folder import board_folder
from ..runs.run import Run
from .costs import measure_cost
from .job import BoardProgress, Deadline, Ledger, Workspace, do_job, training_failure
from .ray_cluster import Cluster, first_line
from .remote import GRACE, TRIES, TaskResult, WorkerEnvironment, retry_while_busy, settle

POLL_SECONDS = 0.5
"""Seconds between two looks at the tasks."""


class ProgressActor:
    """An actor that collects how far the runs are; nothing but the display depends on it."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, float]] = {}

    def tell(self, name: str, where: str, share: float) -> None:
        self.rows[name] = where, share

    def forget(self, name: str) -> None:
        self.rows.pop(name, None)

    def all(self) -> dict[str, tuple[str, float]]:
        return self.rows


class ReportingDeadline(Deadline):
    """A deadline that also reports how far a run is; evaluation counts as its last tenth."""

    def __init__(self, until: float | None, epochs: int, tell: Callable[[float], object]) -> None:
        super().__init__(until)
        self.epochs, self.tell, self.last = epochs, tell, -math.inf

    def start(self, total: int, done: int) -> None:
        self.tell(0.9 * done / total)  # a run may resume where another worker was

    def epoch(self, line: dict[str, Any]) -> None:
        if time.monotonic() - self.last >= POLL_SECONDS:
            self.tell(0.9 * line["epoch"] / self.epochs)
            self.last = time.monotonic()


def run_task(
    job: Job,
    settings: dict[str, dict[str, Any]],
    workspace: Workspace,
    until: float | None,
    cpus: float,
    environment: WorkerEnvironment,
    display: Any,
) -> TaskResult:
    """Train and evaluate one job, as a task on the node where this runs."""
    where = socket.gethostname()
    epochs = job.run.recipe.epochs if isinstance(job.run, Run) else 1
    deadline = ReportingDeadline(until, epochs, lambda share: display.tell.remote(job.name, where, share))
    deadline.tell(0.0)
    try:
        environment.enter(cpus)
        seconds = retry_while_busy(lambda: do_job(job, settings, workspace, deadline), deadline)
        return TaskResult(seconds, collect_record(workspace.runs / job.run.folder).model_dump_json())
    except OutOfTime:
        return TaskResult(out_of_time=True)
    except (BenchError, OSError) as err:
        return TaskResult(problem=f"{err} (on {where})", failure=training_failure(workspace, job))


def run_on_ray(
    board: Board,
    workspace: Workspace,
    todo: Sequence[Job],
    *,
    cluster: Cluster,
    progress: BoardProgress,
    until: float | None = None,
    remote: Workspace | None = None,
) -> list[Job]:
    """Run jobs as :func:`.local.run_locally` does, on the cluster that is connected. A run whose worker or node is lost
    is given to another one, :data:`TRIES` times. ``remote`` is the workspace as a worker sees it, by default that of
    :func:`remote_workspace`."""
    import ray

    progress.start(len(todo))
    ledger = Ledger(board_folder(workspace.root, board.name), progress)
    if not todo:
        return ledger.close()
    if missing := unmet(cluster, ray.nodes()):
        progress.say(f"no node has {missing} now: the runs wait for one")
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    display = ray.remote(num_cpus=0)(ProgressActor).options(scheduling_strategy=here).remote()
    task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=0)(run_task)
    remote, environment = remote or remote_workspace(workspace, cluster), WorkerEnvironment()

    def submit(job: Job) -> Any:
        return task.options(name=job.name).remote(
            job, board.settings, remote, until, cluster.cpus, environment, display
        )

    tries = {job.name: 1 for job in todo}
    pending = {submit(job): job for job in todo}
    try:
        while pending:
            done, _ = ray.wait(list(pending), num_returns=len(pending), timeout=0)
            for ref in done:
                job = pending.pop(ref)
                try:
                    settle(ledger, job, ray.get(ref))
                except ray.exceptions.TaskCancelledError:
                    ledger.left.append(job)
                except ray.exceptions.RayTaskError as err:  # a defect, or a node without this package
                    ledger.fail(job, first_line(err.cause), None)
                except ray.exceptions.RayError as err:
                    if tries[job.name] == TRIES:
                        ledger.fail(job, f"its worker was lost {TRIES} times, at last: {first_line(err)}", None)
                        continue
                    tries[job.name] += 1
                    display.forget.remote(job.name)  # it waits now, and can be cancelled when the time is over
                    progress.say(f"{job.name}: its worker was lost ({type(err).__name__}); another one gets it")
                    pending[submit(job)] = job
            rows = {
                name: row
                for name, row in read_progress(display).items()
                if name in {job.name for job in pending.values()}
            }
            progress.running(rows)
            progress.advance(len(todo) - len(pending) + sum(share for _, share in rows.values()))
            if until is not None and time.time() > until + GRACE:
                for ref in [ref for ref, job in pending.items() if job.name not in rows]:
                    ray.cancel(ref)  # it waits for a node that has room; the others end by themselves
            time.sleep(POLL_SECONDS)  # signals arrive here as they are; Ray's own waiting would hide which one it was
    except BaseException:
        cancel(list(pending))
        raise
    return ledger.close()


def read_progress(display: Any) -> dict[str, tuple[str, float]]:
    """Return what was last reported to the display; nothing where its node was lost."""
    import ray

    try:
        return dict(ray.get(display.all.remote(), timeout=5.0))
    except ray.exceptions.RayError:
        return {}


def cancel(refs: list[Any], seconds: float = 30.0) -> None:
    """Tell the tasks to save and leave, and wait for it; what is left ends with the connection."""
    import ray

    for ref in refs:
        ray.cancel(ref)
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=seconds)


def measure_cost_on_ray(cluster: Cluster, setup: Setup, runs: dict[str, Run], workspace: Workspace) -> dict[str, Any]:
    """Measure the cost as :func:`catchup_bench.jobs.costs.measure_cost` does, on a node and with a GPU that it shares
    with nobody."""
    import ray

    task = ray.remote(num_cpus=cluster.cpus, num_gpus=math.ceil(cluster.gpus or 0), max_retries=TRIES)(measure_cost)
    ref = task.remote(setup, runs, remote_workspace(workspace, cluster))
    while not ray.wait([ref], timeout=0)[0]:
        time.sleep(POLL_SECONDS)
    try:
        return dict(ray.get(ref))
    except ray.exceptions.RayError as err:
        raise RunFailed(f"measuring the cost: {first_line(getattr(err, 'cause', None) or err)}") from None


def remote_workspace(workspace: Workspace, cluster: Cluster) -> Workspace:
    """Return the workspace as a worker sees it, which runs in another folder."""
    data_dir = workspace.data_dir and workspace.data_dir.absolute()
    return replace(
        workspace, runs=workspace.runs.absolute(), data_dir=data_dir, device="cuda" if cluster.gpus else "cpu"
    )


def unmet(cluster: Cluster, nodes: Sequence[Mapping[str, Any]]) -> str:
    """Return what no living node has at all; empty when a run fits on one."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    wanted = {"CPU": cluster.cpus, "GPU": cluster.gpus or 0.0}
    if any(all(has.get(kind, 0) >= n for kind, n in wanted.items()) for has in alive):
        return ""
    return " and ".join(f"{n:g} {kind}" for kind, n in wanted.items() if n)
