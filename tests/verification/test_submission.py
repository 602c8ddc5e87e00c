"""An external submission, from a method file in a clone to verified records, and what tampering comes to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.clone import BOARD, MINE, TRAIN, Clone
from tests.support.stored_records import written_out


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A run of an external method, and one with options of its own, submitted; what the commands said is checked."""
    clone = Clone(tmp_path_factory.mktemp("clone"))
    train = ["train", "--method", "./mine.py", *TRAIN]
    first = clone.call(train, ["evaluate", "--suite", "clean"])
    assert [code for code, _ in first] == [0, 0], first
    run = str(next((clone.folder / "runs").iterdir()))
    told, again, *refused = clone.call(
        ["submit", run],
        ["submit", run],
        ["submit", run, "--board", "digits"],
        ["submit", "nowhere"],
    )
    assert told[0] == again[0] == 0, told
    assert "git switch -c submit-small-mine" in told[1] and "catchup_bench/boards/small.toml" in told[1]
    assert [code for code, _ in refused] == [2, 2], refused
    changed = clone.call([*train, "--set", "mine.alpha=0.5"], ["evaluate", "--suite", "clean"])
    other = str(next(p for p in (clone.folder / "runs").iterdir() if str(p) != run))
    unnamed, named = clone.call(["submit", other], ["submit", other, "--label", "mine-half"])
    assert [code for code, _ in changed] == [0, 0] and unnamed[0] == 2 and "--label" in unnamed[1]
    assert named[0] == 0, named
    return clone


def test_what_was_written_is_what_a_board_needs(submitted: Clone) -> None:
    board = (submitted.folder / "catchup_bench" / "boards" / "small.toml").read_text()
    assert '"baseline", "mine", {name = "mine", label = "mine-half", set = {alpha = 0.5}}]' in board
    assert (submitted.folder / "methods" / "mine.py").read_text() == MINE
    assert json.loads(submitted.record("mine").read_text())["run"]["method"]["file"] == "methods/mine.py"
    page = (submitted.folder / "leaderboards" / "small.md").read_text()
    assert "| mine |" in page and "| mine-half |" in page


def test_a_submission_is_verified_and_its_page_checked(submitted: Clone) -> None:
    record, every, pages, command, again, _ = submitted.call(
        ["verify", str(submitted.record("mine"))],
        ["verify", "--all"],
        ["leaderboard", "check"],
        ["leaderboard", "run", "small", "--print"],
        ["verify", "--all", "--runs", "runs", "--keep"],
        ["leaderboard", "render"],
    )
    assert again[0] == 0 and again[1].count(": 0 outcomes differ") == 2
    page = (submitted.folder / "leaderboards" / "small.md").read_text()
    assert page.count("●●○○") == 2, "evaluated again, and kept"
    assert record[0] == every[0] == pages[0] == 0, (record, every, pages)
    assert "level 1" in record[1] and "2 records" in every[1]
    assert "method=baseline" in command[1] and "method=mine" not in command[1]


def bits(record: Any) -> None:
    text = record["outcomes"]["clean"]["bits"]
    record["outcomes"]["clean"]["bits"] = ("B" if text[0] == "A" else "A") + text[1:]


def number(record: Any) -> None:
    record["outcomes"]["clean"]["correct"] += 1


def seed(record: Any) -> None:
    record["run"]["seed"] = 1


def digest(record: Any) -> None:
    record["digest"] = "0" * 12


def other_run(record: Any) -> None:
    """A consistent record of another run than its place on the board says."""
    from catchup_bench.runs.run import Run

    record["run"]["recipe"]["epochs"] = 2
    record["digest"] = Run.model_validate(record["run"]).digest


TAMPERED: list[tuple[Callable[[Any], None], str]] = [
    (bits, "its bits say"),
    (number, "its bits say"),
    (seed, "is not that of the run"),
    (digest, "is not that of the run"),
    (other_run, "this job of board small is run"),
]


def test_tampering_is_named(submitted: Clone) -> None:
    """Also a method that is no longer the one of the run."""
    path, method = submitted.record("mine"), submitted.folder / "methods" / "mine.py"
    before = path.read_text()
    calls = []
    for change, _ in TAMPERED:
        record = written_out(path)
        change(record)
        calls += [["write", str(path), json.dumps(record)], ["verify", "--all"]]
    calls += [["write", str(path), before], ["write", str(method), MINE.replace("lam * x +", "lam * x.clone() +")]]
    *said, changed = submitted.call(*calls, ["verify", "--all"])
    method.write_text(MINE)
    for (code, text), (_, words) in zip(said, TAMPERED, strict=True):
        assert code == 4 and words in text and "1 of 2 records do not hold" in text
    assert changed[0] == 4 and "this job of board small is run" in changed[1]


def test_a_refused_submission_writes_nothing(submitted: Clone) -> None:
    """A label that leads out of the board's folder, and a cell that holds the record of other weights."""

    def files() -> dict[Path, bytes]:
        found = [p for p in submitted.folder.rglob("*") if p.is_file() and p.name != ".lock"]
        return {p: p.read_bytes() for p in found}

    path = submitted.record("mine")
    run = next(str(p) for p in (submitted.folder / "runs").iterdir() if json_of(p / "run.json") == 1.0)
    held = json.loads(path.read_text())
    held["checkpoint"]["sha256"] = "0" * 64
    kept = path.read_text()
    path.write_text(json.dumps(held))
    before = files()
    labels = ["../../../evil", ".", 'a"b', "x" * 65, ""]
    *wrong, other = submitted.call(*[["submit", run, "--label", label] for label in labels], ["submit", run])
    assert files() == before
    path.write_text(kept)
    assert all(code == 2 and "--label" in text and "1 to 64" in text for code, text in wrong), wrong
    assert other[0] == 2 and "other weights" in other[1]


def json_of(path: Path) -> float:
    return float(json.loads(path.read_text())["method"]["options"]["alpha"])


@pytest.mark.parametrize(
    ("methods", "after"),
    [
        ('["baseline", { name = "catchup", set = { layers = [0, 1] } }]', '[0, 1] } }, "mine"]'),
        ('[\n  "baseline",\n  { name = "catchup", set = { layers = [0] } },\n]', '[0] } },\n  "mine",\n]'),
        ("[]", '["mine"]'),
        ('"baseline"', None),
    ],
)
def test_a_row_is_added_where_the_methods_end(tmp_path: Path, methods: str, after: str | None) -> None:
    from catchup_bench.errors import UsageError
    from catchup_bench.verification.submission import with_entry

    path = tmp_path / "catchup_bench" / "boards" / "small.toml"
    path.parent.mkdir(parents=True)
    path.write_text(BOARD.replace('["baseline"]', methods))
    entry = {"name": "mine", "label": "mine", "set": {}}
    if after is None:
        with pytest.raises(UsageError, match="has no list of methods"):
            with_entry(tmp_path, "small", entry)
        return
    ((written, content),) = with_entry(tmp_path, "small", entry).items()
    assert tmp_path / written == path and f"{after}\nseeds = [0]" in content.decode()
