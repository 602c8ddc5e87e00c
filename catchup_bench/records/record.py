"""Records: the outcomes of a run and their provenance. Numbers are derived from bits, never stored alone."""

import base64
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import UsageError, VerificationFailed, one_line
from ..runs.run import ExternalNetwork, Run
from ..system.files import read_json, write_bytes
from ..text import printable
from . import facts
from .compact import as_text, compact, expand

Bits = npt.NDArray[np.bool_]


def pack(bits: Bits) -> str:
    """Pack one bit per image, eight to a byte, into base64."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def packed_bytes(text: str, n: int) -> bytes:
    """Decode the bytes of ``n`` packed bits. Raises :class:`ValueError` when they are not of ``n`` images."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != -(-n // 8):
        raise ValueError(f"{len(raw)} bytes are not the bits of {n} images")
    if n % 8 and raw[-1] & (0xFF >> n % 8):
        raise ValueError(f"bits are set beyond those of {n} images")
    return raw


def unpack(text: str, n: int) -> Bits:
    """Return the ``n`` bits of :func:`pack`. Raises :class:`ValueError` as :func:`packed_bytes`."""
    return np.unpackbits(np.frombuffer(packed_bytes(text, n), np.uint8), count=n).astype(bool)


class Outcome(BaseModel):
    """One condition: which images were classified correctly, and under which protocol.

    ``provenance`` is the index, in the record's list, of what evaluated it. ``values`` holds what bits cannot: scores,
    points of a curve, counts that make a result suspicious.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    suite: facts.Word
    protocol: dict[str, Any]
    n: int = Field(ge=1)
    correct: int = Field(ge=0)
    bits: str
    values: dict[str, Any] = {}
    provenance: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _known(self) -> Self:
        """Check the entries of ``values`` and ``protocol`` that other code reads."""
        index, loss, eps = self.values.get("index", []), self.values.get("loss", 0.0), self.protocol.get("eps", 0.0)
        if not isinstance(index, list) or not all(type(i) is int and 0 <= i < 2**40 for i in index):
            raise ValueError("values.index must be positions of test images")
        if "index" in self.values and not len(set(index)) == len(index) == self.n:
            raise ValueError(f"values.index must be the {self.n} images that the bits are of, each once")
        reasons = self.values.get("suspicious", [])
        if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
            raise ValueError("values.suspicious must be a list of reasons")
        if any(type(number) not in (int, float) or not abs(number) < 1e300 for number in (loss, eps)):
            raise ValueError("values.loss and protocol.eps must be numbers")
        return self

    @classmethod
    def of(cls, bits: Bits, suite: str, protocol: dict[str, Any], values: dict[str, Any] | None = None) -> "Outcome":
        """Return the outcome with these ``bits``, one per image."""
        return cls(
            suite=suite, protocol=protocol, n=len(bits), correct=int(bits.sum()), bits=pack(bits), values=values or {}
        )

    def packed(self) -> bytes:
        """Return the bits, eight to a byte, the first image in the highest bit."""
        return packed_bytes(self.bits, self.n)

    def array(self) -> Bits:
        """Return the n bits, true where the image was classified correctly."""
        return unpack(self.bits, self.n)

    @property
    def error(self) -> float:
        """Return the top-1 error in percent."""
        return 100 * (1 - self.correct / self.n)


class Record(BaseModel):
    """The outcomes, by condition, of a ``run``, or of a network that was ``loaded`` and not trained here.

    ``training`` says how the weights were made, ``checkpoint`` identifies them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    run: Run | None = None
    loaded: ExternalNetwork | None = None
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    checkpoint: Annotated[dict[str, Any], AfterValidator(facts.of(facts.Checkpoint))]
    test_sha256: facts.Digest
    training: Annotated[dict[str, Any], AfterValidator(facts.of(facts.Training))]
    evaluated: list[Annotated[dict[str, Any], AfterValidator(facts.of(facts.Stamp))]]
    outcomes: dict[facts.Word, Outcome]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.run is None) == (self.loaded is None):
            raise ValueError("a record is of either a run or a loaded network")
        return self

    @property
    def source(self) -> Run | ExternalNetwork:
        """Return the run, or the external network, that the outcomes are of."""
        network = self.run or self.loaded
        assert network is not None
        return network

    def problems(self) -> list[str]:
        """Return what contradicts itself in the record: the first level of verification."""
        problems = []
        if self.digest != self.source.digest:
            problems.append(f"digest {self.digest} is not that of the run, {self.source.digest}")
        for name, outcome in self.outcomes.items():
            if not 0 <= outcome.provenance < len(self.evaluated):
                problems.append(f"{name}: nothing says what evaluated it")
            try:
                correct = int.from_bytes(outcome.packed()).bit_count()
            except ValueError:
                problems.append(f"{name}: its bits are damaged, or not of {outcome.n} images")
                continue
            if correct != outcome.correct:
                problems.append(f"{name}: {outcome.correct} stated as correct, its bits say {correct}")
        return problems


def parse_record(values: Any, path: Path) -> Record:
    """Return the record that ``path`` contains. Raises :class:`UsageError` when it is not a record."""
    try:
        return Record.model_validate(expand(values))
    except ValidationError as err:
        raise UsageError(f"{path} is not a record: {one_line(err)}") from None
    except ValueError as err:
        raise UsageError(f"{path} is not a record: {printable(err)}") from None


def read_record(path: Path) -> Record:
    """Read and check the record in ``path``. Raises :class:`VerificationFailed` when it contradicts itself."""
    record = parse_record(read_json(path, "record"), path)
    if problems := record.problems():
        raise VerificationFailed(f"{path}: {problems[0]}")
    return record


def record_bytes(record: Record) -> bytes:
    """Return ``record`` in its compact form, without the one of ``run`` and ``loaded`` that it lacks.

    Raises :class:`ValueError` when the bits of a condition are damaged.
    """
    absent = {name for name in ("run", "loaded") if getattr(record, name) is None}
    return as_text(compact(record.model_dump(mode="json", exclude=absent))).encode()


def write_record(record: Record, path: Path) -> None:
    """Write ``record`` as :func:`record_bytes`."""
    write_bytes(path, record_bytes(record))


def as_json(value: Any) -> Any:
    """Return ``value`` with tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    return [as_json(v) for v in value] if isinstance(value, list | tuple) else value
