"""What every executor on other machines needs: the environment of a worker, the result of a task, and its record."""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..boards.grid import Job
from ..errors import Busy, OutOfTime, UsageError
from ..records.record import parse_record
from .job import Deadline, Ledger

TRIES = 5
"""How often a run is given to another worker when its worker is lost."""

LOCK_PATIENCE = 120.0
"""Seconds to wait for the lock of a worker that was lost; a file server may hold it that long."""

GRACE = 5.0
"""Seconds after the time is over, in which a run that waits may still begin, and see that it is."""


@dataclass(frozen=True)
class WorkerEnvironment:
    """What a worker copies from the command that submitted the task: version, folder, settings of the environment."""

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
            os.chdir(self.folder)  # the file of an external method may be given relative to it


@dataclass(frozen=True)
class TaskResult:
    """What a task returns: the record as JSON, or why there is none."""

    seconds: float = 0.0
    record: str = ""
    problem: str = ""
    failure: dict[str, Any] | None = None
    out_of_time: bool = False


def retry_while_busy(
    do: Callable[[], float],
    deadline: Deadline,
    patience: float = LOCK_PATIENCE,
    sleep: Callable[[float], object] = time.sleep,
) -> float:
    """Call ``do``, again and again for ``patience`` seconds while a process that may be dying still holds the run's
    lock."""
    latest = time.monotonic() + patience
    while True:
        try:
            return do()
        except Busy:
            if time.monotonic() >= latest:
                raise
        if deadline.should_stop():
            raise OutOfTime("the time is over")
        sleep(1.0)


def settle(ledger: Ledger, job: Job, result: TaskResult) -> None:
    if result.out_of_time:
        ledger.left.append(job)
    elif result.problem:
        ledger.fail(job, result.problem, result.failure)
    else:
        record = parse_record(json.loads(result.record), ledger.results / job.path)
        ledger.finished(job, record, result.seconds)
