"""Reproduce a record: train its run again and evaluate it, and say whether it came to the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from .. import boards
from ..boards.grid import job_digest, jobs_of
from ..errors import UsageError, VerificationFailed
from ..evaluation.evaluate import evaluate
from ..evaluation.evaluated_model import trained_model
from ..leaderboard.results import read_results
from ..leaderboard.statistics import Summary, WeightedError, prediction, summarize
from ..leaderboard.table import column_values, complete_seeds, images_of, outcomes_of, weights_on
from ..records.described import DescribedRun
from ..records.outcomes import collect_record, lacking_in
from ..records.record import Record, read_record
from ..records.results_folder import board_folder, record_location, results_folder
from ..runs.folder import RunFolder
from ..suites import Suite, make_suites, resolve_suites, suite_class
from ..system.files import file_digest, read_json
from ..system.progress import Progress
from ..training.loop import train
from ..training.several import train_all
from .images import check_images


@dataclass(frozen=True)
class Reproduction:
    """What a run came to when it was trained again.

    ``weights`` says whether their file has the same bytes, which it has not when another version describes the run in
    its header; ``differing`` how many outcomes differ by condition. ``column`` is the one that ranks the board of the
    record, ``value`` its value now and ``before`` what it was, in percent; ``seeds`` are its values of this method,
    and ``interval`` is the 95 % interval in which one further run of it lies, ``None`` with fewer than two seeds.
    ``changes`` are the differences of the two trainings that may explain others.
    """

    folder: Path
    weights: bool
    differing: dict[str, int]
    column: str
    value: float
    before: float
    seeds: int
    interval: tuple[float, float] | None
    changes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Return whether every outcome is the same bit."""
        return not any(self.differing.values())

    @property
    def inside(self) -> bool:
        """Return whether the value is in the prediction interval."""
        return self.interval is not None and self.interval[0] <= self.value <= self.interval[1]


def reproduce(
    path: Path,
    root: Path,
    runs: Path,
    *,
    device: torch.device,
    board: str | None = None,
    data_dir: Path | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
    begin: Callable[[dict[str, Suite], dict[str, list[str]]], Progress] | None = None,
) -> Reproduction:
    """Train the run of the record at ``path`` in a folder of ``runs``, evaluate the record's conditions, and compare.

    The record lies in ``root``, in the folder of its board, whose name or file is ``board`` where the folder's name is
    not that of a board. The run is trained with as many threads as the record says; repeating is resuming.
    ``progress`` receives how training goes; ``begin`` is called with the suites and the missing conditions, and
    returns what receives how evaluation goes.
    Raises :class:`UsageError` for a record that is not one of a board's, or of a network that was not trained here, and
    :class:`VerificationFailed` when the images are not those of the record.
    """
    record = read_record(path)
    if record.run is None:
        raise UsageError(f"{path} is the record of a network that was not trained here: there is nothing to repeat")
    value_of = ranking_column(path, root, record, board)
    run = record.run
    check_images(record, path, data_dir)
    described = DescribedRun(run, record.training)
    folder = train(
        run, runs, device=device, data_dir=data_dir, engine=engine, threads=described.threads,
        progress=progress,
    )  # fmt: skip
    again = evaluate_as(record, folder, device, data_dir, begin)
    now = read_json(RunFolder(folder).training, "training summary")
    differing = {c: int((o.array() != again.outcomes[c].array()).sum()) for c, o in record.outcomes.items()}
    return Reproduction(
        folder,
        weights=file_digest(RunFolder(folder).weights) == record.checkpoint.get("sha256"),
        differing=differing,
        column=value_of.column,
        value=float(value_of.of(again)),
        before=float(value_of.of(record)),
        seeds=value_of.seeds.n,
        interval=value_of.interval,
        changes=described.changes(now if isinstance(now, dict) else {}),
    )


def evaluate_as(
    record: Record,
    folder: Path,
    device: torch.device,
    data_dir: Path | None,
    begin: Callable[[dict[str, Suite], dict[str, list[str]]], Progress] | None = None,
) -> Record:
    """Evaluate the run in ``folder`` under the protocols of ``record``; return its record. Raises
    :class:`VerificationFailed` for a condition that this version of a suite does not have."""
    protocols: dict[str, list[dict[str, Any]]] = {}
    for outcome in record.outcomes.values():
        protocols.setdefault(outcome.suite, []).append(outcome.protocol)
    suites = make_suites(protocols, {s: suite_class(s).options_of(every) for s, every in protocols.items()})
    model = trained_model(folder, device)
    suites = resolve_suites(suites, model.dataset, data_dir)
    if record.run is not None:
        needed = [run for suite in suites.values() for run in suite.runs_needed(record.run)]
        threads = DescribedRun(record.run, record.training).threads
        train_all(needed, folder.parent, device=device, data_dir=data_dir, threads=threads)
    has = {condition for suite in suites.values() for condition in suite.conditions()}
    if lost := sorted(record.outcomes.keys() - has):
        raise VerificationFailed(f"{lost[0]} is not a condition of this version")
    progress = begin(suites, lacking_in(folder, suites)) if begin else None
    evaluate(model, suites, device=device, data_dir=data_dir, progress=progress)
    return collect_record(folder)


@dataclass(frozen=True)
class RankingColumn:
    """The column that ranks a board, for the records of one row of it; ``seeds`` are the row's values."""

    column: str
    of: Callable[[Record], Fraction]
    seeds: Summary

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the interval in which one further run of the row lies with 95 % probability."""
        found = prediction(self.seeds)
        return None if found is None else (float(found[0]), float(found[1]))


def ranking_column(path: Path, root: Path, record: Record, board: str | None = None) -> RankingColumn:
    """Return the ranking column for the row of the record at ``path``. Raises :class:`UsageError` when it is not a job
    of the board in whose folder it lies, or lacks a condition of the column."""
    try:
        name = path.resolve().relative_to(results_folder(root).resolve()).parts[0]
        folder = board_folder(root.resolve(), name)
        location = record_location(folder, path.resolve())
    except (ValueError, TypeError):
        raise UsageError(f"{path} does not lie in {results_folder(root)}: give the record of a board there") from None
    made = boards.load(board or name)
    expected = {job.path: job.run.digest for job in jobs_of(made)}
    if expected.get(path.resolve().relative_to(folder)) != job_digest(record):
        raise UsageError(f"{path} is not the record of a job of board {board or name}, as it is now")
    column = made.column(made.rank)
    records = read_results(made, folder).records
    weights = weights_on(made, column, records)
    setups = records[location.label]
    images = images_of({location.label: setups})
    seeds = complete_seeds(made, setups, weights)
    if {setup for setup, _ in weights} != {location.setup}:
        raise UsageError(f"board {name} is ranked over several setups: one run alone has no value there")
    if record.source.seed not in seeds:
        raise UsageError(f"{path} lacks a condition of {column.name}, by which board {name} is ranked")
    mean = WeightedError({key: (weight, images[key]) for key, weight in weights.items()})

    def value(of: Record) -> Fraction:
        outcomes = outcomes_of({location.setup: {0: of}}, 0, weights)
        return column_values(column, weights, mean, [outcomes])[0]

    values = column_values(column, weights, mean, [outcomes_of(setups, seed, weights) for seed in seeds])
    return RankingColumn(column.name, value, summarize(values))
