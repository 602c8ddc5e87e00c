"""Own every path below ``leaderboards/``, and the marks of verification beside the records.

A board's folder is ``leaderboards/results/<board>/``. Below it lie ``<setup>/<label>/seed<k>.json``, a record; beside
that ``verified-seed<k>.json``, how far it was verified, and ``failed-seed<k>.json``, that its training failed; and
``<setup>/cost.json``, the cost of the methods.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from ..errors import NothingSelected, UsageError
from ..system.files import file_digest, read_json

VERIFIED, FAILED = "verified-", "failed-"
"""Prefixes of what lies beside a record, before the record's name."""


class RecordPlace(NamedTuple):
    """Where a record lies in its board: the setup, the label of the row and the seed's file name."""

    setup: str
    label: str
    name: str


def pages_folder(root: Path) -> Path:
    """Return the folder of the pages and results below ``root``."""
    return root / "leaderboards"


def results_folder(root: Path) -> Path:
    """Return the folder that has a folder for every board."""
    return pages_folder(root) / "results"


def board_folder(root: Path, board: str) -> Path:
    """Return the folder of a board's records; ``board`` as in :func:`catchup_bench.boards.record_name`."""
    return results_folder(root) / board


def record_path(folder: Path, setup: str, label: str, seed: int) -> Path:
    """Return the path of a record in a board's ``folder``."""
    return folder / setup / label / f"seed{seed}.json"


def record_place(folder: Path, record: Path) -> RecordPlace:
    """Return where ``record`` lies in a board's ``folder``."""
    return RecordPlace(*record.relative_to(folder).parts)


def records_of_board(folder: Path) -> list[Path]:
    """Return the paths of all records in a board's ``folder``, sorted."""
    return sorted(folder.glob("*/*/seed*.json"))


def failures_of_board(folder: Path) -> list[Path]:
    """Return the files of all failed trainings in a board's ``folder``, sorted."""
    return sorted(folder.glob(f"*/*/{FAILED}seed*.json"))


def failure_file(record: Path) -> Path:
    """Return the file beside ``record`` that says that its training failed."""
    return record.with_name(f"{FAILED}{record.name}")


def record_of_failure(failure: Path) -> Path:
    """Return the path of the record that :func:`failure_file` belongs to."""
    return failure.with_name(failure.name.removeprefix(FAILED))


def mark_file(record: Path) -> Path:
    """Return the file beside ``record`` that says how far it has been verified."""
    return record.with_name(f"{VERIFIED}{record.name}")


def cost_file(folder: Path, setup: str) -> Path:
    """Return the file in a board's ``folder`` with the cost of the methods of ``setup``."""
    return folder / setup / "cost.json"


def record_files(root: Path) -> list[Path]:
    """Return every record under ``root``, sorted. Raises :class:`NothingSelected` when there is none."""
    paths = sorted(results_folder(root).glob("*/*/*/seed*.json"))
    if not paths:
        raise NothingSelected(f"no records in {results_folder(root)}: run a board first")
    return paths


def find_root(given: Path | None) -> Path:
    """Return the folder that holds ``leaderboards/``: ``given``, or the nearest one upwards from here."""
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"--root {given} is not a folder")
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if pages_folder(folder).is_dir():
            return folder
    raise UsageError("no leaderboards/ folder here or above: run this in a checkout, or give --root")


def report_file(record: Path) -> Path:
    """Return the page beside ``record`` that ``catchup-bench report`` writes of it."""
    return record.with_suffix(".html")


def kept_level(record: Path) -> int:
    """Return the level that ``verify --keep`` wrote beside ``record``, or 1 when it has other bytes by now."""
    path = mark_file(record)
    mark = read_json(path, "verification") if path.exists() else {}
    if not isinstance(mark, dict):
        return 1
    level = mark.get("level")
    same = mark.get("record_sha256") == hashlib.sha256(record.read_bytes()).hexdigest()
    return int(level) if same and level in (1, 2, 3, 4) else 1


def changed_since_marked(record: Path) -> list[str]:
    """Return what to say when the mark beside ``record`` is of other bytes than it has now; empty when it is not."""
    path = mark_file(record)
    mark = read_json(path, "verification") if path.exists() else {}
    if not path.exists() or (isinstance(mark, dict) and mark.get("record_sha256") == file_digest(record)):
        return []
    return [f"it was changed after {path.name} was written: verify it with --run FOLDER --keep, or delete that file"]
