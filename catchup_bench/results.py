"""Records: what a run's evaluation found, and where it came from. Numbers are derived from bits, never stored alone."""

import base64
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import UsageError, VerificationFailed
from .files import read_json, write_json
from .recipe import one_line
from .run import Run, read_folder

Bits = npt.NDArray[np.bool_]


def pack(bits: Bits) -> str:
    """One bit per image, eight to a byte, base64."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def unpack(text: str, n: int) -> Bits:
    return np.unpackbits(np.frombuffer(base64.b64decode(text, validate=True), np.uint8), count=n).astype(bool)


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
    """A run's outcomes by condition. ``training`` says how the weights came about, ``checkpoint`` which they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    run: Run
    digest: str
    checkpoint: dict[str, Any]
    test_sha256: str
    training: dict[str, Any]
    evaluated: list[dict[str, Any]]
    outcomes: dict[str, Outcome]

    def problems(self) -> list[str]:
        """What does not fit inside the record itself: the first level of verification."""
        found = []
        if self.digest != self.run.digest:
            found.append(f"digest {self.digest} is not that of the run, {self.run.digest}")
        for name, outcome in self.outcomes.items():
            if not 0 <= outcome.provenance < len(self.evaluated):
                found.append(f"{name}: nothing says what evaluated it")
            try:
                bits = outcome.array()
            except ValueError:
                found.append(f"{name}: its bits are damaged")
                continue
            if len(base64.b64decode(outcome.bits)) != -(-outcome.n // 8):
                found.append(f"{name}: its bits are not of {outcome.n} images")
            elif int(bits.sum()) != outcome.correct:
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
    write_json(path, record.model_dump(mode="json"))


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
    """The record of a finished run, from the files of its folder."""
    run = read_folder(folder)
    evaluation = read_json(folder / "evaluation.json", "evaluation")
    found = stored(folder)
    evaluated: list[dict[str, Any]] = []
    for s in found.values():
        if s.provenance not in evaluated:
            evaluated.append(s.provenance)
    return Record(
        run=run,
        digest=run.digest,
        checkpoint=evaluation["checkpoint"],
        test_sha256=evaluation["test_sha256"],
        training=read_json(folder / "training.json", "training summary"),
        evaluated=evaluated,
        outcomes={
            name: s.outcome.model_copy(update={"provenance": evaluated.index(s.provenance)})
            for name, s in found.items()
        },
    )
