"""The words and numbers of a table that every form of a page shares."""

import math

from ..boards import Column, paper
from . import findings
from .table import Row, Table

ARROWS = {"error": "↓", "accuracy": "↑", "fpr95": "↓", "auroc": "↑", "aupr": "↑"}

INSIDE = {True: " ✓", False: " ✗", None: ""}

BESIDE = [
    "Ours − printed = difference; ✓ where the printed value lies inside our 95 % t interval over seeds,",
    "✗ where it does not.",
]


def value_text(row: Row, column: Column) -> str:
    """What a column shows of a row: marked when an attack's outcome in it is suspicious, with its number of seeds when
    that is not the row's."""
    if column.name not in row.values:
        return "not run"
    mean, std, n = row.values[column.name]
    text = f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f} ± {std:.2f}"
    return text + f" (n = {n})" * (n != row.n) + " !" * (column.name in row.doubts)


def column_header(column: Column) -> str:
    return f"{column.name} {ARROWS[column.metric]}"


def level_dots(state: int) -> str:
    """Level of verification out of four."""
    return "●" * state + "○" * (4 - state)


def absence(row: Row) -> str:
    """What stands in place of the numbers of a row without any."""
    return "failed" if row.failed else "not run"


def seed_count(row: Row) -> str:
    return f"{row.n}, {row.failed} failed" if row.failed else f"{row.n}"


def row_texts(row: Row, columns: list[Column], bold: str | None) -> list[str]:
    if not row.n:
        return ["", "", row.label, *[absence(row)] + [""] * (len(columns) - 1), "", seed_count(row), ""]
    values = [f"**{value_text(row, c)}**" if c.name == bold else value_text(row, c) for c in columns]
    ranks = "–".join(map(str, dict.fromkeys(row.rank or ())))
    cost = "" if row.cost is None else f"×{row.cost:.2f}"
    label = f"{row.label} (loaded)" if row.loaded else row.label
    return [row.tier, ranks, label, *values, cost, seed_count(row), level_dots(row.state)]


def how_to_read(t: Table) -> list[str]:
    """How the table is to be read."""
    return [
        f"Percent, mean ± standard deviation over n seeds, last epoch. Ranked by {t.board.rank}.",
        f"Methods that share a tier letter are not separable: {t.test}. "
        "Rank: 95 % interval under resampling of seeds and test images.",
        "Cost: time of a training step relative to the baseline's, interleaved in one process. "
        "State: verification, one dot when its records agree with their bits and digests, "
        "two when all were evaluated again.",
    ]


def paper_columns(t: Table) -> list[Column]:
    return [c for c in t.board.columns if c.paper]


def paper_table(t: Table) -> list[list[str]]:
    """The head, then a line per method."""
    columns = paper_columns(t)
    lines = [["method", *map(column_header, columns), *(["cost"] if t.board.cost_paper else [])]]
    for row in t.rows:
        shown = [beside_text(findings.beside(t, row, c)) for c in columns]
        if t.board.cost_paper:
            shown.append(beside_text(findings.beside_cost(t, row)))
        lines.append([row.label, *shown])
    return lines


def paper_notes(t: Table) -> list[str]:
    """What is to be known of the printed columns, and where the paper contradicts itself."""
    columns = paper_columns(t)
    notes = {f"{c.name}: {note}." for c in columns if (note := paper.column(c.paper).note)}
    return [*sorted(notes), *paper.inconsistencies({paper.column(c.paper).table for c in columns})]


def beside_text(found: findings.Beside | None) -> str:
    if found is None:
        return ""
    return f"{found.ours:.2f} − {found.printed:.2f} = {found.difference:+.2f}{INSIDE[found.inside]}"


def setup_texts(t: Table) -> list[tuple[str, str]]:
    """Name of each setup, and what is trained and evaluated in it."""
    found = []
    for setup in t.board.setups:
        share = f", {setup.fraction:.0%} of the training images" if setup.fraction < 1 else ""
        options = f" with {', '.join(t.board.set)}" if t.board.set else ""
        of_methods = f"; {', '.join(setup.set)}" if setup.set else ""
        text = (
            f"{setup.dataset}{share}; {setup.model} of width {setup.width}; recipe {setup.recipe}; "
            f"suites {', '.join(setup.suites)}{options}{of_methods}"
        )
        found.append((setup.name, text))
    return found
