"""Verify one record. Level 1: it agrees with itself. Level 2: its checkpoint, evaluated again, gives its bits."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError, VerificationFailed
from ..evaluation.evaluate import evaluate
from ..evaluation.evaluated_model import EvaluatedModel, model_of_external, trained_model
from ..records.outcomes import training_facts
from ..records.record import Outcome, Record, parse_record
from ..records.results_folder import mark_file, read_marks
from ..runs.checkpoint import read_card
from ..runs.folder import RunFolder, read_run
from ..runs.run import parse_run
from ..suites import Suite, make_suites, resolve_suites, suite_class, suite_names
from ..system.files import file_digest, read_json, write_json
from ..system.provenance import stamp
from ..text import printable
from .images import check_images
from .on_board import BoardGrid
from .stored_values import differing_values

TOLERATED = 5e-4
"""Share of a condition's images whose outcome may differ for reasons of floating-point arithmetic."""

MOST_PASSES = 50_000
"""Forward and backward passes per image that are made for a record that is on no board, which would limit them."""


@dataclass(frozen=True)
class Verdict:
    """The level that a record reaches, and per re-evaluated condition how many bits differ."""

    level: int
    conditions: int
    differing: dict[str, int]


def verify_record(path: Path, run_folder: Path | None, device: torch.device, data_dir: Path | None = None) -> Verdict:
    """Verify level 1, and level 2 when the run's folder with its weights is given.

    Raises :class:`VerificationFailed` naming what does not fit.
    """
    grid, place = board_of(path)
    record, problems = examine(path, grid, place, marks=run_folder is None)
    if problems:
        raise VerificationFailed(f"{path}: {problems[0]}")
    if run_folder is None:
        return Verdict(1, len(record.outcomes), {})
    asked = set(record.outcomes) if grid is None else grid.asked(record, place, data_dir)
    if record.loaded is None:
        if (digest := read_run(run_folder).digest) != record.digest:  # or the folder would choose which method is run
            raise VerificationFailed(f"{path} is of run {record.digest}; {run_folder} is run {digest}")
        check_weights(record, path, RunFolder(run_folder))
    check_images(record, path, data_dir)
    if record.loaded is None:
        return reevaluate(record, path, trained_model(run_folder, device), device, data_dir, asked)
    with tempfile.TemporaryDirectory() as folder:
        model = model_of_external(record.loaded, Path(folder), data_dir, device)
        return reevaluate(record, path, model, device, data_dir, asked)


def examine(path: Path, grid: BoardGrid | None, place: Path, marks: bool = True) -> tuple[Record, list[str]]:
    """Return the record at ``path``, and what does not fit: in itself, at ``place`` on the board of ``grid``, and in
    the ``marks`` of verification beside it. It reaches level 1 when all of it fits. Raises :class:`UsageError` for a
    file that is no record."""
    record = parse_record(read_json(path, "record"), path)
    problems = [*record.problems(), *contradictions(record)]
    if grid is not None:
        problems += grid.problems(record, place)
    return record, problems + (read_marks(path).problems if marks else [])


def board_of(path: Path) -> tuple[BoardGrid | None, Path]:
    """Return the board in whose folder the record at ``path`` lies, and where below it; ``None`` for a record that lies
    elsewhere, or below a name that is no board's."""
    parts = path.resolve().parts
    if len(parts) < 5 or parts[-5] != "results":
        return None, path
    try:
        return BoardGrid.load(parts[-4]), Path(*parts[-3:])
    except UsageError:
        return None, path


def check_weights(record: Record, path: Path, folder: RunFolder) -> None:
    """Raise :class:`VerificationFailed` unless the card of the weights in ``folder``, and what it says of their
    training, agree with ``record``."""
    run = record.run
    assert run is not None
    card = read_card(folder.weights)
    of_card, epoch = parse_run(card.get("run"), folder.weights), card.get("epoch")
    if of_card.digest != record.digest:
        raise VerificationFailed(f"{path} is of run {record.digest}; {folder.weights} is of run {of_card.digest}")
    if epoch != run.recipe.epochs:
        raise VerificationFailed(
            f"{path}: {folder.weights} is of epoch {printable(epoch)}, its recipe of {run.recipe.epochs}"
        )
    stated = training_facts(folder.path)
    for later in {"curve", "last10_accuracy"} - record.training.keys():  # of before records had them
        stated.pop(later, None)
    for key in sorted(record.training.keys() | stated.keys()):
        if stated.get(key) != record.training.get(key):
            raise VerificationFailed(f"{path}: training.{printable(key)} is not what {folder.path} says")


