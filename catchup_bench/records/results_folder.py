"""Own every path below ``leaderboards/``, and the marks of verification beside the records.

A board's folder is ``leaderboards/results/<board>/``. Below it lie ``<setup>/<label>/seed<k>.json``, a record; beside
that ``verified-seed<k>.json``, how far it was verified, maintainers' signed statements (see :mod:`.verifiers`), and
``failed-seed<k>.json``, that its training failed; and ``<setup>/cost.json``, the cost of the methods.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import NothingSelected, UsageError
from ..system.files import PART, file_digest, read_json
from ..text import printable
from .verifiers import read_statements

VERIFIED, FAILED = "verified-", "failed-"
"""Prefixes of what lies beside a record, before the record's name."""

COST = "cost.json"


class RecordLocation(NamedTuple):
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
    """Return the folder of a board's records; ``board`` is its name."""
    return results_folder(root) / board


def record_path(folder: Path, setup: str, label: str, seed: int) -> Path:
    """Return the path of a record in a board's ``folder``."""
    return folder / setup / label / f"seed{seed}.json"


def record_location(folder: Path, record: Path) -> RecordLocation:
    """Return where ``record`` lies in a board's ``folder``."""
    return RecordLocation(*record.relative_to(folder).parts)


def records_of_board(folder: Path) -> list[Path]:
    """Return the paths of all records in a board's ``folder``, sorted."""
    return sorted(folder.glob("*/*/seed*.json"))


def failure_file(record: Path) -> Path:
    """Return the file beside ``record`` that says that its training failed."""
    return record.with_name(f"{FAILED}{record.name}")


def failed_digest(record: Path) -> str | None:
    """Return the digest of the run whose training failed, as the file beside ``record`` says; ``None`` where none
    is."""
    path = failure_file(record)
    failure = read_json(path, "failure") if path.exists() else None
    digest = failure.get("digest") if isinstance(failure, dict) else None
    return digest if isinstance(digest, str) else None


def mark_file(record: Path) -> Path:
    """Return the file beside ``record`` that says how far it has been verified."""
    return record.with_name(f"{VERIFIED}{record.name}")


def cost_file(folder: Path, setup: str) -> Path:
    """Return the file in a board's ``folder`` with the cost of the methods of ``setup``."""
    return folder / setup / COST


def cost_files(root: Path) -> list[Path]:
    """Return the cost files of all boards under ``root``, sorted."""
    return sorted(results_folder(root).glob(f"*/*/{COST}"))


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


def leaderboards_of(record: Path) -> Path:
    """Return the folder ``leaderboards`` that ``record`` lies in."""
    return record.parents[4] if len(record.parents) > 4 else record.parent


class Marks(NamedTuple):
    """What the files beside a record say of its verification: its ``level``, which is 2 when ``verify --keep`` marked
    it as its bytes are now, 3 and 4 when one or several maintainers signed that they trained it again, else 1; and as
    ``problems``, which of them are of other bytes than it has now, or say a level that only a statement gives."""

    level: int
    problems: list[str]


def read_marks(record: Path) -> Marks:
    """Read the mark of ``verify --keep`` and the signed statements beside ``record``."""
    signed, problems = read_statements(record, leaderboards_of(record))
    path = mark_file(record)
    kept = 1
    if path.exists():
        mark = read_json(path, "verification")
        mark = mark if isinstance(mark, dict) else {}
        if mark.get("record_sha256") != file_digest(record):
            problems.append(
                f"it was changed after {path.name} was written: verify it with --run FOLDER --keep, or delete that file"
            )
        elif type(level := mark.get("level")) is not int or level not in (1, 2):
            problems.append(
                f"{path.name} says level {printable(level)}: levels above 2 come from maintainers' signed statements"
            )
        else:
            kept = level
    return Marks(min(2 + len(signed), 4) if signed else kept, problems)


def strays(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield what lies below ``leaderboards/`` and does not belong there, with what it is: links, files that nothing
    wrote, marks of no record and pages of no board."""
    top = pages_folder(root)
    pages = {f"{p.parents[2].name}.md" for p in results_folder(root).glob("*/*/*/seed*.json")}
    for folder, folders, files in os.walk(top):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            if path.is_symlink():
                yield path, "it is a link: files of the leaderboards are whole"
            elif (
                name in files and not (name.startswith(".") and name.endswith(PART)) and not _belongs(path, top, pages)
            ):
                what = "page of no board with records" if path.parent == top and path.suffix == ".md" else "stray file"
                yield path, f"it is a {what}: delete it"


def _belongs(path: Path, top: Path, pages: set[str]) -> bool:
    parts = path.relative_to(top).parts
    if len(parts) == 1:
        return parts[0] in {"README.md", "index.html", "verifiers.toml", ".gitattributes", *pages}
    if len(parts) == 4:
        return parts[0] == "results" and parts[3] == COST
    if len(parts) != 5 or parts[0] != "results":
        return False
    kind = BESIDE.fullmatch(parts[4])
    if kind is None:
        return False
    of = kind["record"] or kind["signed"] or kind["reported"]
    alone = kind["record"] and not parts[4].startswith(VERIFIED)
    return bool(alone) or path.with_name(f"{of}.json").is_file()


BESIDE = re.compile(
    r"(?:verified-|failed-)?(?P<record>seed[0-9]{1,10})\.json"
    r"|verified-(?P<signed>seed[0-9]{1,10})\.[a-z0-9_-]+\.json(\.sig)?"
    r"|(?P<reported>seed[0-9]{1,10})\.(html|npz)"
)
"""Names of the files in the folder of a row."""
