"""What there is to say about data that was read: kept while a command works, printed as its last lines."""

from collections import Counter
from pathlib import Path

LINKED_AGAIN = "linked again"
"""What folders are counted as that a link leads to a second time."""
_lines: dict[str, str] = {}
_skipped: dict[Path, dict[str, Counter[str]]] = {}


def note(about: str, line: str) -> None:
    """Keep ``line``; it replaces an earlier one ``about`` the same."""
    _lines[about] = line


def note_skipped(part: Path, skipped: Counter[str]) -> None:
    """Keep how many files of which kinds in ``part``, a split in its dataset's folder, are no pictures."""
    _skipped.setdefault(part.parent, {})[part.name] = skipped


def take() -> list[str]:
    """Return what was kept, and forget it; of each folder one line counts what was skipped, if anything was."""
    lines = [*_lines.values(), *(line for top, parts in _skipped.items() if (line := _counts(top, parts)))]
    _lines.clear()
    _skipped.clear()
    return lines


def _counts(top: Path, parts: dict[str, Counter[str]]) -> str:
    total: Counter[str] = sum(parts.values(), Counter())
    again = total.pop(LINKED_AGAIN, 0)
    files = f"{total.total():,} files: " + ", ".join(f"{n:,} {kind}" for kind, n in sorted(total.items()) if n)
    skipped = [files] * bool(total.total()) + [f"{again:,} linked folders that were read already"] * bool(again)
    return f"{top}: skipped {' and '.join(skipped)}" if skipped else ""
