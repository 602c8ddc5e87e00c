"""A table as markdown, written to ``leaderboards/`` and between the markers of the README, and checked there."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from . import board as boards
from . import findings, overview, paper, table
from .board import Column
from .errors import NothingSelected, UsageError
from .files import write_text
from .suspicion import LEGEND
from .table import Row, Table

ARROWS = {"error": "↓", "accuracy": "↑", "fpr95": "↓", "auroc": "↑", "aupr": "↑"}
INSIDE = {True: " ✓", False: " ✗", None: ""}


def marked(row: Row, column: Column) -> str:
    """What a column shows of a row: marked when an attack's outcome in it is suspicious, with its number of seeds when
    that is not the row's."""
    if column.name not in row.values:
        return "not run"
    mean, std, n = row.values[column.name]
    text = f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f} ± {std:.2f}"
    return text + f" (n = {n})" * (n != row.n) + " !" * (column.name in row.doubts)


def header(column: Column) -> str:
    return f"{column.name} {ARROWS[column.metric]}"


def dots(state: int) -> str:
    """Level of verification out of four."""
    return "●" * state + "○" * (4 - state)


def absent(row: Row) -> str:
    """What stands in place of the numbers of a row without any."""
    return "failed" if row.failed else "not run"


def seeds(row: Row) -> str:
    return f"{row.n}, {row.failed} failed" if row.failed else f"{row.n}"


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def cells(row: Row, columns: list[Column], bold: str | None) -> list[str]:
    if not row.n:
        return ["", "", row.label, *[absent(row)] + [""] * (len(columns) - 1), "", seeds(row), ""]
    values = [f"**{marked(row, c)}**" if c.name == bold else marked(row, c) for c in columns]
    ranks = "–".join(map(str, dict.fromkeys(row.rank or ())))
    cost = "" if row.cost is None else f"×{row.cost:.2f}"
    label = f"{row.label} (loaded)" if row.loaded else row.label
    return [row.tier, ranks, label, *values, cost, seeds(row), dots(row.state)]


def markdown_table(t: Table, columns: list[Column]) -> str:
    """Best first. The ranking column is bold in the first row only when no other method shares its tier."""
    head = ["tier", "rank", "method", *map(header, columns), "cost", "n", "state"]
    alone = bool(t.rows[0].tier) and sum(set(r.tier) & set(t.rows[0].tier) != set() for r in t.rows) == 1
    lines = [line(head), line([":-:", ":-:", ":--", *["--:"] * len(columns), "--:", "--:", ":-:"])]
    for i, row in enumerate(t.rows):
        lines.append(line(cells(row, columns, t.board.rank if i == 0 and alone else None)))
    if any(c.name in row.doubts for row in t.rows for c in columns):
        lines += ["", f"{LEGEND}."]
    return "\n".join(lines)


def page(name: str, t: Table) -> str:
    """The whole markdown page of a board."""
    return "\n".join(
        [
            f"# {t.board.title}",
            "",
            t.board.question,
            "",
            markdown_table(t, list(t.board.columns)),
            "",
            *reading(t),
            "",
            *[f"- **{c.name}**: {c.about}" for c in t.board.columns if c.about],
            "",
            *findings_section(t),
            *paper_section(t),
            *protocol(t),
            "",
            f"Reproduce: `catchup-bench leaderboard run {name}`. Records: [results/{name}](results/{name}).",
            "",
        ]
    )


def reading(t: Table) -> list[str]:
    """How the table is to be read."""
    return [
        f"Percent, mean ± standard deviation over n seeds, last epoch. Ranked by {t.board.rank}.",
        f"Methods that share a tier letter are not separable: {t.test}. "
        "Rank: 95 % interval under resampling of seeds and test images.",
        "Cost: time of a training step relative to the baseline's, interleaved in one process. "
        "State: verification, one dot when its records agree with their bits and digests, "
        "two when all were evaluated again.",
    ]


def findings_section(t: Table) -> list[str]:
    said = findings.sentences(t)
    return ["## What the numbers say", "", *[f"- {text}" for text in said], ""] if said else []


def paper_columns(t: Table) -> list[Column]:
    return [c for c in t.board.columns if c.paper]


