"""Store, merge and collect into a record the outcomes in a run's folder, one file per condition."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UsageError, VerificationFailed, one_line
from ..runs.folder import RunFolder, read_metrics, read_run_or_external
from ..runs.run import ExternalNetwork, Run
from ..system.files import read_json, write_json
from ..system.slices import WHOLE, Slice
from .facts import LAST, MOST_LOOKS
from .record import Outcome, Record, as_json


class Conditions(Protocol):
    """The part of a suite that says which outcomes it gives."""

    def conditions(self) -> list[str]: ...
    def protocol(self, condition: str) -> dict[str, Any]: ...


def lacking(outcomes: Mapping[str, Outcome], suites: Mapping[str, Conditions]) -> dict[str, list[str]]:
    """Return, per suite, its conditions that have no outcome of the same protocol in ``outcomes``."""

    def lacks(condition: str, suite: Conditions) -> bool:
        return condition not in outcomes or outcomes[condition].protocol != as_json(suite.protocol(condition))

    return {name: [c for c in suite.conditions() if lacks(c, suite)] for name, suite in suites.items()}


def lacking_in(folder: Path, suites: Mapping[str, Conditions], part: Slice = WHOLE) -> dict[str, list[str]]:
    """Return what the outcomes in ``folder`` lack of ``part`` of the suites' conditions, as :func:`lacking`."""
    wanted = set(part.take(folder.name, [c for suite in suites.values() for c in suite.conditions()]))
    return {
        name: [c for c in conditions if c in wanted]
        for name, conditions in lacking(read_outcomes(folder), suites).items()
    }


class Measured(BaseModel):
    """What an outcome was measured on: SHA-256 of the weights (or another name of them, such as a zoo's), and of the
    images."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weights: str
    images: str


class Stored(BaseModel):
    """The file of one condition in a run's folder. ``measured`` is missing in files of older versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    outcome: Outcome
    provenance: dict[str, Any]
    measured: Measured | None = None


def store_outcome(
    folder: Path, condition: str, outcome: Outcome, provenance: dict[str, Any], measured: Measured | None = None
) -> None:
    """Write the outcome of a condition; each has its own file, so that several processes can write at once."""
    stored = Stored(outcome=outcome, provenance=provenance, measured=measured)
    write_json(RunFolder(folder).outcome(condition), stored.model_dump(mode="json", exclude_none=True))


def read_stored(folder: Path) -> dict[str, Stored]:
    """Read all outcomes in ``folder``, by condition. Raises :class:`UsageError` for a file that is none."""
    by_condition = {}
    for path in sorted(RunFolder(folder).outcomes.glob("*.json")):
        try:
            by_condition[path.stem] = Stored.model_validate(read_json(path, "outcome"))
        except ValidationError as err:
            raise UsageError(f"{path} is not an outcome: {one_line(err)}") from None
    return by_condition


def check_measured(folder: Path, now: Measured, images_of: Callable[[str, Outcome], str | None]) -> None:
    """Raise :class:`UsageError` when an outcome in ``folder`` was measured on other weights, or on other images, than
    those that are there ``now``.

    ``images_of`` gives the digest of the images of a condition, ``None`` where they are not there to be compared. An
    outcome of an older version was measured on what ``evaluation.json`` says.
    """
    files = RunFolder(folder)
    earlier = None
    if files.evaluation.exists():
        stated = read_json(files.evaluation, "evaluation")
        if isinstance(stated, dict) and isinstance(stated.get("checkpoint"), dict):
            weights = str(stated["checkpoint"].get("sha256") or now.weights)
            earlier = Measured(weights=weights, images=str(stated.get("test_sha256")))
    for condition, stored in read_stored(folder).items():
        measured = stored.measured or earlier
        if measured is None:
            continue
        images = images_of(condition, stored.outcome) if stored.measured else now.images
        what = (
            "weights" if measured.weights != now.weights else "images" if images not in (None, measured.images) else ""
        )
        if what:
            raise UsageError(
                f"{files.outcome(condition)} was measured on other {what} than those there now: bring them back, or "
                f"delete {files.outcomes} to evaluate anew"
            )


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """Read what has been evaluated of a run so far, by condition."""
    return {name: s.outcome for name, s in read_stored(folder).items()}


