"""Read what a board's folder holds: its records, costs and failed trainings. A table is computed from it alone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import registry
from ..boards import Board
from ..boards.grid import Job, job_digest, jobs_of
from ..records.costs import read_costs
from ..records.record import Record, read_record
from ..records.results_folder import (
    cost_file,
    failed_digest,
    read_marks,
    records_of_board,
)
from ..relatives import related
from ..runs.run import Run

Records = dict[str, dict[str, dict[int, Record]]]
"""Label → setup → seed → record."""


@dataclass(frozen=True)
class Results:
    """The ``records`` of a board, each checked; ``levels`` of verification by the records' paths below the board's
    folder; ``costs``, the relative times of a step by label; how many trainings ``failed`` per label; and by label, the
    corruptions in the columns that the method was ``trained_on`` relatives of."""

    records: Records
    levels: Mapping[Path, int]
    costs: Mapping[str, float]
    failed: Counter[str]
    trained_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_results(board: Board, folder: Path) -> Results:
    """Read the ``folder`` of ``board``, each record once; one of another protocol than the board's is left out.

    Raises :class:`VerificationFailed` for a record that contradicts itself.
    """
    jobs = {job.path: job for job in jobs_of(board)}
    records: Records = {}
    levels: dict[Path, int] = {}
    for path in records_of_board(folder):
        record, below = read_record(path), path.relative_to(folder)
        job = jobs.get(below)
        if job is not None and job.run.digest == job_digest(record):
            records.setdefault(job.label, {}).setdefault(job.setup, {})[job.run.seed] = record
            levels[below] = read_marks(path).level
    costs, failed = first_costs(board, folder), count_failures(jobs, folder)
    return Results(records, levels, costs, failed, relatives_in(board, jobs.values()))


def relatives_in(board: Board, jobs: Iterable[Job]) -> dict[str, tuple[str, ...]]:
    """Return, by label, the corruptions in the board's columns whose relatives its method trains on."""
    tested = {condition.split("-")[0] for column in board.columns for condition in column.conditions}
    found = {}
    for job in jobs:
        if isinstance(job.run, Run) and job.label not in found:
            spec = job.run.method
            cls = registry.method_outline(spec.file or spec.name)
            found[job.label] = tuple(name for name in related(cls.relatives, spec.options) if name in tested)
    return found


def first_costs(board: Board, folder: Path) -> Mapping[str, float]:
    """Return the relative step time per label, of the first setup that has been measured."""
    measured = (read_costs(cost_file(folder, setup.name)).ratios for setup in board.setups)
    return next(filter(None, measured), {})


def count_failures(jobs: Mapping[Path, Job], folder: Path) -> Counter[str]:
    """Count the failed trainings per label, in the board's own protocol and without a record."""
    records = ((job, folder / path) for path, job in jobs.items())
    return Counter(job.label for job, path in records if not path.exists() and failed_digest(path) == job.run.digest)
