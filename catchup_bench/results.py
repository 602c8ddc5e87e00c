"""Records: what a run's evaluation found, and where it came from. Numbers are derived from bits, never stored alone."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import UsageError, VerificationFailed
from .files import read_json, write_json
from .recipe import one_line
from .run import Loaded, Run, read_subject

Bits = npt.NDArray[np.bool_]


def pack(bits: Bits) -> str:
    """One bit per image, eight to a byte, base64."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def unpack(text: str, n: int) -> Bits:
    raw = base64.b64decode(text, validate=True)
    if len(raw) != -(-n // 8):
        raise ValueError(f"{len(raw)} bytes are not the bits of {n} images")
    bits = np.unpackbits(np.frombuffer(raw, np.uint8)).astype(bool)
    if bits[n:].any():
        raise ValueError(f"bits are set beyond those of {n} images")
    return bits[:n]


class Outcome(BaseModel):
    """One condition: which images were classified rightly, and under which protocol.

    ``provenance`` is the place, in the record's list, of what evaluated it. ``values`` holds what bits cannot: scores,
    points of a curve, counts that make a result suspicious.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    suite: str
    protocol: dict[str, Any]
    n: int = Field(ge=1)
    correct: int = Field(ge=0)
    bits: str
    values: dict[str, Any] = {}
    provenance: int = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        """What other code reads out of ``values`` and ``protocol`` is what it takes it for."""
        index, loss, eps = self.values.get("index", []), self.values.get("loss", 0.0), self.protocol.get("eps", 0.0)
        if not isinstance(index, list) or not all(type(i) is int and 0 <= i < 2**40 for i in index):
            raise ValueError("values.index must be places of test images")
        if "index" in self.values and not len(set(index)) == len(index) == self.n:
            raise ValueError(f"values.index must be the {self.n} images that the bits are of, each once")
        if not isinstance(self.values.get("suspicious", []), list):
            raise ValueError("values.suspicious must be a list of reasons")
        if any(type(number) not in (int, float) or not abs(number) < 1e300 for number in (loss, eps)):
            raise ValueError("values.loss and protocol.eps must be numbers")
        return self

    @classmethod
    def of(cls, bits: Bits, suite: str, protocol: dict[str, Any], values: dict[str, Any] | None = None) -> "Outcome":
        return cls(
            suite=suite, protocol=protocol, n=len(bits), correct=int(bits.sum()), bits=pack(bits), values=values or {}
        )

    def array(self) -> Bits:
        return unpack(self.bits, self.n)

    @property
    def error(self) -> float:
        """Top-1 error in percent."""
        return 100 * (1 - self.correct / self.n)


class Record(BaseModel):
    """The outcomes, by condition, of a ``run``, or of a network that was ``loaded`` and not trained here. ``training``
    says how the weights came about, ``checkpoint`` which they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    run: Run | None = None
    loaded: Loaded | None = None
    digest: str
    checkpoint: dict[str, Any]
    test_sha256: str
    training: dict[str, Any]
    evaluated: list[dict[str, Any]]
    outcomes: dict[str, Outcome]

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.run is None) == (self.loaded is None):
            raise ValueError("a record is of either a run or a loaded network")
        return self

    @property
    def subject(self) -> Run | Loaded:
        found = self.run or self.loaded
        assert found is not None
        return found

    def problems(self) -> list[str]:
        """What does not fit inside the record itself: the first level of verification."""
        found = []
        if self.digest != self.subject.digest:
            found.append(f"digest {self.digest} is not that of the run, {self.subject.digest}")
        for name, outcome in self.outcomes.items():
            if not 0 <= outcome.provenance < len(self.evaluated):
                found.append(f"{name}: nothing says what evaluated it")
            try:
                bits = outcome.array()
            except ValueError:
                found.append(f"{name}: its bits are damaged, or not of {outcome.n} images")
                continue
            if int(bits.sum()) != outcome.correct:
                found.append(f"{name}: {outcome.correct} stated as right, its bits say {int(bits.sum())}")
        return found


def parse(values: Any, path: Path) -> Record:
    try:
        return Record.model_validate(values)
    except ValidationError as err:
        raise UsageError(f"{path} is not a record: {one_line(err)}") from None


def read(path: Path) -> Record:
    """The record in ``path``, checked; :class:`VerificationFailed` when it contradicts itself."""
    record = parse(read_json(path, "record"), path)
    if problems := record.problems():
        raise VerificationFailed(f"{path}: {problems[0]}")
    return record


def write(record: Record, path: Path) -> None:
    absent = {name for name in ("run", "loaded") if getattr(record, name) is None}
    write_json(path, record.model_dump(mode="json", exclude=absent))


class Stored(BaseModel):
    """The file of one condition in a run's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    outcome: Outcome
    provenance: dict[str, Any]


def store(folder: Path, condition: str, outcome: Outcome, provenance: dict[str, Any]) -> None:
    """Keep the outcome of a condition; each has a file of its own, so that writers do not meet."""
    stored = Stored(outcome=outcome, provenance=provenance)
    write_json(folder / "outcomes" / f"{condition}.json", stored.model_dump(mode="json"))


def stored(folder: Path) -> dict[str, Stored]:
    found = {}
    for path in sorted((folder / "outcomes").glob("*.json")):
        try:
            found[path.stem] = Stored.model_validate(read_json(path, "outcome"))
        except ValidationError as err:
            raise UsageError(f"{path} is not an outcome: {one_line(err)}") from None
    return found


def outcomes(folder: Path) -> dict[str, Outcome]:
    """What has been evaluated of a run so far, by condition."""
    return {name: s.outcome for name, s in stored(folder).items()}


def collect(folder: Path) -> Record:
    """The record of a finished run, or of a loaded network, from the files of its folder."""
    subject = read_subject(folder)
    of_run = isinstance(subject, Run)
    evaluation = read_json(folder / "evaluation.json", "evaluation")
    if not isinstance(evaluation, dict) or not {"checkpoint", "test_sha256"} <= evaluation.keys():
        raise UsageError(f"{folder / 'evaluation.json'} is not an evaluation: delete it and evaluate again")
    found = stored(folder)
    evaluated: list[dict[str, Any]] = []
    for s in found.values():
        if s.provenance not in evaluated:
            evaluated.append(s.provenance)
    return Record(
        run=subject if isinstance(subject, Run) else None,
        loaded=subject if isinstance(subject, Loaded) else None,
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


def merge(into: Path, others: Iterable[Path]) -> list[str]:
    """Take over into the folder ``into`` what ``others`` evaluated of the same weights; the conditions it took.

    Raises, before anything is written, :class:`UsageError` when weights, test images or protocols are not the same,
    and :class:`VerificationFailed` when two folders disagree about a condition that both have.
    """
    whole, taken = stored(into), {}
    stated = read_json(into / "evaluation.json", "evaluation")
    for other in others:
        if read_json(other / "evaluation.json", "evaluation") != stated:
            raise UsageError(f"{other} evaluated other weights or test images than {into}: they cannot be merged")
        for name, found in stored(other).items():
            known = whole.setdefault(name, found)
            if known is found:
                taken[name] = found
            elif known.outcome.protocol != found.outcome.protocol:
                raise UsageError(f"{name} in {other} is of another protocol: evaluate it anew in one folder")
            elif known.outcome.bits != found.outcome.bits:
                raise VerificationFailed(f"{name} in {other} has other outcomes than before, of the same weights")
    for name, found in taken.items():
        store(into, name, found.outcome, found.provenance)
    return sorted(taken)
