"""A board's missing runs as jobs of Slurm, through submitit.

All nodes need the same environment, and the folders of runs and of data at the same paths. A job that is lost, or whose
time limit is over, is submitted again and resumes from the run's last state. When the command is interrupted, its jobs
go on; the same command picks them up, and writes their records.
"""

import io
import math
import pickle
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ..boards import Board, Setup
from ..boards.grid import Job
from ..errors import BenchError, OutOfTime, RunFailed, UsageError
from ..records.outcomes import collect_record
from ..records.results_folder import board_folder
from ..runs.folder import RunFolder
from ..runs.run import Run
from ..system.files import read_json, write_json
from . import selection
from .costs import measure_cost
from .job import BoardProgress, Deadline, Ledger, Workspace, do_job, training_failure
from .local import share_done
from .remote import GRACE, TRIES, TaskResult, WorkerEnvironment, retry_while_busy, settle

POLL_SECONDS = 5.0
"""Seconds between two looks at the queue."""

PATIENCE = 3
"""Looks at which a job must be neither in the queue nor have a result before it is lost; a file server may lag."""


@dataclass(frozen=True)
class Slurm:
    """What each run may use. ``minutes`` is its time limit; ``options`` are further ones of sbatch, ``KEY=VALUE``;
    ``cluster`` is submitit's name of the executor, which is ``local`` in tests."""

    partition: str | None = None
    cpus: int = 1
    gpus: int = 0
    minutes: int = 240
    options: tuple[str, ...] = ()
    cluster: str = "slurm"

    def __post_init__(self) -> None:
        if not (1 <= self.cpus < 10_000 and 0 <= self.gpus < 1_000 and self.minutes >= 1):
            raise UsageError("--on slurm: --cpus-per-run is at least 1, --gpus-per-run at least 0, in whole numbers")
        for option in self.options:
            if not option.partition("=")[1] or not option.partition("=")[0]:
                raise UsageError(f"--sbatch {option}: it takes KEY=VALUE, such as account=NAME")


def parse_slurm(
    on: str,
    address: str | None,
    cpus: float | None,
    gpus: float | None,
    workers: str | None,
    device: str,
    partition: str | None,
    time_per_run: str | None,
    sbatch: Sequence[str],
) -> Slurm | None:
    """Return what the options say of Slurm; ``None`` for another place. Raises :class:`UsageError` for options of
    another place."""
    if on != "slurm":
        if partition is not None or time_per_run is not None or sbatch:
            raise UsageError("--partition, --time-per-run and --sbatch are for --on slurm")
        return None
    if workers is not None or address is not None:
        raise UsageError("--workers is for --on local, --address for --on ray")
    cpus, gpus = 1 if cpus is None else cpus, (1 if device == "cuda" else 0) if gpus is None else gpus
    if cpus != int(cpus) or gpus != int(gpus) or (device == "cpu" and gpus) or (device == "cuda" and not gpus):
        raise UsageError(
            f"--cpus-per-run {cpus:g} --gpus-per-run {gpus:g} --device {device}: on Slurm they are whole numbers, and "
            "GPUs go with --device cuda or auto"
        )
    minutes = math.ceil(selection.seconds(time_per_run) / 60) if time_per_run else 240
    return Slurm(partition, int(cpus), int(gpus), minutes, tuple(sbatch))


class Handle(Protocol):
    """A submitted job: its number, and where its result will be."""

    @property
    def job_id(self) -> str: ...
    @property
    def paths(self) -> Any: ...
    def cancel(self) -> None: ...


class Queue(Protocol):
    """Where jobs are submitted to."""

    def submit(self, name: str, do: Callable[..., Any], *args: Any) -> Handle:
        """Submit a call of ``do``. Raises :class:`UsageError` when it is refused."""

    def attach(self, job_id: str) -> Handle:
        """Return the job that was submitted before."""

    def states(self, handles: Sequence[Handle]) -> dict[str, str]:
        """Return ``PENDING``, ``RUNNING`` or another state of those that are in the queue, by number."""


