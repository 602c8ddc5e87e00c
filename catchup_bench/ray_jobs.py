"""A board's missing runs on a Ray cluster: a task each, with its share of a node's cores and GPUs.

A node needs the same catchup-bench and, at the same paths, the data and the files of strangers' methods; on a shared
disk the run folders too, and then a run whose node is lost goes on elsewhere from its last state instead of from the
start. Records come back with the tasks and are written by the one who asked for them.
"""

import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from . import __version__, jobs, names, results
from .board import Board, Job, Setup
from .errors import BenchError, Busy, OutOfTime, RunFailed, UsageError
from .jobs import Place
from .run import Run
from .signals import stoppable

TRIES = 5
"""How often a run is given to another worker when its own is lost."""
PATIENCE = 120.0
"""Seconds to wait for the lock of a worker that was lost; a file server may hold it that long."""
LOOK = 0.5
"""Seconds between two looks at the tasks."""
KNOCK = 10.0
"""Seconds in which the head of a cluster must take a connection."""
GRACE = 5.0
"""Seconds after the time is over, in which a run that waits may still begin, and see that it is."""


class Watcher(jobs.Watcher, Protocol):
    def running(self, rows: Mapping[str, tuple[str, float]]) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Cluster:
    """Where tasks go, and what each may use; several share a GPU when ``gpus`` is a fraction. ``gpus`` ``None`` is one
    where the cluster has any."""

    address: str | None = None
    cpus: float = 1.0
    gpus: float | None = None

    def __post_init__(self) -> None:
        gpus = self.gpus or 0.0
        if not (0 < self.cpus < math.inf and 0 <= gpus < math.inf and (gpus <= 1 or gpus == int(gpus))):
            raise UsageError(
                f"--cpus-per-run {self.cpus:g} --gpus-per-run {gpus:g}: "
                "they take a number above 0, and a fraction of one GPU or a whole number of them"
            )


def cluster(
    on: str, address: str | None, cpus: float | None, gpus: float | None, workers: str | None
) -> Cluster | None:
    """What the options say; ``None`` for this machine without Ray."""
    if names.pick("place", on, ("local", "ray")) == "ray":
        if workers is not None:
            raise UsageError("--workers is for --on local: on Ray, --cpus-per-run and --gpus-per-run say what fits")
        return Cluster(address, 1.0 if cpus is None else cpus, gpus)
    if any(said is not None for said in (address, cpus, gpus)):
        raise UsageError("--address, --cpus-per-run and --gpus-per-run are for --on ray")
    return None


