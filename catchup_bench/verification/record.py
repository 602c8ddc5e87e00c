"""Verify one record. Level 1: it agrees with itself. Level 2: its checkpoint, evaluated again, gives its bits."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .. import data
from ..errors import VerificationFailed
from ..evaluation.evaluate import evaluate
from ..evaluation.evaluated_model import EvaluatedModel, model_of_external, trained_model
from ..records.record import Outcome, Record, parse_record
from ..records.results_folder import changed_since_marked, mark_file
from ..runs.folder import read_run
from ..suites import make_suites, resolve_suites, suite_class, suite_names
from ..system.files import file_digest, read_json, write_json
from ..system.provenance import stamp

TOLERATED = 5e-4
"""Share of a condition's images whose outcome may differ for reasons of floating-point arithmetic."""


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
    record = parse_record(read_json(path, "record"), path)
    marked = changed_since_marked(path) if run_folder is None else []
    if problems := [*record.problems(), *contradictions(record), *marked]:
        raise VerificationFailed(f"{path}: {problems[0]}")
    if run_folder is None:
        return Verdict(1, len(record.outcomes), {})
    if record.loaded is None:
        if (digest := read_run(run_folder).digest) != record.digest:  # or the folder would choose which method is run
            raise VerificationFailed(f"{path} is of run {record.digest}; {run_folder} is run {digest}")
        return reevaluate(record, path, trained_model(run_folder, device), device, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        return reevaluate(
            record, path, model_of_external(record.loaded, Path(folder), data_dir, device), device, data_dir
        )


def contradictions(record: Record) -> list[str]:
    """Return stored numbers that are not what stored scores give, as far as this version knows the suite."""
    known = {outcome.suite for outcome in record.outcomes.values()} & set(suite_names())
    suites = {name: suite_class(name) for name in known}
    return [
        f"{condition}: {problem}"
        for condition, outcome in record.outcomes.items()
        if outcome.suite in suites
        for problem in suites[outcome.suite].contradictions(outcome)
    ]


def reevaluate(
    record: Record, path: Path, model: EvaluatedModel, device: torch.device, data_dir: Path | None
) -> Verdict:
    """Evaluate ``model`` again and compare with the record. Raises :class:`VerificationFailed` as :func:`compare`."""
    if model.checkpoint.get("sha256") != record.checkpoint.get("sha256"):
        raise VerificationFailed(f"{path}: its checkpoint is {record.checkpoint.get('sha256')}, not the one given")
    if data.load(model.dataset, "test", data_dir).digest() != record.test_sha256:
        raise VerificationFailed(f"{path}: its test images are not those in the data folder")
    protocols: dict[str, list[dict[str, Any]]] = {}
    for outcome in record.outcomes.values():
        protocols.setdefault(outcome.suite, []).append(outcome.protocol)
    suites = make_suites(protocols, {s: suite_class(s).options_of(every) for s, every in protocols.items()})
    suites = resolve_suites(suites, model.dataset, data_dir)
    with tempfile.TemporaryDirectory() as fresh:
        again = evaluate(
            replace(model, folder=Path(fresh), trained=False),
            suites,
            device=device,
            data_dir=data_dir,
        )
    return compare(record, again, path)


def compare(record: Record, again: dict[str, Outcome], path: Path) -> Verdict:
    """Compare bits. Raises :class:`VerificationFailed` for a condition with more than ``TOLERATED`` other bits."""
    differing = {}
    for name, outcome in record.outcomes.items():
        if name not in again:
            raise VerificationFailed(f"{path}: {name} is not a condition of this version's {outcome.suite}")
        differing[name] = int((outcome.array() != again[name].array()).sum())
        if differing[name] > TOLERATED * outcome.n:
            raise VerificationFailed(
                f"{path}: {name}: {differing[name]} of {outcome.n} outcomes differ when evaluated again"
            )
    return Verdict(2, len(differing), differing)


def keep_level(record: Path, verdict: Verdict) -> None:
    """Write that ``record``, as its bytes are now, reached the level of ``verdict``, and on what machine."""
    differing = {condition: count for condition, count in verdict.differing.items() if count}
    mark = {"record_sha256": file_digest(record), "level": verdict.level, "differing": differing, **stamp()}
    write_json(mark_file(record), mark)
