"""A board's missing runs, executed here: several side by side, one thread each, because small networks run faster so.

Every job is idempotent; repeating the command does what is missing.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

from . import results
from .board import Board, Job
from .errors import BenchError, RunFailed
from .files import read_json, write_json


@dataclass(frozen=True)
class Place:
    """Where a board's work happens: run folders, the root that holds ``leaderboards/``, data and device."""

    runs: Path
    root: Path
    board: str
    data_dir: Path | None
    device: str

    @property
    def results(self) -> Path:
        return self.root / "leaderboards" / "results" / self.board


class Watcher(Protocol):
    """Who is told how the board goes; see :mod:`catchup_bench.progress`."""

    def start(self, total: int) -> None: ...
    def advance(self, share: float) -> None: ...
    def finished(self, job: Job, seconds: float) -> None: ...


def missing(board: Board, place: Place) -> list[Job]:
    """Cells of the grid without a record of this protocol that has all conditions."""
    from .evaluate import as_json, make_suites, resolve

    def complete(job: Job) -> bool:
        path = place.results / job.path
        if not path.exists():
            return False
        record = results.read(path)
        suites = resolve(make_suites(job.suites, board.settings), job.run.dataset.name, place.data_dir)
        wanted = [(c, suite.protocol(c)) for suite in suites.values() for c in suite.conditions()]
        have = record.outcomes
        return record.digest == job.run.digest and all(c in have and have[c].protocol == as_json(p) for c, p in wanted)

    return [job for job in board.jobs() if not complete(job)]


def work(job: Job, settings: dict[str, dict[str, Any]], place: Place) -> float:
    """Train and evaluate one job; the seconds it took. Runs in a worker process."""
    from .evaluate import evaluate, make_suites, resolve, trained
    from .hardware import choose_device
    from .train import train

    start = time.monotonic()
    device = choose_device(place.device)
    folder = train(job.run, place.runs, device=device, data_dir=place.data_dir)
    suites = resolve(make_suites(job.suites, settings), job.run.dataset.name, place.data_dir)
    evaluate(trained(folder, device), suites, device=device, data_dir=place.data_dir)
    return time.monotonic() - start


def _one_thread(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def run(board: Board, place: Place, *, workers: int | None = None, watcher: Watcher) -> list[Job]:
    """Do what is missing of the board and write its records; the jobs that were done.

    Raises :class:`RunFailed` after all others are done when a job fails.
    """
    todo = missing(board, place)
    watcher.start(len(todo))
    failed: list[str] = []
    if todo:
        cores = os.cpu_count() or 1
        workers = max(1, min(workers or (cores if place.device != "cuda" else 1), len(todo)))
        threads = 1 if workers > 1 else cores
        with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread, (threads,)) as pool:
            futures = {pool.submit(work, job, board.settings, place): job for job in todo}
            try:
                _gather(futures, place, watcher, failed)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    if failed:
        raise RunFailed("; ".join(failed))
    return todo


def _gather(futures: dict[Future[float], Job], place: Place, watcher: Watcher, failed: list[str]) -> None:
    """Write each record as its job ends, and tell the watcher how far the others are."""
    pending, done_share = set(futures), 0
    while pending:
        done, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            job = futures[future]
            try:
                seconds = future.result()
            except (BenchError, BrokenProcessPool) as err:
                failed.append(f"{job.label} seed {job.run.seed}: {err}")
                continue
            results.write(results.collect(place.runs / job.run.folder), place.results / job.path)
            watcher.finished(job, seconds)
        done_share += len(done)
        watcher.advance(done_share + sum(share(place.runs, futures[f]) for f in pending))


def share(runs: Path, job: Job) -> float:
    """How much of a job is done, from its growing metrics file; evaluation is taken as its last tenth."""
    try:
        lines = (runs / job.run.folder / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0.0
    return 0.9 * min(1.0, lines / job.run.recipe.epochs)


def measure_costs(board: Board, place: Place, tell: Callable[[str], None]) -> None:
    """Measure the cost of every method of a setup, unless all are measured."""
    jobs = list(board.jobs())
    for setup in board.setups:
        runs = {j.label: j.run for j in jobs if j.setup == setup.name and j.run.seed == board.seeds[0]}
        path = place.results / setup.name / "cost.json"
        known = read_json(path, "cost record")["methods"] if path.exists() else {}
        if "baseline" not in runs or runs.keys() <= known.keys():
            continue
        tell(f"measuring the cost of {len(runs)} methods, interleaved")
        import torch

        from . import cost, data
        from .hardware import choose_device

        torch.set_num_threads(1)  # as the runs were trained
        images = data.load(setup.dataset, "train", place.data_dir, setup.fraction)
        write_json(path, cost.measure(runs, choose_device(place.device), images))
