"""A board's missing runs, executed here: several side by side, one thread each, because small networks run faster so.

Every job is idempotent; repeating the command does what is missing.
"""

import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..boards import Board
from ..boards.grid import Job
from ..errors import OutOfTime, RunFailed
from ..records.record import Record, read_record, write_record
from ..records.results_folder import board_folder, failure_file
from ..runs.folder import RunFolder
from ..runs.run import ExternalNetwork, Run
from ..system.files import read_json, write_json
from ..system.progress import NoProgress, Progress

if TYPE_CHECKING:
    from ..suites import Suite


@dataclass(frozen=True)
class Workspace:
    """Where a board's work happens: run folders, the root that holds ``leaderboards/``, data, device and engine."""

    runs: Path
    root: Path
    data_dir: Path | None
    device: str
    engine: str = "auto"
    threads: int | None = None
    """CPU threads of a run; by default as :func:`catchup_bench.system.threads.choose_threads` says."""
    track: str | None = None
    """Tracker that receives the losses and errors of each run (see :mod:`catchup_bench.system.trackers`)."""


@dataclass(frozen=True)
class BoardWork:
    """What is to be done for a board: of all its ``jobs`` those ``todo``, and those that failed before and are not
    tried again. ``results`` is the folder of its records; ``costs`` are those measured before, relative to the
    baseline's, by setup and label."""

    board: Board
    results: Path
    jobs: list[Job]
    todo: list[Job]
    failed: list[Job]
    costs: dict[str, dict[str, float]]


class BoardProgress(Protocol):
    """Receives how a board goes: the number of jobs, the share that is done, the jobs that run (name → where, share
    done), each finished job, and lines to show. See :mod:`catchup_bench.cli.progress`."""

    def start(self, total: int) -> None: ...
    def advance(self, share: float) -> None: ...
    def running(self, rows: Mapping[str, tuple[str, float]]) -> None: ...
    def finished(self, job: Job, seconds: float) -> None: ...
    def say(self, text: str) -> None: ...


def missing_jobs(board: Board, workspace: Workspace, jobs: Iterable[Job]) -> list[Job]:
    """Return those of ``jobs`` without a record of this protocol that has all conditions."""
    from ..boards.grid import job_digest
    from ..records.outcomes import lacking
    from ..suites import make_suites, resolve_suites

    def suites_of(job: Job) -> dict[str, "Suite"]:
        """Return the suites of the job's setup, made once."""
        if job.setup not in suites:
            made = make_suites(job.suites, board.settings)
            suites[job.setup] = resolve_suites(made, job.run.dataset.name, workspace.data_dir)
        return suites[job.setup]

    def is_missing(job: Job) -> bool:
        path = results / job.path
        if not path.exists():
            return True
        record = read_record(path)
        return job_digest(record) != job.run.digest or any(lacking(record.outcomes, suites_of(job)).values())

    results = board_folder(workspace.root, board.name)
    suites: dict[str, dict[str, Suite]] = {}
    return [job for job in jobs if is_missing(job)]


def command_of(name: str, recipe: str | None, job: Job) -> str:
    """Return the command that does this one job of a board."""
    words = ["catchup-bench", "leaderboard", "run", name, "--only"]
    words.append(f"method={job.label} seed={job.run.seed} setup={job.setup}")
    return shlex.join(words + (["--recipe", recipe] if recipe else []))


class Deadline(NoProgress):
    """Ends a run when the clock passes ``until`` (seconds since the epoch), ``None`` for never."""

    def __init__(self, until: float | None) -> None:
        self.until = until

    def should_stop(self) -> bool:
        return self.until is not None and time.time() >= self.until


def do_job(job: Job, settings: dict[str, dict[str, Any]], workspace: Workspace, progress: Progress) -> float:
    """Train and evaluate one job in this process, and train before it the runs that its suites need; return the seconds
    it took. Raises :class:`OutOfTime` when ``progress`` asks to stop."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.evaluated_model import model_of_external, trained_model
    from ..suites import make_suites, resolve_suites
    from ..system.hardware import choose_device
    from ..system.trackers import tracked
    from ..training.loop import train
    from ..training.several import train_all

    if progress.should_stop():
        raise OutOfTime("the time is over")
    start = time.monotonic()
    device = choose_device(workspace.device)
    suites = resolve_suites(make_suites(job.suites, settings), job.run.dataset.name, workspace.data_dir)
    config, epochs = job.run.model_dump(mode="json"), job.run.recipe.epochs if isinstance(job.run, Run) else 0
    with tracked(progress, workspace.track, workspace.runs / job.run.folder, config, epochs) as everyone:
        if isinstance(job.run, ExternalNetwork):
            model = model_of_external(job.run, workspace.runs, workspace.data_dir, device)
        else:
            options: dict[str, Any] = {
                "device": device,
                "data_dir": workspace.data_dir,
                "engine": workspace.engine,
                "threads": workspace.threads,
            }
            if needed := [run for suite in suites.values() for run in suite.runs_needed(job.run)]:
                train_all([job.run, *needed], workspace.runs, progress=progress, of_first=everyone, **options)
            folder = train(job.run, workspace.runs, progress=everyone, **options)
            model = trained_model(folder, device)
        evaluate(
            model,
            suites,
            device=device,
            data_dir=workspace.data_dir,
            progress=everyone,
            engine=workspace.engine,
            threads=workspace.threads,
        )
    return time.monotonic() - start


@dataclass
class Ledger:
    """What became of a board's jobs, kept by whoever has them done: records are written as they come, into the folder
    ``results``."""

    results: Path
    progress: BoardProgress
    left: list[Job] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def finished(self, job: Job, record: Record, seconds: float) -> None:
        write_record(record, self.results / job.path)
        failure_file(self.results / job.path).unlink(missing_ok=True)
        self.progress.finished(job, seconds)

    def fail(self, job: Job, what: str, failure: dict[str, Any] | None) -> None:
        """Note that a job failed; ``failure`` is what the run's folder says of a training that failed."""
        self.failed.append(f"{job.name}: {what}")
        if failure is not None:
            write_json(failure_file(self.results / job.path), {"digest": job.run.digest, **failure})

    def close(self) -> list[Job]:
        """Return the jobs for which there was no time. Raises :class:`RunFailed` when one failed."""
        if self.failed:
            raise RunFailed("; ".join(self.failed))
        return self.left


def training_failure(workspace: Workspace, job: Job) -> dict[str, Any] | None:
    path = RunFolder(workspace.runs / job.run.folder).failure
    return dict(read_json(path, "failure")) if path.exists() else None
