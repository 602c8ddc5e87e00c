"""Jobs on this machine: several side by side in worker processes."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any, Literal

from ..boards import Board
from ..boards.grid import Job
from ..errors import BenchError, OutOfTime, UsageError
from ..records.outcomes import collect_record
from ..records.results_folder import board_folder
from ..runs.folder import RunFolder
from ..runs.run import Run
from ..system.signals import Stopped, sigint_held, stoppable
from .job import BoardProgress, Deadline, Ledger, Workspace, do_job, training_failure

MOST_WORKERS = 1024


def work(job: Job, settings: dict[str, dict[str, Any]], workspace: Workspace, until: float | None) -> float:
    """Train and evaluate one job; return the seconds it took. Runs in a worker process, which keeps the last epoch and
    ends when a signal stops it. Raises :class:`OutOfTime` when the clock passes ``until``."""
    try:
        with stoppable():
            return do_job(job, settings, workspace, Deadline(until))
    except Stopped as stop:
        os._exit(stop.exit_code)  # a worker that returned would take the next job


def _start_worker() -> None:
    # no library does it: workers of loky 3.6 go on with their job when their parent is killed, as these would
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End a worker whose parent was killed: it would hold its run's lock for ever."""
    if (parent := parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def run_locally(
    board: Board,
    workspace: Workspace,
    todo: Sequence[Job],
    *,
    workers: int | Literal["auto"] | None = None,
    progress: BoardProgress,
    until: float | None = None,
) -> list[Job]:
    """Do ``todo`` and write its records; return the jobs that are left when the clock passes ``until``.

    ``workers`` is the number of runs side by side, each in a process of its own, or as for :func:`count_workers`; 0
    does one after the other in this process. Raises :class:`RunFailed` after all others are done when a job fails.
    """
    progress.start(len(todo))
    ledger = Ledger(board_folder(workspace.root, board.name), progress)
    if workers == 0:
        for number, job in enumerate(todo, 1):
            _settle(ledger, workspace, job, partial(do_job, job, board.settings, workspace, Deadline(until)))
            progress.advance(number)
    elif todo:
        from ..system.hardware import cores

        workers = min(count_workers(workers, workspace, todo, cores()), len(todo))
        with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker) as pool:
            try:
                with sigint_held():
                    futures = {pool.submit(work, job, board.settings, workspace, until): job for job in todo}
                _gather(futures, ledger, workspace)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                stop_workers()
                raise
    return ledger.close()


def parse_workers(text: str | None) -> int | Literal["auto"] | None:
    """Return ``auto``, or a number of runs side by side. Raises :class:`UsageError` for anything else."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not (text.isascii() and text.isdecimal()) or int(text) > MOST_WORKERS:
        raise UsageError(f"--workers {text}: it takes auto or a number from 0 to {MOST_WORKERS}")
    return int(text)


def free_memory() -> int:
    """Return the free bytes of the GPU."""
    import torch

    return torch.cuda.mem_get_info()[0]


def count_workers(
    wanted: int | Literal["auto"] | None,
    workspace: Workspace,
    todo: Sequence[Job],
    cores: int,
    free: Callable[[], int] = free_memory,
) -> int:
    """Return how many runs to do side by side: as many as ``wanted``; by default as many as the ``cores`` of a CPU have
    threads for, and one on a GPU; there, ``auto`` is as many as its ``free`` memory is estimated to hold."""
    if isinstance(wanted, int):
        return wanted
    if workspace.device != "cuda":
        from .costs import threads_of

        different = {str(job.run.model): job.run for job in todo}.values()
        return max(1, cores // (workspace.threads or max(threads_of(run) for run in different)))
    if wanted is None:
        return 1
    from .memory import side_by_side

    return side_by_side([job.run for job in todo if isinstance(job.run, Run)], free(), cores, workspace.data_dir)


def stop_workers(seconds: float = 30.0) -> None:
    """Tell them to save and leave, and end those that have not after ``seconds``."""
    workers = active_children()
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()


def _gather(futures: dict[Future[float], Job], ledger: Ledger, workspace: Workspace) -> None:
    """Write each record as its job ends, and report how far the others are."""
    pending, done_share = set(futures), 0
    while pending:
        done, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            _settle(ledger, workspace, futures[future], future.result)
        done_share += len(done)
        shares = {futures[f].name: share_done(workspace.runs, futures[f]) for f in pending}
        ledger.progress.running({name: (doing(share), share) for name, share in shares.items() if share})
        ledger.progress.advance(done_share + sum(shares.values()))


def _settle(ledger: Ledger, workspace: Workspace, job: Job, result: Callable[[], float]) -> None:
    """Write down what became of ``job``, whose seconds, or error, ``result`` gives."""
    try:
        seconds = result()
    except OutOfTime:
        ledger.left.append(job)
    except (BenchError, BrokenProcessPool, OSError) as err:
        ledger.fail(job, str(err), training_failure(workspace, job))
    else:
        ledger.finished(job, collect_record(workspace.runs / job.run.folder), seconds)


TRAINING = 0.9
"""Share of a job that is over when its training is."""


def doing(share: float) -> str:
    """Return what a job does when this share of it is done."""
    return "training" if share < TRAINING else "evaluating"


def share_done(runs: Path, job: Job) -> float:
    """Return how much of a job is done, from its growing metrics file; evaluation counts as its last tenth."""
    try:
        lines = RunFolder(runs / job.run.folder).metrics.read_bytes().count(b"\n")
    except OSError:
        return 0.0
    return TRAINING * min(1.0, lines / job.run.recipe.epochs) if isinstance(job.run, Run) else 0.0
