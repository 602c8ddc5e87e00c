"""The printed numbers that stand beside our own: those of the Catch-up Mix paper (AAAI 2024, arXiv 2401.13193), and of
two public boards of the same methods."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..errors import pick

FILES = ("paper_tables.json", "public_tables.json")


@dataclass(frozen=True)
class Printed:
    """A column of a printed table. ``rows`` maps the name of a row to its value, ``None`` where the cell is empty; each
    value is the mean of ``runs`` runs, 1 where the source does not say. ``source`` is whose it is, empty for the
    paper's."""

    id: str
    note: str
    rows: dict[str, float | None]
    runs: int = 1
    source: str = ""

    @property
    def table(self) -> str:
        """Return what the table is called."""
        return self.source or f"Table {self.number}"

    @property
    def number(self) -> int | None:
        """Return the number of the paper's table, ``None`` for another source."""
        return None if self.source else int(self.id[1:].partition(".")[0])


@cache
def _printed() -> dict[str, Any]:
    texts = [resources.files(__package__).joinpath(name).read_text(encoding="utf-8") for name in FILES]
    tables = [json.loads(text) for text in texts]
    columns = {name: column for table in tables for name, column in table["columns"].items()}
    return {"columns": columns, "inconsistencies": tables[0]["inconsistencies"]}


def printed_column(name: Any) -> Printed | None:
    """Return the printed column called ``name``, such as ``T1.mce``, ``None`` for an empty name. Raises
    :class:`UsageError` for an unknown one, and :class:`ValueError` for what is no name."""
    if not isinstance(name, str):
        raise ValueError("it takes the name of a column of the paper, such as T1.mce")
    if not name:
        return None
    columns = _printed()["columns"]
    entry = columns[pick("printed column", name, columns)]
    rows = {row: value["value"] if isinstance(value, dict) else value for row, value in entry["rows"].items()}
    return Printed(name, entry.get("note", ""), rows, entry.get("runs", 1), entry.get("source", ""))


def names_of_columns() -> list[str]:
    """Return the names of all printed columns."""
    return list(_printed()["columns"])


def inconsistencies(tables: set[int | None]) -> list[str]:
    """Return where the paper contradicts itself or leaves open what was done, for ``tables``."""
    return [i["text"] for i in _printed()["inconsistencies"] if tables & set(i["tables"])]
