"""Which code made a number."""

import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any


@cache
def code() -> dict[str, Any]:
    """Commit of the checkout this package runs from, and whether its code differs from it; empty when installed."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(here, "rev-parse", "HEAD")
    changed = _git(here, "status", "--porcelain", "--", "catchup_bench", "methods")
    return {"commit": commit or None, "dirty": None if commit is None else bool(changed)}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def stamp() -> dict[str, Any]:
    return {**code(), "date": datetime.now(UTC).date().isoformat()}