class SubmititQueue:
    """Jobs through submitit, whose files lie in ``folder``."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        if find_spec("submitit") is None:
            raise UsageError("--on slurm needs submitit: pip install 'catchup-bench[slurm]'")
        if slurm.cluster == "slurm" and shutil.which("sbatch") is None:
            raise UsageError("--on slurm needs sbatch here: run this on a node that submits jobs")
        import submitit

        self.slurm, self.folder = slurm, folder
        self.job_class: Any = submitit.SlurmJob if slurm.cluster == "slurm" else submitit.LocalJob
        self.executor = submitit.AutoExecutor(folder, cluster=slurm.cluster)
        further = dict(option.split("=", 1) for option in slurm.options)
        self.executor.update_parameters(
            timeout_min=slurm.minutes,
            cpus_per_task=slurm.cpus,
            **({"gpus_per_node": slurm.gpus} if slurm.gpus else {}),
            **({"slurm_partition": slurm.partition} if slurm.partition else {}),
            **({"slurm_additional_parameters": further} if further else {}),
        )

    def submit(self, name: str, do: Callable[..., Any], *args: Any) -> Handle:
        self.executor.update_parameters(name="".join(c if c.isalnum() or c in "-_" else "_" for c in name))
        try:
            with redirect_stderr(io.StringIO()):  # where submitit repeats what sbatch says
                handle: Handle = self.executor.submit(do, *args)
        except Exception as err:  # of sbatch, with its whole command
            said = [line for line in str(err).splitlines() if "error:" in line] or str(err).splitlines() or [""]
            where = f" (--partition {self.slurm.partition})" if self.slurm.partition else ""
            raise UsageError(f"Slurm refuses the job{where}: {said[-1].strip()[:300]}") from None
        return handle

    def attach(self, job_id: str) -> Handle:
        handle: Handle = self.job_class(self.folder, job_id)
        return handle

    def states(self, handles: Sequence[Handle]) -> dict[str, str]:
        if self.slurm.cluster != "slurm":
            shown = {h.job_id: str(getattr(h, "state", "")) for h in handles}
            return {number: state for number, state in shown.items() if state == "RUNNING"}
        words = ["squeue", "--noheader", "--format=%i %T", "--me", "--states=all"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return {h.job_id: "UNKNOWN" for h in handles}
        if done.returncode != 0:  # the controller is away for a moment
            return {h.job_id: "UNKNOWN" for h in handles}
        shown = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if len(line.split()) == 2)
        return {number: state for number, state in shown.items() if state not in ENDED}


ENDED = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL", "DEADLINE"}
)
"""States of jobs that squeue shows for some time after their end."""


@dataclass
class Pending:
    """A job in the queue; ``tries`` counts submissions in which it got no further, ``epochs`` how far it was,
    ``absent`` looks at which it was nowhere."""

    job: Job
    handle: Handle
    tries: int = 1
    epochs: int = 0
    absent: int = 0


def run_task(
    job: Job,
    settings: dict[str, dict[str, Any]],
    workspace: Workspace,
    until: float | None,
    cpus: int,
    environment: WorkerEnvironment,
) -> TaskResult:
    """Train and evaluate one job, as a job of Slurm on the node where this runs."""
    deadline = Deadline(until)
    try:
        environment.enter(cpus)
        seconds = retry_while_busy(lambda: do_job(job, settings, workspace, deadline), deadline)
        return TaskResult(seconds, collect_record(workspace.runs / job.run.folder).model_dump_json())
    except OutOfTime:
        return TaskResult(out_of_time=True)
    except (BenchError, OSError) as err:
        return TaskResult(problem=f"{err} (on {socket.gethostname()})", failure=training_failure(workspace, job))


@dataclass
class Submitted:
    """The file that remembers which job of Slurm does which job of a board, for the next command."""

    path: Path
    numbers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = read_json(self.path, "list of submitted jobs") if self.path.exists() else {}
        if not isinstance(known, dict) or not all(isinstance(v, str) for v in known.values()):
            raise UsageError(f"{self.path} is not a list of submitted jobs: delete it")
        self.numbers = known

    def note(self, key: str, number: str | None) -> None:
        """Remember the ``number`` of a job; forget it for ``None``."""
        if number is None:
            self.numbers.pop(key, None)
        else:
            self.numbers[key] = number
        write_json(self.path, self.numbers)


def run_on_slurm(
    board: Board,
    workspace: Workspace,
    todo: Sequence[Job],
    *,
    slurm: Slurm,
    progress: BoardProgress,
    until: float | None = None,
    queue: Queue | None = None,
    poll: float = POLL_SECONDS,
) -> list[Job]:
    """Run jobs as :func:`.local.run_locally` does, as jobs of Slurm. One that is lost is submitted again, as long as it
    gets further, and :data:`TRIES` times where it does not."""
    progress.start(len(todo))
    ledger = Ledger(board_folder(workspace.root, board.name), progress)
    if not todo:
        return ledger.close()
    folder = workspace.runs.absolute() / "slurm"
    existed = folder.exists()  # then jobs of other boards may have their files there
    waiting = queue or SubmititQueue(slurm, folder)
    submitted = Submitted(folder / f"{board.name}.json")
    remote, environment = remote_workspace(workspace, slurm), WorkerEnvironment()

    def submit(job: Job) -> Handle:
        handle = waiting.submit(job.name, run_task, job, board.settings, remote, until, slurm.cpus, environment)
        submitted.note(key_of(job), handle.job_id)
        return handle

    pending: list[Pending] = []
    try:
        for job in todo:
            handle = submit_or_attach(waiting, submitted, job, submit)
            pending.append(Pending(job, handle, epochs=epochs_of(workspace, job)))
    except UsageError:
        if not submitted.numbers and not existed:  # refused at once: bad input leaves nothing
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                workspace.runs.rmdir()
        raise
    try:
        while pending:
            states = waiting.states([p.handle for p in pending])
            for p in list(pending):
                result = read_result(p.handle)
                if result is not None:
                    pending.remove(p)
                    submitted.note(key_of(p.job), None)
                    settle_or_fail(ledger, p.job, result)
                elif p.handle.job_id in states:
                    p.absent = 0
                else:
                    p.absent += 1
                    if p.absent >= PATIENCE and not again(p, workspace, submit, progress):
                        pending.remove(p)
                        submitted.note(key_of(p.job), None)
                        ledger.fail(p.job, f"its job was lost {TRIES} times; see {folder}", None)
            rows = {p.job.name: (f"job {p.handle.job_id}", share_done(workspace.runs, p.job)) for p in pending
                    if states.get(p.handle.job_id) == "RUNNING"}  # fmt: skip
            progress.running(rows)
            progress.advance(len(todo) - len(pending) + sum(share for _, share in rows.values()))
            if until is not None and time.time() > until + GRACE:
                for p in [p for p in pending if states.get(p.handle.job_id) == "PENDING"]:
                    p.handle.cancel()
                    submitted.note(key_of(p.job), None)
                    pending.remove(p)
                    ledger.left.append(p.job)
            if pending:
                time.sleep(poll)
    except BaseException:
        if pending:
            progress.say("the jobs go on in Slurm: run the same command again to pick them up, or end them by scancel")
        raise
    return ledger.close()


def submit_or_attach(queue: Queue, submitted: Submitted, job: Job, submit: Callable[[Job], Handle]) -> Handle:
    """Return the job of Slurm that an earlier command submitted for ``job``, if it is in the queue or has a result;
    else a new one."""
    number = submitted.numbers.get(key_of(job))
    if number is not None:
        handle = queue.attach(number)
        if number in queue.states([handle]) or read_result(handle) is not None:
            return handle
    return submit(job)


def again(p: Pending, workspace: Workspace, submit: Callable[[Job], Handle], progress: BoardProgress) -> bool:
    """Submit a lost job again; return whether that was done, which it is not after :data:`TRIES` tries in vain."""
    epochs = epochs_of(workspace, p.job)
    p.tries = 1 if epochs > p.epochs else p.tries + 1
    p.epochs = epochs
    if p.tries > TRIES:
        return False
    progress.say(f"{p.job.name}: job {p.handle.job_id} was lost; it is submitted again")
    p.handle, p.absent = submit(p.job), 0
    return True


def read_result(handle: Handle) -> tuple[str, Any] | None:
    """Return what submitit kept of a job: ``success`` and what it returned, or ``error`` and the traceback; ``None``
    before its end."""
    path = Path(handle.paths.result_pickle)
    if not path.exists():
        return None
    with open(path, "rb") as f:  # the file is of this user's own job, and submitit reads it like this
        outcome, value = pickle.load(f)
    return outcome, value


def settle_or_fail(ledger: Ledger, job: Job, result: tuple[str, Any]) -> None:
    outcome, value = result
    if outcome == "success" and isinstance(value, TaskResult):
        settle(ledger, job, value)
    else:  # a defect, or a node without this package
        lines = str(value).strip().splitlines()
        ledger.fail(job, lines[-1] if lines else "it ended without a word", None)


def measure_cost_on_slurm(
    slurm: Slurm, setup: Setup, runs: dict[str, Run], workspace: Workspace, poll: float = POLL_SECONDS
) -> dict[str, Any]:
    """Measure the cost as :func:`catchup_bench.jobs.costs.measure_cost` does, on a node and with whole GPUs."""
    queue = SubmititQueue(slurm, workspace.runs.absolute() / "slurm")
    handle = queue.submit(f"cost of {setup.name}", measure_cost, setup, runs, remote_workspace(workspace, slurm))
    absent = 0
    while (result := read_result(handle)) is None:
        absent = 0 if handle.job_id in queue.states([handle]) else absent + 1
        if absent >= PATIENCE:
            raise RunFailed(f"measuring the cost: job {handle.job_id} was lost")
        time.sleep(poll)
    outcome, value = result
    if outcome != "success":
        raise RunFailed(f"measuring the cost: {str(value).strip().splitlines()[-1]}")
    return dict(value)


def remote_workspace(workspace: Workspace, slurm: Slurm) -> Workspace:
    """Return the workspace as a job sees it, which may run in another folder."""
    data_dir = workspace.data_dir and workspace.data_dir.absolute()
    return replace(workspace, runs=workspace.runs.absolute(), data_dir=data_dir, device="cuda" if slurm.gpus else "cpu")


def key_of(job: Job) -> str:
    """Return what a job of a board is remembered by."""
    return f"{job.path.as_posix()} {job.run.digest}"


def epochs_of(workspace: Workspace, job: Job) -> int:
    """Return how many epochs the run of ``job`` has behind it."""
    try:
        return RunFolder(workspace.runs / job.run.folder).metrics.read_bytes().count(b"\n")
    except OSError:
        return 0
