"""Try a submission where nothing but its files is beside it: in a copy of the checkout, by an interpreter of its own.

``python -m catchup_bench.verification.rehearsal`` is what that interpreter runs.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..errors import VerificationFailed
from ..system.files import write_bytes

PARTS = ("catchup_bench", "methods", "leaderboards", "README.md")
"""What judging a submission and rendering its pages read of a checkout."""

LIMIT = 900
"""Seconds after which a rehearsal has failed: a method may wait for ever."""


def rehearse(
    root: Path, files: Mapping[Path, bytes], board: str, record: Path, method: str | None
) -> dict[Path, bytes]:
    """Return every generated file as it is with ``files``, paths below ``root``, in place.

    ``method`` is the name of a method among ``files``, whose contract is then checked. Raises
    :class:`VerificationFailed` when that does not hold, or the record is not what its board asks for; nothing is
    written below ``root``.
    """
    with tempfile.TemporaryDirectory(prefix="catchup-bench-") as folder:
        copy, empty = Path(folder, "checkout"), Path(folder, "empty")
        empty.mkdir()
        for name in PARTS:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*", "index.html"))
            elif source.is_file():
                shutil.copy(source, copy / name)
        for path, content in files.items():
            write_bytes(copy / path, content)
        words = [sys.executable, "-m", __spec__.name, str(copy), board, str(record), method or ""]
        environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(words, cwd=empty, env=environment, capture_output=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise VerificationFailed(f"the submission was not judged within {LIMIT} s") from None
        try:
            answer = json.loads(done.stdout.decode().splitlines()[-1])
            problems, pages = list(answer["problems"]), [Path(path) for path in answer["pages"]]
        except (ValueError, IndexError, KeyError, TypeError):
            said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
            raise VerificationFailed(f"the submission could not be judged: {said or 'nothing was said'}") from None
        if problems:
            raise VerificationFailed("; ".join(map(str, problems)))
        return {path: (copy / path).read_bytes() for path in pages}


def judge(root: Path, board: str, record: Path, method: str) -> tuple[list[str], list[Path]]:
    """Return what is wrong with a submission that lies in ``root``, and the generated files, written there."""
    from ..boards import load
    from ..errors import BenchError
    from ..leaderboard.pages import write_pages
    from .all_records import find_problems
    from .isolated import check_isolated

    try:
        problems = []
        if method:
            checks = check_isolated(method)
            broken = [f"{c.name} ({c.detail})" for c in checks if not c.ok]
            if broken:
                problems.append(f"{method} breaks the contract of methods: {'; '.join(broken)}")
        problems += [text for path, text in find_problems(root, only=board) if path == root / record]
        return problems, [] if problems else [path.relative_to(root) for path in write_pages(root, load(board))]
    except BenchError as err:
        return [str(err).replace(f"{root}{os.sep}", "")], []


if __name__ == "__main__":
    found, written = judge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    print(json.dumps({"problems": found, "pages": [path.as_posix() for path in written]}))
