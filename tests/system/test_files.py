"""Files that are written together, or not at all; JSON that has one meaning."""

import os
from pathlib import Path

import pytest

from catchup_bench.errors import RunFailed, UsageError
from catchup_bench.system import files
from catchup_bench.system.files import read_json, write_json, write_together


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def test_all_are_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    write_together({tmp_path / "a": b"new", tmp_path / "b" / "c": b"more"})
    assert contents(tmp_path) == {"a": b"new", "b": None, "b/c": b"more"}


@pytest.mark.parametrize("fail_at", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_none_is_written_when_one_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int, error: BaseException
) -> None:
    (tmp_path / "a").write_text("old")
    before = contents(tmp_path)
    replace, calls = os.replace, []

    def failing(source: str, target: Path) -> None:
        calls.append(target)
        if len(calls) == fail_at:
            raise error
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", failing)
    wanted = {tmp_path / "a": b"new", tmp_path / "b" / "c": b"more", tmp_path / "d": b"last"}
    with pytest.raises(RunFailed if isinstance(error, OSError) else KeyboardInterrupt):
        write_together(wanted)
    assert contents(tmp_path) == before


def test_a_folder_that_is_a_file_stops_all(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    with pytest.raises(RunFailed):
        write_together({tmp_path / "a": b"new", tmp_path / "b" / "c": b"more"})
    assert contents(tmp_path) == {"b": b""}


def test_a_path_that_goes_up_from_a_link_is_where_the_system_has_it(tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "sub")
    write_json(tmp_path / "link" / ".." / "x" / "a.json", {})
    assert (tmp_path / "real" / "x" / "a.json").read_text() == "{}\n"


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"x": [{"b": 1, "b": 1}]}', "[1e999]", "[-1e999]", "[NaN]"])
def test_json_of_two_meanings_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match=r"not valid JSON \(.*(twice|no number)"):
        read_json(tmp_path / "a.json", "record")
