"""Tables on the terminal. The same numbers as on the pages, in rich."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable

from .render import cell, cells, header
from .results import Outcome
from .stats import wilson
from .table import Table

if TYPE_CHECKING:
    from .conformance import Check
    from .suites import Suite


def grid(title: str, head: Iterable[str], rows: Iterable[list[str]], left: int = 1) -> None:
    """A table on stdout; as wide as it needs to be where there is no terminal to fit."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = RichTable(title=title, title_justify="left", header_style="bold")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < left else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_table(t: Table) -> None:
    """A board; its columns one below the other, since there are more of them than methods."""
    names = [row.label for row in t.rows]
    body = [[header(c), *(cell(r.values[c.name]) if r.n else "not run" for r in t.rows)] for c in t.board.columns]
    whole = [cells(r, [], None) for r in t.rows]
    for name, i in (("tier", 0), ("cost", -3), ("seeds", -2)):
        body.append([name, *(c[i] for c in whole)])
    grid(f"{t.board.title} (percent, mean ± std over seeds; best first by {t.board.rank})", ["", *names], body)


def table_json(t: Table) -> dict[str, Any]:
    return {"board": t.board.title, "rank": t.board.rank, "test": t.test, "rows": [asdict(r) for r in t.rows]}


def print_outcomes(found: dict[str, dict[str, Outcome]], suites: "dict[str, Suite]") -> None:
    """Top-1 errors with their 95 % Wilson intervals, one run a column."""
    wanted = [c for suite in suites.values() for c in suite.conditions()]
    body = []
    for condition in wanted:
        row = [condition]
        for outcomes in found.values():
            outcome = outcomes[condition]
            low, high = wilson(outcome.n - outcome.correct, outcome.n)
            row.append(f"{outcome.error:.2f} [{low:.2f}, {high:.2f}]")
        body.append(row)
    grid("top-1 error in percent [95 % interval]", ["condition", *(f.rsplit("/", 1)[-1] for f in found)], body)


def print_checks(method: str, checks: "list[Check]") -> None:
    rows = [[c.name, "✓" if c.ok else "✗", c.detail] for c in checks]
    grid(f"the contract of {method}", ["check", "", "seen"], rows, left=3)


def print_catalog(entries: list[dict[str, Any]], long: bool) -> None:
    """Names with what is most worth knowing; with ``long`` all that is known, an entry a block."""
    if not long:
        shown = [k for k in (entries[0] if entries else {}) if k not in ("options", "file", "source", "runs")]
        return grid("", shown, [[text(e[k]) for k in shown] for e in entries], left=len(shown))
    console = Console()
    for entry in entries:
        console.print(f"[bold]{entry['name']}[/bold]")
        for key, value in entry.items():
            if key != "name":
                console.print(f"  {key}: {text(value)}", highlight=False, markup=False)


def text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {text(v)}" if isinstance(v, dict) else f"{k} {text(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
