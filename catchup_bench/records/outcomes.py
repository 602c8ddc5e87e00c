"""Outcomes in a run's folder, one file per condition: storing, merging, collecting into a record."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UsageError, VerificationFailed, one_line
from ..evaluation.slices import WHOLE, Slice
from ..runs.folder import read_run_or_external
from ..runs.run import ExternalNetwork, Run
from ..suites import Suite
from ..system.files import read_json, write_json
from .record import Outcome, Record, as_json


def lacking_conditions(folder: Path, suites: dict[str, Suite], part: Slice = WHOLE) -> dict[str, list[str]]:
    """Conditions per suite that are in ``part`` and have no outcome of the same protocol."""
    have = read_outcomes(folder)
    wanted = set(part.take(folder.name, [c for suite in suites.values() for c in suite.conditions()]))

    def lacks(condition: str, suite: Suite) -> bool:
        return condition not in have or have[condition].protocol != as_json(suite.protocol(condition))

    return {n: [c for c in suite.conditions() if c in wanted and lacks(c, suite)] for n, suite in suites.items()}


class Stored(BaseModel):
    """The file of one condition in a run's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    outcome: Outcome
    provenance: dict[str, Any]


def store_outcome(folder: Path, condition: str, outcome: Outcome, provenance: dict[str, Any]) -> None:
    """Keep the outcome of a condition; each has a file of its own, so that writers do not meet."""
    stored = Stored(outcome=outcome, provenance=provenance)
    write_json(folder / "outcomes" / f"{condition}.json", stored.model_dump(mode="json"))


def read_stored(folder: Path) -> dict[str, Stored]:
    found = {}
    for path in sorted((folder / "outcomes").glob("*.json")):
        try:
            found[path.stem] = Stored.model_validate(read_json(path, "outcome"))
        except ValidationError as err:
            raise UsageError(f"{path} is not an outcome: {one_line(err)}") from None
    return found


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """What has been evaluated of a run so far, by condition."""
    return {name: s.outcome for name, s in read_stored(folder).items()}


def collect_record(folder: Path) -> Record:
    """The record of a finished run, or of a loaded network, from the files of its folder."""
    subject = read_run_or_external(folder)
    of_run = isinstance(subject, Run)
    evaluation = read_json(folder / "evaluation.json", "evaluation")
    if not isinstance(evaluation, dict) or not {"checkpoint", "test_sha256"} <= evaluation.keys():
        raise UsageError(f"{folder / 'evaluation.json'} is not an evaluation: delete it and evaluate again")
    found = read_stored(folder)
    evaluated: list[dict[str, Any]] = []
    for s in found.values():
        if s.provenance not in evaluated:
            evaluated.append(s.provenance)
    return Record(
        run=subject if isinstance(subject, Run) else None,
        loaded=subject if isinstance(subject, ExternalNetwork) else None,
        digest=subject.digest,
        checkpoint=evaluation["checkpoint"],
        test_sha256=evaluation["test_sha256"],
        training=read_json(folder / "training.json", "training summary") if of_run else {},
        evaluated=evaluated,
        outcomes={
            name: s.outcome.model_copy(update={"provenance": evaluated.index(s.provenance)})
            for name, s in found.items()
        },
    )


def merge_outcomes(into: Path, others: Iterable[Path]) -> list[str]:
    """Take over into the folder ``into`` what ``others`` evaluated of the same weights; the conditions it took.

    Raises, before anything is written, :class:`UsageError` when weights, test images or protocols are not the same,
    and :class:`VerificationFailed` when two folders disagree about a condition that both have.
    """
    whole, taken = read_stored(into), {}
    stated = read_json(into / "evaluation.json", "evaluation")
    for other in others:
        if read_json(other / "evaluation.json", "evaluation") != stated:
            raise UsageError(f"{other} evaluated other weights or test images than {into}: they cannot be merged")
        for name, found in read_stored(other).items():
            known = whole.setdefault(name, found)
            if known is found:
                taken[name] = found
            elif known.outcome.protocol != found.outcome.protocol:
                raise UsageError(f"{name} in {other} is of another protocol: evaluate it anew in one folder")
            elif known.outcome.bits != found.outcome.bits:
                raise VerificationFailed(f"{name} in {other} has other outcomes than before, of the same weights")
    for name, found in taken.items():
        store_outcome(into, name, found.outcome, found.provenance)
    return sorted(taken)
