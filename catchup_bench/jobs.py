"""A board's missing runs, executed here: several side by side, one thread each, because small networks run faster so.

Every job is idempotent; repeating the command does what is missing.
"""

import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any, Literal, Protocol

from . import results
from .board import Board, Job, Setup
from .errors import BenchError, OutOfTime, RunFailed, UsageError
from .files import read_json, write_json
from .run import Loaded, Run
from .signals import Stopped, sigint_held, stoppable


@dataclass(frozen=True)
class Place:
    """Where a board's work happens: run folders, the root that holds ``leaderboards/``, data, device and engine."""

    runs: Path
    root: Path
    board: str
    data_dir: Path | None
    device: str
    engine: str = "auto"

    @property
    def results(self) -> Path:
        return self.root / "leaderboards" / "results" / self.board


class Watcher(Protocol):
    """Who is told how the board goes; see :mod:`catchup_bench.progress`."""

    def start(self, total: int) -> None: ...
    def advance(self, share: float) -> None: ...
    def finished(self, job: Job, seconds: float) -> None: ...


def missing(board: Board, place: Place, jobs: Iterable[Job]) -> list[Job]:
    """Those of ``jobs`` without a record of this protocol that has all conditions."""
    from .evaluate import as_json, make_suites, resolve
    from .table import cell

    def complete(job: Job) -> bool:
        path = place.results / job.path
        if not path.exists():
            return False
        record = results.read(path)
        suites = resolve(make_suites(job.suites, board.settings), job.run.dataset.name, place.data_dir)
        wanted = [(c, suite.protocol(c)) for suite in suites.values() for c in suite.conditions()]
        have = record.outcomes
        return cell(record) == job.run.digest and all(c in have and have[c].protocol == as_json(p) for c, p in wanted)

    return [job for job in jobs if not complete(job)]


def command(name: str, recipe: str | None, job: Job) -> str:
    """The command that does this one job of a board."""
    words = ["catchup-bench", "leaderboard", "run", name, "--only"]
    words.append(f"method={job.label} seed={job.run.seed} setup={job.setup}")
    return shlex.join(words + (["--recipe", recipe] if recipe else []))


class Until:
    """Listens to a run and ends it when the time is over; its last whole epoch or condition is kept."""

    def __init__(self, until: float | None) -> None:
        self.until = until

    def check(self, *_: object) -> None:
        if self.until is not None and time.time() >= self.until:
            raise OutOfTime("the time is over")

    def start(self, total: int, done: int) -> None: ...
    def epoch(self, line: dict[str, Any]) -> None: ...

    def step(self, images: int) -> None:
        self.check()


def work(job: Job, settings: dict[str, dict[str, Any]], place: Place, until: float | None) -> float:
    """Train and evaluate one job; the seconds it took. Runs in a worker process, which ends in order when told to.
    Raises :class:`OutOfTime` when the clock passes ``until``."""
    try:
        with stoppable():
            return do(job, settings, place, Until(until))
    except Stopped as stop:
        os._exit(stop.exit_code)  # a worker that returned would take the next job


def do(job: Job, settings: dict[str, dict[str, Any]], place: Place, clock: Until) -> float:
    """Train and evaluate one job in this process; the seconds it took."""
    from .evaluate import evaluate, make_suites, others, resolve, trained
    from .hardware import choose_device
    from .train import train

    clock.check()
    start = time.monotonic()
    device = choose_device(place.device)
    if isinstance(job.run, Loaded):
        subject = others(job.run, place.runs, place.data_dir, device)
    else:
        folder = train(job.run, place.runs, device=device, data_dir=place.data_dir, report=clock, engine=place.engine)
        subject = trained(folder, device)
    suites = resolve(make_suites(job.suites, settings), job.run.dataset.name, place.data_dir)
    evaluate(subject, suites, device=device, data_dir=place.data_dir, tell=clock.check, engine=place.engine)
    return time.monotonic() - start


