"""The printed numbers of the Catch-up Mix paper (AAAI 2024, arXiv 2401.13193), to stand beside our own."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..errors import pick


@dataclass(frozen=True)
class Printed:
    """A column of one of the paper's tables. ``rows`` maps the name of a row to its value, ``None`` where the cell is
    empty; each value is the mean of ``runs`` runs, 1 where the paper does not say."""

    id: str
    note: str
    rows: dict[str, float | None]
    runs: int = 1

    @property
    def table(self) -> int:
        """Return the number of the table."""
        return int(self.id[1:].partition(".")[0])


@cache
def _printed() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("paper_tables.json").read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)
    return values


def column(name: str) -> Printed:
    """Return the printed column called ``name``, such as ``T1.mce``. Raises :class:`UsageError` for an unknown one."""
    columns = _printed()["columns"]
    entry = columns[pick("column of the paper", name, columns)]
    rows = {row: value["value"] if isinstance(value, dict) else value for row, value in entry["rows"].items()}
    return Printed(id=name, note=entry.get("note", ""), rows=rows, runs=entry.get("runs", 1))


def names_of_columns() -> list[str]:
    """Return the names of all printed columns."""
    return list(_printed()["columns"])


def inconsistencies(tables: set[int]) -> list[str]:
    """Return where the paper contradicts itself or leaves open what was done, for ``tables``."""
    return [i["text"] for i in _printed()["inconsistencies"] if tables & set(i["tables"])]
