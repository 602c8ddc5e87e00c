"""Which code a record says that it was made with."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catchup_bench.system import provenance


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], dict[str, Any]]]:
    """What a checkout in ``tmp_path``, with a file of code, a method and the page of the methods, says of its code."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    here = tmp_path / "catchup_bench" / "system" / "provenance.py"
    for path in (here, tmp_path / "methods" / "mine.py", tmp_path / "methods" / "README.md", tmp_path / "README.md"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as committed\n")
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    monkeypatch.setattr(provenance, "__file__", str(here))
    yield provenance.code.__wrapped__


def test_pages_that_a_board_writes_are_no_changed_code(code: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    assert code()["commit"] and code()["dirty"] is False
    for page in ("README.md", "methods/README.md", "leaderboards/digits.md"):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text("as generated\n")
    assert code()["dirty"] is False


@pytest.mark.parametrize("changed", ["catchup_bench/system/provenance.py", "methods/mine.py", "methods/new.py"])
def test_changed_and_new_code_is_said(code: Callable[[], dict[str, Any]], tmp_path: Path, changed: str) -> None:
    (tmp_path / changed).write_text("changed\n")
    assert code()["dirty"] is True


def test_a_package_without_a_checkout_has_no_commit(code: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / ".git")
    assert code() == {"commit": None, "dirty": None}