def contradictions(record: Record) -> list[str]:
    """Return stored numbers that are not what stored scores give, as far as this version knows the suite."""
    known = {outcome.suite for outcome in record.outcomes.values()} & set(suite_names())
    suites = {name: suite_class(name) for name in known}
    problems = []
    for condition, outcome in record.outcomes.items():
        if outcome.suite not in suites:
            continue
        try:
            said = suites[outcome.suite].contradictions(outcome)
        except Exception as err:  # values may be anything
            said = [f"its values are not those of suite {outcome.suite}: {type(err).__name__}"]
        problems += [f"{condition}: {printable(problem)}" for problem in said]
    return problems


def reevaluate(
    record: Record, path: Path, model: EvaluatedModel, device: torch.device, data_dir: Path | None, asked: set[str]
) -> Verdict:
    """Evaluate ``model`` again on the conditions ``asked`` and compare with the record. Raises
    :class:`VerificationFailed` as :func:`compare`."""
    if model.checkpoint.get("sha256") != record.checkpoint.get("sha256"):
        raise VerificationFailed(f"{path}: its checkpoint is {record.checkpoint.get('sha256')}, not the one given")
    suites = suites_of({c: o for c, o in record.outcomes.items() if c in asked}, path)
    suites = resolve_suites(suites, model.dataset, data_dir)
    with tempfile.TemporaryDirectory() as fresh:
        again = evaluate(
            replace(model, folder=Path(fresh), trained=False),
            suites,
            device=device,
            data_dir=data_dir,
        )
    return compare({c: o for c, o in record.outcomes.items() if c in asked}, again, path)


def suites_of(outcomes: dict[str, Outcome], path: Path) -> dict[str, Suite]:
    """Return the suites that give outcomes of these protocols again. Raises :class:`VerificationFailed` for a protocol
    that is none of its suite's, or whose work has no reasonable end."""
    protocols: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes.values():
        protocols.setdefault(outcome.suite, []).append(outcome.protocol)
    suites: dict[str, Suite] = {}
    for name, every in protocols.items():
        try:
            suites |= make_suites([name], {name: suite_class(name).options_of(every)})
            work = sum(suites[name].passes(condition) for condition in suites[name].conditions())
        except Exception as err:  # a protocol may be anything
            what = printable(err if isinstance(err, UsageError) else f"{type(err).__name__} {err}")
            raise VerificationFailed(f"{path}: the protocol of suite {name} cannot be evaluated: {what}") from None
        if work > MOST_PASSES:
            raise VerificationFailed(
                f"{path}: suite {name} would take {work:.3g} passes of the network per image; at most {MOST_PASSES} "
                "are made for a record that is on no board"
            )
    return suites


def compare(outcomes: dict[str, Outcome], again: dict[str, Outcome], path: Path) -> Verdict:
    """Compare bits and values. Raises :class:`VerificationFailed` for a condition with more than ``TOLERATED`` other
    bits, or with other values beside them."""
    differing = {}
    for name, outcome in outcomes.items():
        if name not in again:
            raise VerificationFailed(f"{path}: {name} is not a condition of this version's {outcome.suite}")
        if again[name].n != outcome.n:
            raise VerificationFailed(
                f"{path}: {name} is of {outcome.n} images, and of {again[name].n} when evaluated again"
            )
        differing[name] = int((outcome.array() != again[name].array()).sum())
        if differing[name] > TOLERATED * outcome.n:
            raise VerificationFailed(
                f"{path}: {name}: {differing[name]} of {outcome.n} outcomes differ when evaluated again"
            )
        if wrong := differing_values(outcome.values, again[name].values, outcome.n):
            raise VerificationFailed(f"{path}: {name}: values.{printable(wrong[0])} differs when evaluated again")
    return Verdict(2, len(differing), differing)


def keep_level(record: Path, verdict: Verdict) -> None:
    """Write that ``record``, as its bytes are now, reached the level of ``verdict``, and on what machine."""
    differing = {condition: count for condition, count in verdict.differing.items() if count}
    mark = {"record_sha256": file_digest(record), "level": verdict.level, "differing": differing, **stamp()}
    write_json(mark_file(record), mark)