@contextmanager
def connected(cluster: Cluster | None, device: str) -> Iterator[Cluster | None]:
    """The cluster, with its share of GPUs decided; of ``None`` nothing. Without an address, it is the one of
    ``RAY_ADDRESS`` or of this machine, or else one that is started here and ends with the command. Raises
    :class:`UsageError` when there is none."""
    if cluster is None:
        yield None
        return
    if find_spec("ray") is None:
        raise UsageError("--on ray needs Ray: pip install 'catchup-bench[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns; the device is said to every task
    import ray

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # where Ray prints the logs of lost nodes
        own = not ray.is_initialized()
        if own:
            address = address_of(cluster)
            try:
                knock(address)
                ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            except (OSError, ValueError, RuntimeError) as err:
                raise UsageError(
                    f"no Ray cluster at {address!r} ({first_line(err)}): --address takes its head's HOST:PORT, or "
                    "auto; without it, and without RAY_ADDRESS, one is started here"
                ) from None
        try:
            with stoppable():  # Ray has put handlers of its own in place
                yield replace(cluster, gpus=gpus_per_run(cluster, device, ray.cluster_resources()))
        finally:
            if own:
                ray.shutdown()


def address_of(cluster: Cluster) -> str | None:
    """Where Ray will look: its variable goes before ``auto``."""
    if cluster.address in (None, "auto"):
        return os.environ.get("RAY_ADDRESS") or cluster.address
    return cluster.address


def knock(address: str | None) -> None:
    """Ray would ask an address where nobody listens for minutes. Raises ``OSError``, or ``ValueError``."""
    if address in (None, "auto", "local") or "://" in str(address):
        return
    host, _, port = str(address).rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("not HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def gpus_per_run(cluster: Cluster, device: str, resources: Mapping[str, float]) -> float:
    if device == "cpu" and cluster.gpus:
        raise UsageError(f"--gpus-per-run {cluster.gpus:g} does not go with --device cpu")
    if device == "cuda" and cluster.gpus == 0:
        raise UsageError("--gpus-per-run 0 does not go with --device cuda")
    if cluster.gpus is not None:
        return cluster.gpus
    return 1.0 if device == "cuda" or (device == "auto" and resources.get("GPU", 0) > 0) else 0.0


@dataclass(frozen=True)
class Home:
    """What a worker takes over from the command that asked: version, folder, settings of the environment."""

    version: str = __version__
    folder: str = field(default_factory=os.getcwd)
    environment: Mapping[str, str] = field(
        default_factory=lambda: {k: v for k, v in os.environ.items() if k.startswith("CATCHUP_BENCH_")}
    )

    def enter(self, cpus: float) -> None:
        if self.version != __version__:
            raise UsageError(f"{socket.gethostname()} has catchup-bench {__version__}, not {self.version}")
        os.environ.update({"CATCHUP_BENCH_WORKERS": str(max(1, int(cpus))), **self.environment})
        if Path(self.folder).is_dir():
            os.chdir(self.folder)  # the file of a stranger's method may be given relative to it
        import torch

        torch.set_num_threads(max(1, int(cpus)))


@dataclass(frozen=True)
class Answer:
    """What a task returns: the record as JSON, or why there is none."""

    seconds: float = 0.0
    record: str = ""
    problem: str = ""
    told: dict[str, Any] | None = None
    out_of_time: bool = False


class Desk:
    """An actor that is told how far the runs are; nothing but the display depends on it."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, float]] = {}

    def tell(self, name: str, where: str, share: float) -> None:
        self.rows[name] = where, share

    def forget(self, name: str) -> None:
        self.rows.pop(name, None)

    def all(self) -> dict[str, tuple[str, float]]:
        return self.rows


class Telling(jobs.Until):
    """Ends a run when the time is over, and tells how far it is; evaluation is taken as its last tenth."""

    def __init__(self, until: float | None, epochs: int, tell: Callable[[float], object]) -> None:
        super().__init__(until)
        self.epochs, self.tell, self.told = epochs, tell, -math.inf

    def start(self, total: int, done: int) -> None:
        self.tell(0.9 * done / total)  # a run may go on where another worker was

    def epoch(self, line: dict[str, Any]) -> None:
        if time.monotonic() - self.told >= LOOK:
            self.tell(0.9 * line["epoch"] / self.epochs)
            self.told = time.monotonic()


def perform(
    job: Job, settings: dict[str, dict[str, Any]], place: Place, until: float | None, cpus: float, home: Home, desk: Any
) -> Answer:
    """The task: train and evaluate one job on the node where this runs."""
    where = socket.gethostname()
    epochs = job.run.recipe.epochs if isinstance(job.run, Run) else 1
    clock = Telling(until, epochs, lambda share: desk.tell.remote(name_of(job), where, share))
    clock.tell(0.0)
    try:
        home.enter(cpus)
        seconds = patiently(lambda: jobs.do(job, settings, place, clock), clock)
        return Answer(seconds, results.collect(place.runs / job.run.folder).model_dump_json())
    except OutOfTime:
        return Answer(out_of_time=True)
    except (BenchError, OSError) as err:
        return Answer(problem=f"{err} (on {where})", told=jobs.told_failure(place, job))


def patiently(do: Callable[[], float], clock: jobs.Until) -> float:
    """``do``, again and again while a process that may be dying still holds the run's lock."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return do()
        except Busy:
            if time.monotonic() >= deadline:
                raise
        clock.check()
        time.sleep(1.0)


def name_of(job: Job) -> str:
    return f"{job.setup} {job.label} seed {job.run.seed}"


def run(
    board: Board,
    place: Place,
    todo: Sequence[Job],
    *,
    cluster: Cluster,
    watcher: Watcher,
    until: float | None = None,
) -> list[Job]:
    """As :func:`catchup_bench.jobs.run`, on the cluster that is connected. A run whose worker or node is lost is given
    to another one, :data:`TRIES` times."""
    import ray

    watcher.start(len(todo))
    ledger = jobs.Ledger(place, watcher)
    if not todo:
        return ledger.close()
    if missing := unmet(cluster, ray.nodes()):
        watcher.say(f"no node has {missing} now: the runs wait for one")
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    desk = ray.remote(num_cpus=0)(Desk).options(scheduling_strategy=here).remote()
    task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=0)(perform)
    far, home = distant(place, cluster), Home()

    def submit(job: Job) -> Any:
        return task.options(name=name_of(job)).remote(job, board.settings, far, until, cluster.cpus, home, desk)

    tries = {name_of(job): 1 for job in todo}
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
                    if tries[name_of(job)] == TRIES:
                        ledger.fail(job, f"its worker was lost {TRIES} times, at last: {first_line(err)}", None)
                        continue
                    tries[name_of(job)] += 1
                    desk.forget.remote(name_of(job))  # it waits now, and can be cancelled when the time is over
                    watcher.say(f"{name_of(job)}: its worker was lost ({type(err).__name__}); another one gets it")
                    pending[submit(job)] = job
            rows = {name: row for name, row in ask(desk).items() if name in {name_of(job) for job in pending.values()}}
            watcher.running(rows)
            watcher.advance(len(todo) - len(pending) + sum(share for _, share in rows.values()))
            if until is not None and time.time() > until + GRACE:
                for ref in [ref for ref, job in pending.items() if name_of(job) not in rows]:
                    ray.cancel(ref)  # it waits for a node that has room; the others end by themselves
            time.sleep(LOOK)  # signals arrive here as they are; Ray's own waiting would hide which one it was
    except BaseException:
        cancel(list(pending))
        raise
    return ledger.close()


def settle(ledger: jobs.Ledger, job: Job, answer: Answer) -> None:
    if answer.out_of_time:
        ledger.left.append(job)
    elif answer.problem:
        ledger.fail(job, answer.problem, answer.told)
    else:
        record = results.parse(json.loads(answer.record), ledger.place.results / job.path)
        ledger.finished(job, record, answer.seconds)


def ask(desk: Any) -> dict[str, tuple[str, float]]:
    """What the desk was told last; nothing where its node was lost."""
    import ray

    try:
        return dict(ray.get(desk.all.remote(), timeout=5.0))
    except ray.exceptions.RayError:
        return {}


def cancel(refs: list[Any], seconds: float = 30.0) -> None:
    """Tell the tasks to save and leave, and wait for it; what is left ends with the connection."""
    import ray

    for ref in refs:
        ray.cancel(ref)
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=seconds)


