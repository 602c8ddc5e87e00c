"""Untrusted files and words: understood, or refused in one line with nothing written. Never a traceback.

``HYPOTHESIS_PROFILE=long pytest tests/untrusted/test_untrusted_files.py`` tries 10,000 cases of each.
"""

import copy
import json
import os
import struct
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from catchup_bench import boards, recipes, registry
from catchup_bench.boards.grid import jobs_of
from catchup_bench.errors import UsageError, VerificationFailed
from catchup_bench.plugins import complete_options, parse_settings
from catchup_bench.records import attack_checks
from catchup_bench.records.compact import compact
from catchup_bench.records.record import Outcome, Record, read_record, write_record
from catchup_bench.runs import checkpoint
from catchup_bench.runs.make import make_run
from catchup_bench.system.files import DEEPEST, LARGEST, read_json
from tests.boards.test_board import TOML
from tests.conftest import Cli
from tests.runs.test_run import MINE

SUITE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

LONG = settings(SUITE, max_examples=10_000, derandomize=False, deadline=None, database=None)

CASES = LONG if os.environ.get("HYPOTHESIS_PROFILE") == "long" else settings(SUITE, max_examples=150)

REFUSED = (UsageError, VerificationFailed)

NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([-1, 0, 2**31, 2**63, 10**30, 10**400, 1e308, float("nan")])
)

