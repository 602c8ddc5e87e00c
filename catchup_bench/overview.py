"""The index of the leaderboards: what each board that has records found, and which boards wait."""

from collections.abc import Mapping

from . import board as boards
from .table import Row, Table

HEAD = ["| board | what it answers | best tier | runs | hardware |", "| :-- | :-- | :-- | --: | :-- |"]


def section(tables: Mapping[str, Table]) -> str:
    """Markdown: a line per board of ``tables``, then the boards without any record."""
    lines = [*HEAD, *[line(name, t) for name, t in tables.items()]]
    waiting = [name for name in boards.available() if name not in tables and name != boards.DEMO]
    if waiting:
        lines += ["", "Not run:", ""]
    for name in waiting:
        board = boards.load(name)
        lines.append(f"- {board.title}. {board.question} `catchup-bench leaderboard run {name}`")
    return "\n".join(lines)


def line(name: str, t: Table) -> str:
    best = ", ".join(row.label for row in best_tier(t)) or "no tiers"
    hardware = "; ".join(t.facts["device"])
    shown = [f"[{t.board.title}]({name}.md)", t.board.question, best, str(runs(t)), hardware]
    return f"| {' | '.join(text.replace('|', '&#124;') for text in shown)} |"


def runs(t: Table) -> int:
    """Records that count."""
    return sum(len(row.records) for row in t.rows)


def best_tier(t: Table) -> list[Row]:
    """The methods that share the first letter, so cannot be told apart; none where nothing has a letter."""
    return [row for row in t.rows if "A" in row.tier]