def cost_of(cluster: Cluster, setup: Setup, runs: dict[str, Run], place: Place) -> dict[str, Any]:
    """As :func:`catchup_bench.jobs.cost_of`, on a node and with a GPU that it shares with nobody."""
    import ray

    task = ray.remote(num_cpus=cluster.cpus, num_gpus=math.ceil(cluster.gpus or 0), max_retries=TRIES)(jobs.cost_of)
    ref = task.remote(setup, runs, distant(place, cluster))
    while not ray.wait([ref], timeout=0)[0]:
        time.sleep(LOOK)
    try:
        return dict(ray.get(ref))
    except ray.exceptions.RayError as err:
        raise RunFailed(f"measuring the cost: {first_line(getattr(err, 'cause', None) or err)}") from None


def distant(place: Place, cluster: Cluster) -> Place:
    """The place as a worker sees it, which runs in another folder."""
    data_dir = place.data_dir and place.data_dir.absolute()
    return replace(place, runs=place.runs.absolute(), data_dir=data_dir, device="cuda" if cluster.gpus else "cpu")


def unmet(cluster: Cluster, nodes: Sequence[Mapping[str, Any]]) -> str:
    """What no living node has at all; empty when a run fits on one."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    wanted = {"CPU": cluster.cpus, "GPU": cluster.gpus or 0.0}
    if any(all(has.get(kind, 0) >= n for kind, n in wanted.items()) for has in alive):
        return ""
    return " and ".join(f"{n:g} {kind}" for kind, n in wanted.items() if n)


def first_line(err: BaseException) -> str:
    text = str(err).strip()
    return f"{type(err).__name__}: {text.splitlines()[0]}" if text else type(err).__name__