WORDS = st.one_of(
    st.text(max_size=8), st.sampled_from(["", ".", "..", "../../up", "/etc", "a\x00b", "\x1b[2J", "*" * 9])
)

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside ``value``."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(p for k, v in inside for p in places(v, (*here, k)))]


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """``whole`` with one to three of its parts replaced, removed or added to."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([p for p in places(value) if p]))
        parent = value
        for key in way:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "replace", "remove", "add", "double"])):
            case "replace":
                parent[last] = draw(VALUES)
            case "remove":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(WORDS)] = draw(VALUES)
            case _ if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[last]))
        if not places(value)[1:]:
            break
    return value


def make_record() -> dict[str, Any]:
    run = make_run("catchup")
    bits = np.arange(30) % 4 > 0
    outcomes = {
        "clean": Outcome.of(bits, "clean", {"version": 1}),
        "fgsm-4": Outcome.of(bits, "fgsm", {"version": 1, "eps": 4.0}, {"loss": 1.0, "suspicious": ["why"]}),
        "fgsm-8": Outcome.of(bits[:3], "fgsm", {"version": 1, "eps": 8.0}, {"index": [3, 1, 2]}),
    }
    record = Record(
        run=run, digest=run.digest, checkpoint={"sha256": "0"}, test_sha256="0", training={"device": "a CPU"},
        evaluated=[{}], outcomes=outcomes,
    )  # fmt: skip
    return record.model_dump(mode="json")


RECORD = make_record()

COMPACT = compact(RECORD)

BOARD = tomllib.loads(TOML)

RECIPE = recipes.load("digits").model_dump(mode="json")


@CASES
@given(damaged(RECORD) | damaged(COMPACT))
def test_a_damaged_record_is_read_or_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(value))
    try:
        record = read_record(path)
    except REFUSED:
        return
    attack_checks.suspicions(record.outcomes)
    assert all(0 <= o.error <= 100 and len(o.array()) == o.n for o in record.outcomes.values())
    write_record(record, path)
    assert read_record(path) == record


@CASES
@given(
    st.one_of(
        st.binary(max_size=60), st.text(max_size=60).map(str.encode), VALUES.map(lambda v: json.dumps(v).encode())
    )
)
def test_any_bytes_are_a_record_a_recipe_and_a_board_or_refused(tmp_path: Path, content: bytes) -> None:
    for name, read in (("a.json", read_record), ("a.toml", lambda p: recipes.load(str(p))), ("a.toml", load_board)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(REFUSED):
            read(path)


def load_board(path: Path) -> boards.Board:
    return boards.load(str(path))


@CASES
@given(damaged(BOARD))
def test_a_damaged_board_is_run_inside_its_folder_or_refused(value: Any) -> None:
    try:
        board = boards.parse_board(value, "fuzzed.toml")
        jobs = list(jobs_of(board))
        totals = [sum(board.weights(c).values()) for c in board.columns]
        assert isinstance(board.settings, dict)
    except REFUSED:
        return
    assert totals == pytest.approx([1.0] * len(totals))
    for job in jobs:
        assert ".." not in job.path.parts and not job.path.is_absolute() and len(job.path.parts) == 3
        json.dumps(job.run.model_dump(mode="json"), allow_nan=False)


@CASES
@given(damaged(RECIPE))
def test_a_damaged_recipe_is_valid_or_refused(value: Any) -> None:
    try:
        made = recipes.validated(value, "fuzzed")
    except REFUSED:
        return
    assert all(0 <= made.lr_at(p) <= made.lr for p in (0, 0.5, made.epochs / 2, made.epochs))
    json.dumps(made.model_dump(mode="json"), allow_nan=False)


OWNERS = st.sampled_from(["catchup", "recipe", "cutmix", "mixup", "..", ""])

KEYS = st.sampled_from([*complete_options(registry.method_class("catchup"), None, {}, ""), *RECIPE, "x", ""])

TYPED = st.one_of(
    st.text(max_size=20), VALUES.map(str), VALUES.map(json.dumps), st.just("9" * 5000), st.just("[" * 500)
)


@CASES
@given(st.lists(st.builds("{}.{}={}".format, OWNERS, KEYS, TYPED) | st.text(max_size=20), max_size=3))
def test_any_set_makes_a_run_or_is_refused(words: list[str]) -> None:
    try:
        run = make_run("catchup", settings=parse_settings(words))
    except REFUSED:
        return
    json.dumps(run.model_dump(mode="json"), allow_nan=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "a.safetensors"
    checkpoint.save_tensors({"w": torch.zeros(2, 3), "b": torch.ones(3)}, make_run("baseline"), path, epoch=1)
    return path.read_bytes()


@CASES
@given(st.data())
def test_a_damaged_checkpoint_is_read_or_refused(tmp_path: Path, weights: bytes, data: st.DataObject) -> None:
    content = bytearray(weights)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        tensors, _ = checkpoint.read_weights(path)
    except REFUSED:
        return
    assert sum(t.numel() for t in tensors.values()) <= len(weights)


def header(value: Any, size: int | None = None) -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


HUGE = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}


@pytest.mark.parametrize(
    "content",
    [
        header({}, 2**63),
        header({}, 2**31),
        header({"w": HUGE}),
        header({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}) + bytes(4),
        header({"w": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
        header({"__metadata__": {"catchup_bench": "[" * 5000}}),
        header({"__metadata__": {"catchup_bench": "[]"}}),
        header({"__metadata__": {"catchup_bench": '{"run": {"method": {}}}'}}),
        b"\x80\x04\x95",
        b"PK\x03\x04",
        b"",
    ],
)
def test_malicious_checkpoints_are_one_line(cli: Cli, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    result = cli("evaluate", "--checkpoint", "bad.safetensors", "--suite", "clean")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.stderr
    assert not (tmp_path / "runs").exists()


def card(tmp_path: Path, **changes: Any) -> Path:
    """A checkpoint whose card claims what ``changes`` say."""
    run = make_run("baseline").model_dump(mode="json") | changes
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors", {checkpoint.CARD: json.dumps({"run": run})})
    return tmp_path / "x.safetensors"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "preactresnet50", "width": 4096, "variant": "B"}}, "holds less than a preactresnet50"),
        ({"model": {"name": "../up", "width": 4, "variant": "B"}}, "does not describe a run"),
        (
            {"method": {"name": "mine", "options": {}, "file": "mine.py", "sha256": None}},
            "holds less than a preactresnet10",
        ),
        (
            {"method": {"name": "mine", "options": {}, "file": "mine.py", "sha256": "0"}},
            "holds less than a preactresnet10",
        ),
    ],
)
def test_a_card_cannot_ask_for_too_much(cli: Cli, tmp_path: Path, changes: Any, words: str) -> None:
    (tmp_path / "mine.py").write_text("open('ran', 'w')\n" + MINE)
    result = cli("evaluate", "--checkpoint", card(tmp_path, **changes), "--suite", "clean")
    assert result.exit_code == 2 and words in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["[" * 100_000, "[" * 40 + "]" * 40, '{"a": NaN}', "9" * 5000, b"\xff\xfe"])
def test_json_that_is_deep_or_no_json_is_refused(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match="not a record"):
        read_json(path, "record")


def test_files_that_are_huge_or_no_files_are_refused(tmp_path: Path) -> None:
    with open(tmp_path / "a.json", "wb") as f:
        f.truncate(LARGEST + 1)
    with pytest.raises(UsageError, match="larger than 64 MB"):
        read_json(tmp_path / "a.json", "record")
    os.mkfifo(tmp_path / "b.json")
    with pytest.raises(UsageError, match="no record"):
        read_json(tmp_path / "b.json", "record")


def test_toml_that_is_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for depth in (DEEPEST + 1, 50_000):
        path.write_text("a = " + "[" * depth + "]" * depth)
        with pytest.raises(UsageError, match="not valid TOML"):
            recipes.load(str(path))


def test_means_of_means_are_refused(tmp_path: Path) -> None:
    """They could go round in circles."""
    path = tmp_path / "a.toml"
    path.write_text(TOML + '[[columns]]\nname = "more"\nmean_of = ["both"]\n')
    with pytest.raises(UsageError, match="not means"):
        load_board(path)
