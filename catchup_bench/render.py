"""A table as markdown, written to ``leaderboards/`` and between the markers of the README, and checked there."""

import math
import re
from pathlib import Path

from . import board as boards
from . import table
from .board import Column
from .errors import NothingSelected, UsageError
from .files import write_text
from .suspicion import LEGEND
from .table import Row, Table

ARROWS = {"error": "↓", "accuracy": "↑"}


def cell(value: tuple[float, float]) -> str:
    mean, std = value
    return f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def marked(row: Row, column: Column) -> str:
    """What a column shows of a row, marked when an attack's outcome in it is suspicious."""
    return cell(row.values[column.name]) + " !" * (column.name in row.doubts)


def header(column: Column) -> str:
    return f"{column.name} {ARROWS[column.metric]}"


def dots(state: int) -> str:
    """Level of verification out of four."""
    return "●" * state + "○" * (4 - state)


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def cells(row: Row, columns: list[Column], bold: str | None) -> list[str]:
    if not row.n:
        return ["", "", row.label, *["not run"] + [""] * (len(columns) - 1), "", "0", ""]
    values = [f"**{marked(row, c)}**" if c.name == bold else marked(row, c) for c in columns]
    low, high = row.rank or (0, 0)
    ranks = f"{low}" if low == high else f"{low}–{high}"
    cost = "" if row.cost is None else f"×{row.cost:.2f}"
    return [row.tier, ranks, row.label, *values, cost, str(row.n), dots(row.state)]


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
            f"Percent, mean ± standard deviation over n seeds, last epoch. Ranked by {t.board.rank}.",
            "Methods that share a tier letter are not separable: "
            f"{t.test}. Rank: 95 % interval under resampling of seeds and test images.",
            "Cost: time of a training step relative to the baseline's, interleaved in one process. "
            "State: verification, one dot when a record agrees with its own bits and digests.",
            "",
            *[f"- **{c.name}**: {c.about}" for c in t.board.columns if c.about],
            "",
            *protocol(t),
            "",
            f"Reproduce: `catchup-bench leaderboard run {name}`. Records: [results/{name}](results/{name}).",
            "",
        ]
    )


def protocol(t: Table) -> list[str]:
    lines = ["## Protocol", ""]
    for setup in t.board.setups:
        share = f", {setup.fraction:.0%} of the training images" if setup.fraction < 1 else ""
        lines.append(
            f"- **{setup.name}**: {setup.dataset}{share}; {setup.model} of width {setup.width}; recipe {setup.recipe}; "
            f"suites {', '.join(setup.suites)}{' with ' + ', '.join(t.board.set) if t.board.set else ''}"
        )
    lines += [f"- {name}: {', '.join(values)}" for name, values in t.facts.items() if values]
    return lines


def excerpt(name: str, t: Table) -> str:
    """For the README: the first columns of errors, as many as fit a page."""
    shown = [c for c in t.board.columns if c.metric == "error"][:6]
    return (
        markdown_table(t, shown)
        + f"\n\nAll columns and the protocol: [leaderboards/{name}.md](leaderboards/{name}.md)."
    )


def with_excerpt(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the markers of ``name``; unchanged when it has none."""
    begin, end = f"<!-- BEGIN board: {name} -->", f"<!-- END board: {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def expected(root: Path, only: str | None = None) -> dict[Path, str]:
    """Every generated file of the leaderboards in ``root``, as the records give it."""
    folder = root / "leaderboards"
    shown = [only] if only else [n for n in boards.available() if (folder / "results" / n).is_dir()]
    if not shown:
        raise NothingSelected(f"no records in {folder / 'results'}: run a board first")
    pages = {name: table.make(boards.load(name), folder / "results" / Path(name).stem) for name in shown}
    files = {folder / f"{Path(name).stem}.md": page(name, t) for name, t in pages.items()}
    readme = root / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        for name, t in pages.items():
            text = with_excerpt(text, name, excerpt(name, t))
        files[readme] = text
    return files


def write(root: Path, only: str | None = None) -> list[Path]:
    files = expected(root, only)
    for path, text in files.items():
        write_text(path, text)
    return list(files)


def stale(root: Path, only: str | None = None) -> list[str]:
    """Generated files that are not what the records give."""
    return [
        str(path.relative_to(root))
        for path, text in expected(root, only).items()
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
