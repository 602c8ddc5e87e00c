"""Write the leaderboards as one page that needs nothing else: a pure function of the tables.

Boards and labels are untrusted: the template escapes every string, and the page's own policy lets nothing run or load
but its own script.
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Set
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ..records.attack_checks import LEGEND
from ..records.results_folder import pages_folder, report_file, results_folder
from ..system.files import write_text
from . import claims, curves, findings, plots, schedule
from .pages import published_tables
from .statistics import decimal
from .table import Row, Table, record_count
from .wording import (
    ARROWS,
    BESIDE,
    against_difference,
    beside_title,
    column_header,
    column_notes,
    how_to_read,
    paper_columns,
    paper_notes,
    paper_table,
    row_texts,
    setup_texts,
)

TITLE = "catchup-bench: leaderboards"

LOW_FIRST, HIGH_FIRST = "ascending", "descending"


class Head(NamedTuple):
    """A column's header, in which order a click sorts first, and whether the published table is sorted by it."""

    text: str
    first: str
    number: bool = False
    sorted: bool = False


class TableEntry(NamedTuple):
    """What an entry of the table shows, and the value that it is sorted by; one without stays last."""

    text: str
    key: str | None
    number: bool = False


def write_html(root: Path, out: Path | None = None) -> Path:
    """Write the page of all boards that have records in ``root`` to ``out``, and return its path.

    Raises :class:`NothingSelected` when there are none, :class:`UsageError` without matplotlib.
    """
    folder = pages_folder(root)
    out = out or folder / "index.html"
    tables = published_tables(root)
    reports = reports_beside(tables, results_folder(root))
    write_text(out, html_page(tables, Path(os.path.relpath(folder, out.parent)).as_posix(), reports))
    return out


def reports_beside(tables: Mapping[str, Table], results: Path) -> set[str]:
    """Return the records that have a report beside them in ``results``, as board and path."""
    return {
        f"{name}/{path}"
        for name, t in tables.items()
        for row in t.rows
        for path in row.records
        if report_file(results / name / path).exists()
    }


def html_page(tables: Mapping[str, Table], folder: str = ".", reports: Set[str] = frozenset()) -> str:
    """Return the page; ``folder`` is where the boards' pages and records are, relative to it, ``reports`` the records,
    as board and path, that have a report beside them."""
    script = asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True, loader=FunctionLoader(asset)
    )
    return environment.get_template("page.html").render(
        title=TITLE,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'",
        style=Markup(asset("page.css")),
        script=Markup(script),
        runs=sum(map(record_count, tables.values())),
        sections=[section(name, t, folder, reports) for name, t in tables.items()],
        beside=" ".join(BESIDE),
        schedule_title=schedule.TITLE,
        schedule_read=schedule.READ,
    )


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def section(name: str, t: Table, folder: str, reports: Set[str]) -> dict[str, Any]:
    """Return what the template shows of a board."""
    doubts = any(c.name in row.doubts for row in t.rows for c in t.board.columns)
    return {
        "name": name,
        "title": t.board.title,
        "question": t.board.question,
        "page": f"{folder}/{name}.md",
        "results": f"{folder}/results/{name}",
        "heads": list(heads(t)),
        "rows": [
            {"entries": list(entries(t, row)), "records": [(p, report_of(name, p, reports)) for p in row.records]}
            for row in t.rows
        ],
        "example": next((path for row in t.rows for path in row.records), None),
        "notes": [*how_to_read(t), *([f"{LEGEND}."] if doubts else [])],
        "plots": list(drawn(name, t)),
        "curves": list(curves.of_board(t, name)),
        "findings": [*schedule.sentences(t), *findings.sentences(t)],
        "claims": {"title": claims.title(t), "table": claims.table(t), "sentences": claims.sentences(t)},
        "schedule": schedule.schedule_table(t),
        "columns": column_notes(t),
        "paper": paper_table(t) if paper_columns(t) else [],
        "beside": beside_title(t),
        "paper_notes": paper_notes(t),
        "differs": t.board.differs,
        "protocol": [*setup_texts(t), *((k, "; ".join(v)) for k, v in t.facts.items() if v)],
    }


def report_of(name: str, path: str, reports: Set[str]) -> str:
    """Return the path of the report beside a record, empty where there is none."""
    return report_file(Path(path)).as_posix() if f"{name}/{path}" in reports else ""


def heads(t: Table) -> Iterator[Head]:
    """Yield the headers of a board's table, but that of its records."""
    yield from (Head(word, LOW_FIRST) for word in ("method", "tier", "rank"))
    rank = t.board.column(t.board.rank)
    yield Head("vs baseline", LOW_FIRST if ARROWS[rank.metric] == "↓" else HIGH_FIRST, True)
    for column in t.board.columns:
        first = LOW_FIRST if ARROWS[column.metric] == "↓" else HIGH_FIRST
        yield Head(column_header(column), first, True, column is rank)
    yield from (Head("cost", LOW_FIRST, True), Head("n", HIGH_FIRST, True), Head("state", HIGH_FIRST, True))


def entries(t: Table, row: Row) -> Iterator[TableEntry]:
    """Yield what the markdown page shows of a row, the method first as it stays in sight."""
    columns = list(t.board.columns)
    shown = against_difference(t, row)
    values = [decimal(row.values[c.name].mean, 6) if c.name in row.values else None for c in columns]
    keys: list[Any] = [row.tier or None, row.rank[0] if row.rank else None, row.label]
    keys += [decimal(shown[0], 6) if shown else None, *values, row.cost]
    keys += [row.n, row.state] if row.n else [None, None]
    pairs = list(zip(keys, row_texts(t, row, columns, None), strict=True))
    for i, (key, text) in enumerate([pairs[2], *pairs[:2], *pairs[3:]]):
        yield TableEntry(text, None if key is None else str(key), i > 2)


def drawn(name: str, t: Table) -> Iterator[dict[str, Any]]:
    """Yield the plots that have something to show, each with its caption."""
    better = "down" if t.board.column(t.board.rank).metric == "error" else "up"
    for image, caption in (
        (plots.intervals(t, name), f"{t.board.rank}, with its 95 % t interval over seeds"),
        (plots.against_cost(t, name), f"{t.board.rank} against cost: {better} and to the left is better"),
    ):
        if image:
            yield {"image": image, "caption": caption}
