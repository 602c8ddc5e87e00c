"""Which code a record says that it was made with."""

import shutil
import subprocess
from pathlib import Path

import pytest

from catchup_bench.system.provenance import code_in

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a file of code, a method and two pages, all committed."""
    for name in ("catchup_bench/train.py", "methods/mine.py", "methods/README.md", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("as committed\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    return tmp_path


def test_pages_that_a_board_writes_are_no_changed_code(checkout: Path) -> None:
    assert code_in(checkout)["commit"] and code_in(checkout)["dirty"] is False
    (checkout / "leaderboards").mkdir()
    for page in ("README.md", "methods/README.md", "leaderboards/digits.md"):
        (checkout / page).write_text("as generated\n")
    assert code_in(checkout)["dirty"] is False


@pytest.mark.parametrize("name", ["catchup_bench/train.py", "methods/mine.py", "methods/new.py"])
def test_changed_and_new_code_is_said(checkout: Path, name: str) -> None:
    (checkout / name).write_text("changed\n")
    assert code_in(checkout)["dirty"] is True


def test_a_folder_without_a_checkout_has_no_commit(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    assert code_in(checkout) == {"commit": None, "dirty": None}
