"""Pages: how much work they are, and the same bytes on any processor."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catchup_bench import boards
from catchup_bench.leaderboard import html_page, pages, table
from catchup_bench.records import record
from catchup_bench.verification import all_records
from tests.leaderboard.test_statistics import cpu_features
from tests.support.large_board import write_board

ROOT = Path(__file__).parents[2]

METHODS, SEEDS = 4, 3


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose only board is a made-up one, with a README, an index and records."""
    board = boards.load(write_board(tmp_path, METHODS, SEEDS, images=48))
    (tmp_path / "README.md").write_text("<!-- BEGIN board: large -->\n<!-- END board: large -->\n")
    (tmp_path / "leaderboards" / "README.md").write_text("<!-- BEGIN boards -->\n<!-- END boards -->\n")
    monkeypatch.setattr(boards, "available", lambda: ["large"])
    monkeypatch.setattr(boards, "load", lambda *_: board)
    return tmp_path


def count(monkeypatch: pytest.MonkeyPatch, *functions: tuple[Any, str]) -> Counter[str]:
    """Count the calls of functions, each as the module that calls it has it."""
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    for module, name in functions:
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return calls


@pytest.mark.parametrize("only", [None, "large"])
def test_a_command_unrolls_a_board_and_reads_a_record_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, only: str | None
) -> None:
    """The page, the excerpt and the index share one table; one level-1 check of a record, and no packed bit beyond what
    the ranked columns need."""
    calls = count(
        monkeypatch, (pages, "make_table"), (table, "jobs_of"), (table, "read_record"), (record, "packed_bytes")
    )
    made = pages.make_pages(root, only)
    assert len(made.files) == 3 and all("m3" in text or "Large" in text for text in made.files.values())
    of_records, conditions = METHODS * SEEDS, 106
    ranked = [
        made.tables["large"].board.weights(made.tables["large"].board.column(c)) for c in made.tables["large"].rankings
    ]
    assert calls == {
        "make_table": 1,
        "jobs_of": 1,
        "read_record": of_records,
        "packed_bytes": of_records * (conditions + sum(map(len, ranked))),
    }
    made.write()
    assert pages.stale_pages(root, only) == []


def test_the_html_page_makes_each_table_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count(monkeypatch, (pages, "make_table"), (table, "read_record"))
    html_page.write_html(root)
    assert calls == {"make_table": 1, "read_record": METHODS * SEEDS}


def test_verifying_all_reads_a_record_once_and_makes_suites_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count(monkeypatch, (all_records, "jobs_of"), (all_records, "read_json"), (all_records, "make_suites"))
    problems = {text.split(" was ")[0] for _, text in all_records.find_problems(root)}
    assert "clean" not in problems and "fgsm-4" in problems, "made-up protocols"
    assert calls == {"jobs_of": 1, "read_json": METHODS * SEEDS, "make_suites": 1}


SCRIPT = """
import hashlib
from pathlib import Path
from catchup_bench import boards
from catchup_bench.leaderboard.markdown import board_page, excerpt, index_section
from catchup_bench.leaderboard.table import make_table
from catchup_bench.records.results_folder import board_folder
t = make_table(boards.load("cifar100-narrow"), board_folder(Path("."), "cifar100-narrow"))
text = board_page("cifar100-narrow", t) + excerpt("cifar100-narrow", t) + index_section({"cifar100-narrow": t})
print(hashlib.sha256(text.encode()).hexdigest(), len(text))
"""


def test_a_page_is_the_same_bytes_on_any_processor() -> None:
    """Another BLAS kernel, instruction set, number of threads and order of sets."""
    digests = set()
    for seed, extra in enumerate(
        (
            {"OPENBLAS_NUM_THREADS": "1"},
            {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
            {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": " ".join(cpu_features())},
        )
    ):
        env = os.environ | {"PYTHONHASHSEED": str(seed)} | extra
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("words", [["check"], ["html", "--out", "page.html"]], ids=["check", "html"])
def test_pages_are_made_without_torch(words: list[str], tmp_path: Path) -> None:
    """On the committed records: what the page needs is in them, and in files that are read and not run."""
    code = (
        "import sys\nfrom catchup_bench.cli import app\n"
        f"try: app({['leaderboard', *words, '--root', str(ROOT)]!r})\n"
        "except SystemExit as done: print(done.code)\n"
        "print([m for m in ('torch', 'sklearn', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]