def _start_worker(threads: int) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _leave_with_parent() -> None:
    """A worker whose parent was killed would hold its run's lock for ever."""
    if (parent := parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def failure_file(place: Place, job: Job) -> Path:
    """Beside the job's record: that its training failed, as :func:`catchup_bench.train.fail` tells it."""
    path = place.results / job.path
    return path.with_name(f"failed-{path.name}")


def has_failed(place: Place, job: Job) -> bool:
    path = failure_file(place, job)
    told = read_json(path, "failure") if path.exists() else None
    return isinstance(told, dict) and told.get("digest") == job.run.digest


@dataclass
class Ledger:
    """What became of a board's jobs, kept by whoever has them done: records are written as they come."""

    place: Place
    watcher: Watcher
    left: list[Job] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def finished(self, job: Job, record: results.Record, seconds: float) -> None:
        results.write(record, self.place.results / job.path)
        failure_file(self.place, job).unlink(missing_ok=True)
        self.watcher.finished(job, seconds)

    def fail(self, job: Job, what: str, told: dict[str, Any] | None) -> None:
        """``told`` is what the run's folder says of a training that failed."""
        self.failed.append(f"{job.label} seed {job.run.seed}: {what}")
        if told is not None:
            write_json(failure_file(self.place, job), {"digest": job.run.digest, **told})

    def close(self) -> list[Job]:
        """The jobs for which there was no time. Raises :class:`RunFailed` when one failed."""
        if self.failed:
            raise RunFailed("; ".join(self.failed))
        return self.left


def told_failure(place: Place, job: Job) -> dict[str, Any] | None:
    path = place.runs / job.run.folder / "failed.json"
    return dict(read_json(path, "failure")) if path.exists() else None


def parse_workers(text: str | None) -> int | Literal["auto"] | None:
    """``auto``, or a number of runs side by side. Raises :class:`UsageError` for anything else."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not text.isdecimal() or not 0 < int(text) <= 1024:
        raise UsageError(f"--workers {text}: it takes auto or a number from 1 to 1024")
    return int(text)


def count_workers(wanted: int | Literal["auto"] | None, place: Place, todo: Sequence[Job]) -> int:
    """How many runs to do side by side: as many as ``wanted``; by default one for each core of a CPU, and one on a GPU;
    there, ``auto`` is as many as its free memory is estimated to hold."""
    if isinstance(wanted, int):
        return wanted
    if place.device != "cuda":
        return os.cpu_count() or 1
    if wanted is None:
        return 1
    import torch

    from .memory import side_by_side

    return side_by_side([j.run for j in todo if isinstance(j.run, Run)], torch.cuda.mem_get_info()[0], place.data_dir)


def run(
    board: Board,
    place: Place,
    todo: Sequence[Job],
    *,
    workers: int | Literal["auto"] | None = None,
    watcher: Watcher,
    until: float | None = None,
) -> list[Job]:
    """Do ``todo`` and write its records; the jobs that are left when the clock passes ``until``. Raises
    :class:`RunFailed` after all others are done when a job fails.
    """
    watcher.start(len(todo))
    ledger = Ledger(place, watcher)
    if todo:
        cores = os.cpu_count() or 1
        workers = max(1, min(count_workers(workers, place, todo), len(todo)))
        threads = 1 if workers > 1 else cores
        with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (threads,)) as pool:
            try:
                with sigint_held():
                    futures = {pool.submit(work, job, board.settings, place, until): job for job in todo}
                _gather(futures, ledger)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                stop_workers()
                raise
    return ledger.close()


def stop_workers(seconds: float = 30.0) -> None:
    """Tell them to save and leave, and end those that have not after ``seconds``."""
    workers = active_children()
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()


def _gather(futures: dict[Future[float], Job], ledger: Ledger) -> None:
    """Write each record as its job ends, and tell the watcher how far the others are."""
    pending, done_share, runs = set(futures), 0, ledger.place.runs
    while pending:
        done, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            job = futures[future]
            try:
                seconds = future.result()
            except OutOfTime:
                ledger.left.append(job)
            except (BenchError, BrokenProcessPool, OSError) as err:
                ledger.fail(job, str(err), told_failure(ledger.place, job))
            else:
                ledger.finished(job, results.collect(runs / job.run.folder), seconds)
        done_share += len(done)
        ledger.watcher.advance(done_share + sum(share(runs, futures[f]) for f in pending))


def share(runs: Path, job: Job) -> float:
    """How much of a job is done, from its growing metrics file; evaluation is taken as its last tenth."""
    try:
        lines = (runs / job.run.folder / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0.0
    return 0.9 * min(1.0, lines / job.run.recipe.epochs) if isinstance(job.run, Run) else 0.0


def cost_of(setup: Setup, runs: dict[str, Run], place: Place) -> dict[str, Any]:
    """The cost record of these runs of a setup, measured in this process."""
    import torch

    from . import cost, data
    from .hardware import choose_device

    torch.set_num_threads(1)  # as the runs were trained
    images = data.load(setup.dataset, "train", place.data_dir, setup.fraction)
    return cost.measure(runs, choose_device(place.device), images, engine=place.engine)


def measure_costs(
    board: Board,
    place: Place,
    tell: Callable[[str], None],
    measured: Callable[[Setup, dict[str, Run], Place], dict[str, Any]] = cost_of,
) -> None:
    """Measure the cost of the methods of a setup that have been run, unless all of them are measured."""
    jobs = [job for job in board.jobs() if (place.results / job.path).exists()]
    for setup in board.setups:
        mine = [(j.label, j.run) for j in jobs if j.setup == setup.name]
        runs = {label: run for label, run in mine if isinstance(run, Run) and run.seed == board.seeds[0]}
        path = place.results / setup.name / "cost.json"
        known = read_json(path, "cost record")["methods"] if path.exists() else {}
        if "baseline" not in runs or runs.keys() <= known.keys():
            continue
        tell(f"measuring the cost of {len(runs)} methods, interleaved")
        write_json(path, measured(setup, runs, place))
