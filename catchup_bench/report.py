"""Tables on the terminal. The same numbers as on the pages, in rich."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable

from .render import cells, header, marked
from .results import Outcome
from .stats import wilson
from .suspicion import LEGEND, suspicions
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
    body = [[header(c), *(marked(r, c) if r.n else "not run" for r in t.rows)] for c in t.board.columns]
    whole = [cells(r, [], None) for r in t.rows]
    for name, i in (("tier", 0), ("cost", -3), ("seeds", -2)):
        body.append([name, *(c[i] for c in whole)])
    grid(f"{t.board.title} (percent, mean ± std over seeds; best first by {t.board.rank})", ["", *names], body)
    if any(row.doubts for row in t.rows):
        Console().print(LEGEND, highlight=False)


def table_json(t: Table) -> dict[str, Any]:
    return {"board": t.board.title, "rank": t.board.rank, "test": t.test, "rows": [asdict(r) for r in t.rows]}


def summarise(outcomes: dict[str, Outcome], suites: "dict[str, Suite]") -> dict[str, str]:
    """Top-1 errors by row: of single conditions with their 95 % Wilson intervals, and means over several. Then what
    else a suite has to show, and why an error is marked with "!"."""
    doubts = suspicions(outcomes)
    rows = {}
    for suite in suites.values():
        for name, conditions in suite.summary().items():
            rows[name] = _error([outcomes[c] for c in conditions]) + " !" * any(c in doubts for c in conditions)
        rows |= {name: f"{number:.4g}" for name, number in suite.figures(outcomes).items()}
    evaluated = {c for suite in suites.values() for c in suite.conditions()}
    return rows | {f"! {c}": "; ".join(reasons) for c, reasons in doubts.items() if c in evaluated}


def print_outcomes(shown: dict[str, dict[str, str]]) -> None:
    """Summaries of runs side by side."""
    names = list(dict.fromkeys(name for rows in shown.values() for name in rows))
    body = [[name, *(rows.get(name, "") for rows in shown.values())] for name in names]
    grid("top-1 error in percent [95 % interval]", ["condition", *shown], body)


def _error(outcomes: list[Outcome]) -> str:
    mean = sum(o.error for o in outcomes) / len(outcomes)
    if len(outcomes) > 1:
        return f"{mean:.2f} mean of {len(outcomes)}"
    low, high = wilson(outcomes[0].n - outcomes[0].correct, outcomes[0].n)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def print_costs(found: dict[str, Any]) -> None:
    """Ratios of step times, cheapest first, with the passes that explain them."""
    from .registry import method_class

    ranked = sorted(found["methods"].items(), key=lambda item: item[1]["ratio"])
    rows = [[m, f"×{c['ratio']:.3f}", f"{c['low']:.3f}–{c['high']:.3f}", method_class(m).passes] for m, c in ranked]
    where = found["provenance"]
    title = (
        f"step relative to the baseline's {found['baseline_seconds_per_step']:.3f} s: {found['model']}, "
        f"{found['image_size']} px, batch {found['batch_size']}, {where['precision']}, {where['device']}"
    )
    grid(title, ["method", "cost", "quartiles", "passes"], rows)


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
