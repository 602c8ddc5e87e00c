"""Print tables on the terminal: the same numbers as on the pages, in rich."""

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from ..leaderboard.table import Row, Table
from ..leaderboard.wording import TRAINED_ON, absence, against_difference, column_header, row_texts, value_text
from ..records.attack_checks import LEGEND, suspicions
from ..records.record import Outcome

if TYPE_CHECKING:
    from ..speed.sheets import Sheet
    from ..verification.method import Check


def print_grid(title: str, head: Iterable[str], rows: Iterable[list[str]], left: int = 1) -> None:
    """Print a table on stdout, as wide as it needs to be where there is no terminal to fit."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = RichTable(title=title, title_justify="left", header_style="bold")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < left else "right", overflow="fold")  # names differ at their ends
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_table(t: Table) -> None:
    """Print a board, its columns one below the other, since there are more of them than methods."""
    names = [row.label for row in t.rows]
    body = [
        [column_header(c), *(value_text(r, c) if r.values else absence(r) for r in t.rows)] for c in t.board.columns
    ]
    whole = [row_texts(t, r, [], None) for r in t.rows]
    for name, i in (("tier", 0), ("vs baseline", 3), ("cost", -3), ("seeds", -2)):
        body.append([name, *(c[i] for c in whole)])
    print_grid(f"{t.board.title} (percent, mean ± std over seeds; best first by {t.board.rank})", ["", *names], body)
    if any(row.doubts for row in t.rows):
        Console().print(LEGEND, highlight=False)
    if any(r.trained_on for r in t.rows):
        Console().print(TRAINED_ON, highlight=False)


def table_json(t: Table) -> dict[str, Any]:
    """Return a board as JSON: values are [mean, standard deviation or null, seeds] in percent."""
    rows = [row_json(t, row) for row in t.rows]
    return {"board": t.board.title, "rank": t.board.rank, "test": t.test, "rows": rows}


def row_json(t: Table, row: Row) -> dict[str, Any]:
    """Return a row as JSON; ``against`` has the verdict, and the difference with its interval in percentage points."""
    values = {
        name: [float(v.mean), None if v.variance is None else math.sqrt(v.variance), v.n]
        for name, v in row.values.items()
    }
    shown = against_difference(t, row)
    against = None
    if row.against is not None and shown is not None:
        difference, low, high = map(float, shown)
        against = {"verdict": row.against.verdict, "difference": difference, "low": low, "high": high}
    kept = {f.name: getattr(row, f.name) for f in fields(row)}
    return kept | {"values": values, "against": against}


def outcomes_json(outcomes: dict[str, Outcome]) -> dict[str, dict[str, Any]]:
    """Return top-1 error in percent, number of images and what is suspicious, by condition."""
    doubts = suspicions(outcomes)
    return {c: {"error": o.error, "n": o.n, "suspicious": doubts.get(c, [])} for c, o in outcomes.items()}


def print_outcomes(shown: dict[str, dict[str, str]]) -> None:
    """Print summaries of runs side by side."""
    names = list(dict.fromkeys(name for rows in shown.values() for name in rows))
    body = [[escape(name), *(escape(rows.get(name, "")) for rows in shown.values())] for name in names]
    print_grid("top-1 error in percent [95 % interval]", ["condition", *shown], body)


def print_sheets(sheets: "list[Sheet]") -> None:
    """Print what a benchmark measured."""
    for sheet in sheets:
        print_grid(sheet.title, sheet.head, sheet.rows, sheet.left)
        if sheet.note:
            Console().print(sheet.note, highlight=False)


def print_estimate(estimate: dict[str, Any]) -> None:
    """Print the missing runs of a board, and the hours they need."""
    rows = []
    for s in estimate["setups"]:
        there = s["data"]["present"]
        hours = "?" if s["hours"] is None else f"{s['hours']:,.1f}"
        passes = f"{s['epochs']} epochs, {s['conditions']} conditions"
        rows.append([s["setup"], str(s["runs"]), passes, "there" if there else "missing", hours])
    print_grid(
        f"{estimate['board']}: {len(estimate['missing'])} runs missing",
        ["setup", "runs", "each", "data", "hours"],
        rows,
    )
    console = Console(soft_wrap=True, highlight=False)
    for s in estimate["setups"]:
        rows_of: dict[str, list[str]] = {}
        for row, seeds in s["cells"].items():
            rows_of.setdefault(", ".join(map(str, seeds)), []).append(row)
        missing = "; ".join(f"seeds {seeds} of {', '.join(names)}" for seeds, names in rows_of.items())
        console.print(f"{s['setup']}: {missing}", markup=False)
        if not s["data"]["present"]:
            how = s["data"].get("fetched by") or s["data"].get("obtain", "")
            console.print(f"{s['setup']}: no {s['data']['folder']}; it comes from: {how}", markup=False)
        if s["pretrained"]:
            console.print(f"{s['setup']}: {s['pretrained']}", markup=False)
    learnt = sum(s["learnt"] for s in estimate["setups"])
    console.print(
        f"Hours: of one process here; for {learnt} of {len(estimate['missing'])} runs as long as finished ones of the "
        "same method and network took, for the others the baseline's time, of finished runs or of a step on noise now, "
        "times the method's cost."
    )


def print_checks(method: str, checks: "list[Check]") -> None:
    """Print the checks of a method's contract."""
    rows = [[c.name, "✓" if c.ok else "✗", c.detail] for c in checks]
    print_grid(f"the contract of {method}", ["check", "", "seen"], rows, left=3)


HIDDEN = ("options", "takes", "file", "source", "runs", "cost by setup")
"""Properties that only the long form of a list shows."""


def print_catalog(entries: list[dict[str, Any]], long: bool) -> None:
    """Print names with their most important properties; with ``long`` all of them, an entry a block."""
    if not long:
        shown = [k for k in (entries[0] if entries else {}) if k not in HIDDEN]
        return print_grid("", shown, [[text_of(e[k]) for k in shown] for e in entries], left=len(shown))
    console = Console()
    for entry in entries:
        console.print(f"[bold]{entry['name']}[/bold]")
        for key, value in entry.items():
            if key != "name":
                console.print(f"  {key}: {text_of(value)}", highlight=False, markup=False)


def text_of(value: Any) -> str:
    """Return ``value`` on one line, without brackets."""
    if isinstance(value, dict):
        return "; ".join(f"{k}: {text_of(v)}" if isinstance(v, dict) else f"{k} {text_of(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
