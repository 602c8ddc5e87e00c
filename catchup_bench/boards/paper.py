"""The printed numbers of the Catch-up Mix paper (AAAI 2024, arXiv 2401.13193), to stand beside our own."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..errors import pick


@dataclass(frozen=True)
class Printed:
    """A column of one of the paper's tables. ``rows``: the name of a row → its value, ``None`` where the cell is
    empty."""

    id: str
    note: str
    rows: dict[str, float | None]

    @property
    def table(self) -> int:
        return int(self.id[1:].partition(".")[0])


@cache
def _printed() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("paper_tables.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def column(name: str) -> Printed:
    """The printed column called ``name``, such as ``T1.mce``. Raises :class:`UsageError` for an unknown one."""
    columns = _printed()["columns"]
    entry = columns[pick("column of the paper", name, columns)]
    rows = {row: value["value"] if isinstance(value, dict) else value for row, value in entry["rows"].items()}
    return Printed(id=name, note=entry.get("note", ""), rows=rows)


def names_of_columns() -> list[str]:
    return list(_printed()["columns"])


def inconsistencies(tables: set[int]) -> list[str]:
    """Where the paper contradicts itself or leaves open what was done, for some of its tables."""
    return [i["text"] for i in _printed()["inconsistencies"] if tables & set(i["tables"])]