def paper_section(t: Table) -> list[str]:
    """Ours beside the printed value, for every column that has one."""
    if not paper_columns(t):
        return []
    head, *rows = paper_table(t)
    lines = ["## Beside the paper", "", line(head), line([":--", *["--:"] * (len(head) - 1)]), *map(line, rows)]
    lines += ["", *BESIDE]
    if t.board.differs:
        lines += ["", f"**Not the paper's protocol**: {t.board.differs}."]
    return [*lines, "", *[f"- {text}" for text in paper_notes(t)], ""]


BESIDE = [
    "Ours − printed = difference; ✓ where the printed value lies inside our 95 % t interval over seeds,",
    "✗ where it does not.",
]


def paper_table(t: Table) -> list[list[str]]:
    """The head, then a line per method."""
    columns = paper_columns(t)
    lines = [["method", *map(header, columns), *(["cost"] if t.board.cost_paper else [])]]
    for row in t.rows:
        shown = [versus(findings.beside(t, row, c)) for c in columns]
        if t.board.cost_paper:
            shown.append(versus(findings.beside_cost(t, row)))
        lines.append([row.label, *shown])
    return lines


def paper_notes(t: Table) -> list[str]:
    """What is to be known of the printed columns, and where the paper contradicts itself."""
    columns = paper_columns(t)
    notes = {f"{c.name}: {note}." for c in columns if (note := paper.column(c.paper).note)}
    return [*sorted(notes), *paper.inconsistencies({paper.column(c.paper).table for c in columns})]


def versus(found: findings.Beside | None) -> str:
    if found is None:
        return ""
    return f"{found.ours:.2f} − {found.printed:.2f} = {found.difference:+.2f}{INSIDE[found.inside]}"


def protocol(t: Table) -> list[str]:
    lines = [f"- **{name}**: {text}" for name, text in setups(t)]
    return [
        "## Protocol",
        "",
        *lines,
        *[f"- {name}: {'; '.join(values)}" for name, values in t.facts.items() if values],
    ]


def setups(t: Table) -> list[tuple[str, str]]:
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


def excerpt(name: str, t: Table) -> str:
    """For the README: the first columns of errors, as many as fit a page."""
    shown = [c for c in t.board.columns if c.metric == "error"][:6]
    return (
        markdown_table(t, shown)
        + f"\n\nAll columns and the protocol: [leaderboards/{name}.md](leaderboards/{name}.md)."
    )


def between(text: str, marker: str, content: str) -> str:
    """``text`` with ``content`` between the markers called ``marker``; unchanged when it has none."""
    begin, end = f"<!-- BEGIN {marker} -->", f"<!-- END {marker} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def published(root: Path, made: Mapping[str, Table] = MappingProxyType({})) -> dict[str, Table]:
    """The tables of all boards that have records, but those ``made`` already. Raises :class:`NothingSelected` when
    there is none at all."""
    folder = root / "leaderboards" / "results"
    held = sorted(p.name for p in folder.glob("*/") if p.name.removesuffix(boards.QUICK) in boards.available())
    if not held and not made:
        raise NothingSelected(f"no records in {folder}: run a board first")
    return {name: made.get(name) or table.make(boards.load(name), folder / name) for name in held}


def expected(root: Path, only: str | None = None, recipe: str | None = None) -> dict[Path, str]:
    """Every generated file of the leaderboards in ``root``, as the records give it."""
    folder = root / "leaderboards"
    if only is None:
        tables = published(root)
    else:
        name = boards.stem(only, recipe)
        tables = {name: table.make(boards.load(only, recipe), folder / "results" / name)}
    files = {folder / f"{name}.md": page(name, t) for name, t in tables.items()}
    readme, index = root / "README.md", folder / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        for name, t in tables.items():
            text = between(text, f"board: {name}", excerpt(name, t))
        files[readme] = text
    if index.exists():
        every = published(root, tables) if only is not None else tables
        files[index] = between(index.read_text(encoding="utf-8"), "boards", overview.section(every))
    return files


def write(root: Path, only: str | None = None, recipe: str | None = None) -> list[Path]:
    files = expected(root, only, recipe)
    for path, text in files.items():
        write_text(path, text)
    return list(files)


def stale(root: Path, only: str | None = None, recipe: str | None = None) -> list[str]:
    """Generated files that are not what the records give."""
    return [
        str(path.relative_to(root))
        for path, text in expected(root, only, recipe).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def find_root(given: Path | None) -> Path:
    """The folder that holds ``leaderboards/``: the nearest one upwards from here."""
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"--root {given} is not a folder")
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "leaderboards").is_dir():
            return folder
    raise UsageError("no leaderboards/ folder here or above: run this in a checkout, or give --root")