def collect_record(folder: Path) -> Record:
    """Make the record of a finished run, or of an external network, from the files of its folder."""
    files = RunFolder(folder)
    source = read_run_or_external(folder)
    of_run = isinstance(source, Run)
    evaluation = read_json(files.evaluation, "evaluation")
    if not isinstance(evaluation, dict) or not {"checkpoint", "test_sha256"} <= evaluation.keys():
        raise UsageError(f"{files.evaluation} is not an evaluation: delete it and evaluate again")
    stored = read_stored(folder)
    evaluated: list[dict[str, Any]] = []
    for s in stored.values():
        if s.provenance not in evaluated:
            evaluated.append(s.provenance)
    try:
        return Record(
            run=source if isinstance(source, Run) else None,
            loaded=source if isinstance(source, ExternalNetwork) else None,
            digest=source.digest,
            checkpoint=evaluation["checkpoint"],
            test_sha256=evaluation["test_sha256"],
            training=training_facts(folder) if of_run else {},
            evaluated=evaluated,
            outcomes={
                name: s.outcome.model_copy(update={"provenance": evaluated.index(s.provenance)})
                for name, s in stored.items()
            },
        )
    except ValidationError as err:
        raise UsageError(f"{folder} gives no record: {one_line(err)}") from None


def training_facts(folder: Path) -> dict[str, Any]:
    """Return what a record keeps of a training: its summary; as ``curve`` epoch, loss and test error at the looks at
    the latter, no more than :data:`MOST_LOOKS`; and the median accuracy of the last ten epochs, where all of them were
    looked at. Raises :class:`UsageError` for a summary that is none."""
    path = RunFolder(folder).training
    summary = read_json(path, "training summary")
    if not isinstance(summary, dict):
        raise UsageError(f"{path} is not a training summary: train the run again in another folder")
    looks = [line for line in read_metrics(folder) if "loss" in line and "test_error" in line]
    last = [line["test_error"] for line in looks if line["epoch"] > looks[-1]["epoch"] - LAST]
    if len(last) == LAST:
        summary |= {"last10_accuracy": float(f"{100 - statistics.median(last):.5g}")}
    looks = looks[:: -(-len(looks) // MOST_LOOKS) or 1]
    points = [[line["epoch"], float(f"{line['loss']:.5g}"), float(f"{line['test_error']:.5g}")] for line in looks]
    return summary | {"curve": points} if points else summary


def merge_outcomes(into: Path, others: Iterable[Path]) -> list[str]:
    """Copy into the folder ``into`` what ``others`` evaluated of the same weights; return the conditions copied.

    Raises, before anything is written, :class:`UsageError` when weights, test images or protocols are not the same,
    and :class:`VerificationFailed` when two folders disagree about a condition that both have.
    """
    whole, taken = read_stored(into), {}
    stated = read_json(RunFolder(into).evaluation, "evaluation")
    for other in others:
        if read_json(RunFolder(other).evaluation, "evaluation") != stated:
            raise UsageError(f"{other} evaluated other weights or test images than {into}: they cannot be merged")
        for name, stored in read_stored(other).items():
            known = whole.setdefault(name, stored)
            if known is stored:
                taken[name] = stored
            elif known.outcome.protocol != stored.outcome.protocol:
                raise UsageError(f"{name} in {other} is of another protocol: evaluate it anew in one folder")
            elif known.outcome.bits != stored.outcome.bits:
                raise VerificationFailed(f"{name} in {other} has other outcomes than before, of the same weights")
    for name, stored in taken.items():
        store_outcome(into, name, stored.outcome, stored.provenance, stored.measured)
    return sorted(taken)
