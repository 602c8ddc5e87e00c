"""A maintainer's statement: the run of a record, trained again, comes to the same result."""

from pathlib import Path
from statistics import fmean

from ..errors import UsageError, VerificationFailed
from ..records.facts import Stamp
from ..records.outcomes import collect_record
from ..records.record import Record, read_record
from ..records.results_folder import leaderboards_of
from ..records.verifiers import Statement, check_statement, read_verifiers, sign, statement_file
from ..system.files import file_digest, write_json
from ..system.provenance import stamp
from .plausibility import SEEDS, half_width


def state(path: Path, folder: Path, maintainer: str, key: Path) -> Path:
    """Compare the record at ``path`` with the run in ``folder``, trained and evaluated again, and sign that both agree.

    The same weights agree. Others, from another processor, agree when the mean errors differ by no more than two runs
    of the row do in 95 % of cases, by the spread of its other seeds. Returns the statement's path. Raises
    :class:`UsageError` for one who is not listed, and :class:`VerificationFailed` when the two do not agree.
    """
    verifiers = read_verifiers(leaderboards_of(path.resolve()))
    if maintainer not in verifiers:
        raise UsageError(f"{maintainer} is not listed in {leaderboards_of(path.resolve()) / 'verifiers.toml'}")
    record, again = read_record(path), collect_record(folder)
    if again.digest != record.digest:
        raise VerificationFailed(f"{path} is of run {record.digest}; {folder} is of run {again.digest}")
    if again.test_sha256 != record.test_sha256:
        raise VerificationFailed(f"{path}: its test images are not those of {folder}")
    if missing := sorted(record.outcomes.keys() - again.outcomes.keys()):
        raise UsageError(f"{folder} lacks {len(missing)} conditions of the record, such as {missing[0]}: evaluate it")
    other = [c for c, o in record.outcomes.items() if again.outcomes[c].protocol != o.protocol]
    if other:
        raise VerificationFailed(f"{path}: {other[0]} in {folder} is of another protocol")
    conditions = set(record.outcomes)
    stated, found = mean_error(record, conditions), mean_error(again, conditions)
    if again.checkpoint.get("sha256") != record.checkpoint.get("sha256"):
        allowed = spread(path, conditions)
        if abs(found - stated) > allowed:
            raise VerificationFailed(
                f"{path}: its mean error is {stated:.2f} %, trained again {found:.2f} %; seeds differ by {allowed:.2f}"
            )
    statement = Statement(
        maintainer=maintainer,
        record_sha256=file_digest(path),
        weights=str(again.checkpoint.get("sha256")),
        error=found,
        error_of_record=stated,
        made=Stamp.model_validate(stamp()),
    )
    made = statement_file(path, maintainer)
    write_json(made, statement.model_dump(mode="json", exclude_none=True))
    try:
        sign(made, key)
        check_statement(made, path, verifiers)
    except UsageError:
        made.unlink(missing_ok=True)
        made.with_name(f"{made.name}.sig").unlink(missing_ok=True)
        raise
    return made


def mean_error(record: Record, conditions: set[str]) -> float:
    """Return the mean error over ``conditions``, in percent."""
    return fmean(record.outcomes[c].error for c in sorted(conditions))


def spread(path: Path, conditions: set[str]) -> float:
    """Return half the 95 % prediction interval of a run from the other seeds of the row at ``path``. Raises
    :class:`UsageError` when there are too few."""
    others = [read_record(p) for p in sorted(path.parent.glob("seed*.json")) if p != path]
    errors = [mean_error(r, conditions) for r in others if conditions <= r.outcomes.keys()]
    if len(errors) < SEEDS:
        raise UsageError(
            f"{path.parent} has {len(errors)} other seeds, too few to say how far two runs differ: other weights agree "
            f"only beside {SEEDS} seeds or more"
        )
    return half_width(errors)
