"""Pages: how much work they are, and the same bytes on any processor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from catchup_bench import boards, suites
from catchup_bench.boards import grid
from catchup_bench.leaderboard import html_page, pages, table
from catchup_bench.records import record
from catchup_bench.verification import all_records
from tests.leaderboard.test_statistics import cpu_features
from tests.support.calls import count_calls
from tests.support.made_up import write_records

ROOT = Path(__file__).parents[2]

DEMO = boards.load(boards.DEMO)

RECORDS = len(DEMO.methods) * len(DEMO.seeds)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a README, an index, and made-up records of the demonstration alone."""
    (tmp_path / "leaderboards").mkdir()
    write_records(tmp_path, DEMO)
    (tmp_path / "README.md").write_text("<!-- BEGIN board: demo -->\n<!-- END board: demo -->\n")
    (tmp_path / "leaderboards" / "README.md").write_text("<!-- BEGIN boards -->\n<!-- END boards -->\n")
    return tmp_path


@pytest.mark.parametrize("only", [None, DEMO], ids=["all", "one"])
def test_a_command_unrolls_a_board_and_reads_a_record_once(root: Path, only: boards.Board | None) -> None:
    """The page, the excerpt and the index share one table; one level-1 check of a record, and no packed bit beyond what
    the ranked column needs."""
    files, calls = count_calls(
        lambda: pages.write_pages(root, only), table.make_table, grid.jobs_of, record.read_record, record.packed_bytes
    )
    assert len(files) == 3 and all("catchup" in file.read_text(encoding="utf-8") for file in files)
    conditions = {c for column in DEMO.columns for _, c in DEMO.weights(column)}
    ranked = DEMO.weights(DEMO.column(DEMO.rank))
    assert calls == {
        "make_table": 1,
        "jobs_of": 1,
        "read_record": RECORDS,
        "packed_bytes": RECORDS * (len(conditions) + len(ranked)),
    }
    assert pages.stale_pages(root, only) == []


def test_the_html_page_makes_each_table_once(root: Path) -> None:
    _, calls = count_calls(lambda: html_page.write_html(root), table.make_table, record.read_record)
    assert calls == {"make_table": 1, "read_record": RECORDS}


def test_verifying_all_reads_a_record_once_and_makes_suites_once(root: Path) -> None:
    problems, calls = count_calls(
        lambda: list(all_records.find_problems(root)), grid.jobs_of, record.parse_record, suites.make_suites
    )
    said = {text.split(" was ")[0] for _, text in problems}
    assert "clean" not in said and "fgsm-4" in said, "made-up protocols"
    assert calls == {"jobs_of": 1, "parse_record": RECORDS, "make_suites": 1}


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
