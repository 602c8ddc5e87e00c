"""The compact form of records says what the written-out form says, and is refused when it is damaged."""

import base64
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catchup_bench.errors import UsageError
from catchup_bench.records.compact import as_text, compact, expand
from catchup_bench.records.record import Outcome, Record, read_record, write_record
from catchup_bench.runs.make import make_run

RUN = make_run("baseline", "digits", model="preactresnet10", width=4)


def record_of(outcomes: dict[str, Outcome]) -> Record:
    return Record(
        run=RUN, digest=RUN.digest, checkpoint={"sha256": "0"}, test_sha256="0", training={}, evaluated=[{}],
        outcomes=outcomes,
    )  # fmt: skip


@st.composite
def outcomes(draw: st.DrawFn) -> dict[str, Outcome]:
    """Conditions of different sizes and suites, some with values."""
    names = draw(st.lists(st.text("abc-1", min_size=1, max_size=6), max_size=6, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return {
        name: Outcome.of(
            rng.random(draw(st.integers(1, 40))) < draw(st.sampled_from([0.0, 0.5, 1.0])),
            draw(st.sampled_from(["clean", "fgsm"])),
            draw(st.sampled_from([{"version": 1}, {"eps": 4.0}])),
            draw(st.sampled_from([{}, {"loss": 0.25}])),
        )
        for name in names
    }


@settings(deadline=None)
@given(outcomes())
def test_a_record_comes_back_as_it_was(found: dict[str, Outcome]) -> None:
    record = record_of(found)
    written = record.model_dump(mode="json", exclude={"loaded"})
    stored = json.loads(as_text(compact(written)))
    assert stored["schema_version"] == 2
    assert expand(stored) == written and expand(written) is written
    assert Record.model_validate(expand(stored)) == record


def test_a_stored_record_has_a_line_for_each_condition_and_reads_as_before(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).random(800) < 0.9
    record = record_of({f"c-{i}": Outcome.of(bits, "corruption", {"version": 1}) for i in range(20)})
    write_record(record, tmp_path / "compact.json")
    (tmp_path / "written_out.json").write_text(json.dumps(record.model_dump(mode="json", exclude={"loaded"})))
    assert read_record(tmp_path / "compact.json") == read_record(tmp_path / "written_out.json") == record
    lines = (tmp_path / "compact.json").read_text().splitlines()
    assert sum('"c-' in line for line in lines) == 20
    assert (tmp_path / "compact.json").stat().st_size < (tmp_path / "written_out.json").stat().st_size / 2


def packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bits": packed(zlib.compress(b"\xff" * 4))}, "bits are not the 3 bytes of all conditions"),
        ({"bits": packed(zlib.compress(b"\xff" * 2))}, "bits are not the 3 bytes of all conditions"),
        ({"bits": packed(zlib.compress(b"\xff" * 3) + b"more")}, "bits are not the 3 bytes of all conditions"),
        ({"bits": packed(zlib.compress(b"\xff" * 3)[:-1])}, "bits are not the 3 bytes of all conditions"),
        ({"bits": packed(b"no zlib")}, "bits: Error"),
        ({"bits": "*"}, "base64"),
        ({"shared": []}, "outcomes.clean.shared is 0, of 0 entries"),
        ({"outcomes": {"clean": {"n": 2**60, "correct": 1, "shared": 0}}}, "outcomes.clean.n"),
        ({"outcomes": {f"{i}": {"n": 2**28, "correct": 1, "shared": 0} for i in range(9)}}, "more than 64 MB"),
    ],
)
def test_a_damaged_compact_record_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    record = record_of({"clean": Outcome.of(np.ones(20, bool), "clean", {})})
    stored = compact(record.model_dump(mode="json", exclude={"loaded"})) | change
    (tmp_path / "seed0.json").write_text(json.dumps(stored))
    with pytest.raises(UsageError, match="is not a record") as refused:
        read_record(tmp_path / "seed0.json")
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_small_file_cannot_fill_the_memory(tmp_path: Path) -> None:
    record = record_of({"clean": Outcome.of(np.ones(20, bool), "clean", {})})
    stored = compact(record.model_dump(mode="json", exclude={"loaded"}))
    stored["bits"] = packed(zlib.compress(bytes(2**28), 9))
    (tmp_path / "seed0.json").write_text(json.dumps(stored))
    tracemalloc.start()
    with pytest.raises(UsageError, match="bits are not the 3 bytes"):
        read_record(tmp_path / "seed0.json")
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_damaged_bits_are_not_written(tmp_path: Path) -> None:
    outcome = Outcome.of(np.ones(20, bool), "clean", {}).model_copy(update={"bits": packed(b"12")})
    with pytest.raises(ValueError, match="clean: 2 bytes are not the bits of 20 images"):
        write_record(record_of({"clean": outcome}), tmp_path / "seed0.json")
    assert not list(tmp_path.iterdir())
