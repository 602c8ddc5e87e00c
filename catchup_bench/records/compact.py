"""The form in which records are stored: what conditions share is stated once, all bits are compressed together.

The severities of a corruption err on much the same images, so that the bits of 105 conditions of 800 images take 4 kB
instead of 14. Records in the form of before, with everything written out in each condition, are read as well.
"""

import base64
import json
import zlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..system.files import LARGEST

VERSION = 2
"""The ``schema_version`` of a compact record; 1 is that of a record with everything written out."""


class _Shared(BaseModel):
    """What many conditions have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    suite: str
    protocol: dict[str, Any]
    provenance: int


class _Condition(BaseModel):
    """A condition, and which entry of the shared ones is its."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int = Field(ge=1, le=8 * LARGEST)
    correct: int
    shared: int = Field(ge=0)
    values: dict[str, Any] = {}


class _Compact(BaseModel):
    """The part of a compact record that is stored in another way than in :class:`~.record.Record`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    shared: list[_Shared]
    outcomes: dict[str, _Condition]
    bits: str


def compact(record: dict[str, Any]) -> dict[str, Any]:
    """Return the compact form of a ``record`` with everything written out. Raises :class:`ValueError` for bits that
    are no base64 of n bits: they cannot be joined with others."""
    shared: list[dict[str, Any]] = []
    outcomes, bits = {}, []
    for name, outcome in sorted(record["outcomes"].items()):
        common = {key: outcome[key] for key in ("suite", "protocol", "provenance")}
        if common not in shared:
            shared.append(common)
        outcomes[name] = {"n": outcome["n"], "correct": outcome["correct"], "shared": shared.index(common)}
        if outcome["values"]:
            outcomes[name]["values"] = outcome["values"]
        bits.append(base64.b64decode(outcome["bits"], validate=True))
        if len(bits[-1]) != _bytes(outcome["n"]):
            raise ValueError(f"{name}: {len(bits[-1])} bytes are not the bits of {outcome['n']} images")
    packed = base64.b64encode(zlib.compress(b"".join(bits), 9)).decode()
    return record | {"schema_version": VERSION, "shared": shared, "outcomes": outcomes, "bits": packed}


def expand(values: Any) -> Any:
    """Return the record in ``values`` with everything written out; anything that is not compact as it is.

    Raises :class:`ValueError` (also pydantic's ``ValidationError``) when the compact form is damaged.
    """
    if not isinstance(values, dict) or values.get("schema_version") != VERSION:
        return values
    own = {key: values[key] for key in ("shared", "outcomes", "bits") if key in values}
    form = _Compact.model_validate(own)
    sizes = {name: _bytes(form.outcomes[name].n) for name in sorted(form.outcomes)}
    packed = _decompress(form.bits, sum(sizes.values()))
    outcomes, start = {}, 0
    for name, size in sizes.items():
        condition = form.outcomes[name]
        if condition.shared >= len(form.shared):
            raise ValueError(f"outcomes.{name}.shared is {condition.shared}, of {len(form.shared)} entries")
        bits = base64.b64encode(packed[start : start + size]).decode()
        stated = {"n": condition.n, "correct": condition.correct, "values": condition.values, "bits": bits}
        outcomes[name] = form.shared[condition.shared].model_dump() | stated
        start += size
    rest = {key: value for key, value in values.items() if key not in own}
    return rest | {"schema_version": 1, "outcomes": outcomes}


def as_text(compacted: dict[str, Any]) -> str:
    """Return the JSON of a compact record, one condition a line."""

    def dump(value: Any) -> str:
        return json.dumps(value, sort_keys=True, allow_nan=False)

    def lines(key: str, value: Any) -> str:
        if key == "outcomes" and value:
            return "{\n  " + ",\n  ".join(f"{dump(name)}: {dump(row)}" for name, row in sorted(value.items())) + "\n }"
        if key == "shared" and value:
            return "[\n  " + ",\n  ".join(map(dump, value)) + "\n ]"
        return dump(value)

    return "{\n " + ",\n ".join(f"{dump(key)}: {lines(key, compacted[key])}" for key in sorted(compacted)) + "\n}\n"


def _bytes(n: int) -> int:
    return -(-n // 8)


def _decompress(text: str, size: int) -> bytes:
    """Decode ``size`` bytes and no more: a few kB can decompress to gigabytes."""
    if size > LARGEST:
        raise ValueError(f"the bits of all conditions would take more than {LARGEST >> 20} MB")
    decoder = zlib.decompressobj()
    try:
        packed = decoder.decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error as err:
        raise ValueError(f"bits: {err}") from None
    if len(packed) != size or not decoder.eof or decoder.unused_data:
        raise ValueError(f"bits are not the {size} bytes of all conditions")
    return packed
