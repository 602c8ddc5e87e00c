"""Stored records as plain JSON values, for tests that change one by hand."""

from pathlib import Path
from typing import Any

from catchup_bench.records.compact import expand
from catchup_bench.system.files import read_json


def written_out(path: Path) -> Any:
    """Return the record in ``path`` with everything written out in each condition."""
    return expand(read_json(path, "record"))
