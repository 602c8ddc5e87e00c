"""Every path below ``leaderboards/results/``, and the marks of verification beside the records."""

import hashlib
from pathlib import Path

from ..errors import NothingSelected, UsageError
from ..system.files import file_digest, read_json


def record_files(root: Path) -> list[Path]:
    """Every record under ``leaderboards/results``. Raises :class:`NothingSelected` when there is none."""
    found = sorted((root / "leaderboards" / "results").glob("*/*/*/seed*.json"))
    if not found:
        raise NothingSelected(f"no records in {root / 'leaderboards' / 'results'}: run a board first")
    return found


def find_root(given: Path | None) -> Path:
    """The folder that holds ``leaderboards/``: the nearest one upwards from here."""
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"--root {given} is not a folder")
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "leaderboards").is_dir():
            return folder
    raise UsageError("no leaderboards/ folder here or above: run this in a checkout, or give --root")


def kept_level(record: Path) -> int:
    """1, or what ``verify --keep`` wrote beside the record, as long as that was of these very bytes."""
    path = record.with_name(f"verified-{record.name}")
    mark = read_json(path, "verification") if path.exists() else {}
    if not isinstance(mark, dict):
        return 1
    same = mark.get("record_sha256") == hashlib.sha256(record.read_bytes()).hexdigest()
    return int(mark["level"]) if same and mark.get("level") in (1, 2, 3, 4) else 1


def mark_file(record: Path) -> Path:
    """Beside a record: how far it has been verified."""
    return record.with_name(f"verified-{record.name}")


def changed_since_marked(record: Path) -> list[str]:
    """What to say when the mark beside ``record`` is of other bytes than it has now."""
    path = mark_file(record)
    mark = read_json(path, "verification") if path.exists() else {}
    if not path.exists() or (isinstance(mark, dict) and mark.get("record_sha256") == file_digest(record)):
        return []
    return [f"it was changed after {path.name} was written: verify it with --run FOLDER --keep, or delete that file"]
