"""Write a table as markdown: a board's page, the README's excerpt and the index of all boards."""

import re
from collections.abc import Mapping, Sequence

from .. import boards
from ..boards import Column
from ..records.attack_checks import LEGEND
from ..text import markdown as escaped
from . import claims, findings, schedule
from .table import BASELINE, Row, Table, record_count
from .wording import (
    BESIDE,
    TRAINED_ON,
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

OPEN_ROWS = 12
"""Rows that an excerpt shows before a click."""

NOTHING_KNOWN = "Nothing: that needs two seeds or more of the baseline and of another method."

INDEX_HEAD = ["| board | what it answers | what is known | runs | hardware |", "| :-- | :-- | :-- | --: | :-- |"]


def table_line(texts: list[str]) -> str:
    """Return a line of a markdown table."""
    return "| " + " | ".join(texts) + " |"


def markdown_table(t: Table, columns: list[Column], *, state: bool = True, rows: Sequence[Row] | None = None) -> str:
    """Return the table, best first, with the given columns of values, and with that of the ``state`` or without; of all
    rows, or of ``rows``.

    The ranking column is bold in the first row only when that method differs from every other.
    """
    head = ["tier", "rank", "method", "vs baseline", *map(column_header, columns), "cost", "n", "state"]
    align = [":-:", ":-:", ":--", "--:", *["--:"] * len(columns), "--:", "--:", ":-:"]
    end = None if state else -1
    lines = [table_line(head[:end]), table_line(align[:end])]
    rows = t.rows if rows is None else rows
    for row in rows:
        texts = row_texts(t, row, columns, t.board.rank if row is t.rows[0] and _alone(t, row) else None)
        lines.append(table_line(texts[:end]))
    if any(c.name in row.doubts for row in rows for c in columns):
        lines += ["", f"{LEGEND}."]
    return "\n".join(lines)


def _alone(t: Table, row: Row) -> bool:
    ranking = t.ranking
    if ranking is None or row.label not in ranking.rank or len(ranking.rank) < 2:
        return False
    return all(ranking.separable(row.label, other) for other in ranking.rank if other != row.label)


def board_page(name: str, t: Table, inside: Table | None = None) -> str:
    """Return the whole markdown page of a board; ``inside`` is the table of its ``claim_board``, once that has
    records."""
    return "\n".join(
        [
            f"# {t.board.title}",
            "",
            t.board.question,
            "",
            markdown_table(t, list(t.board.columns)),
            "",
            *how_to_read(t),
            "",
            *[f"- **{name}**: {text}" for name, text in column_notes(t)],
            "",
            *findings_section(t),
            *claims_section(t),
            *(claims_section(inside, t.board.claim_board) if inside is not None else []),
            *schedule_section(t),
            *paper_section(t),
            *protocol_section(t),
            "",
            f"Reproduce: `catchup-bench leaderboard run {name}`. Records: [results/{name}](results/{name}).",
            "",
        ]
    )


def findings_section(t: Table) -> list[str]:
    """Return the lines that say which differences are real."""
    texts = [*schedule.sentences(t), *findings.sentences(t)]
    return ["## What the numbers say", "", *[f"- {text}" for text in texts], ""] if texts else []


def claims_section(t: Table, board: str = "") -> list[str]:
    """Return the lines that test what the paper says of its method; none where the records have nothing to test. On
    the page of another board they name the one that they are from, ``board``."""
    rows = claims.table(t)
    if not rows:
        return []
    head, *body = rows
    left = len(head) - len(claims.HEAD)
    align = [":--", *["--:"] * (left - 1), *[":--"] * len(claims.HEAD)]
    table = [table_line(head), table_line(align), *map(table_line, body)]
    source = [f"From [{t.board.title}]({board}.md), with runs of its own.", ""] if board else []
    return [f"## {claims.title(t)}", "", *source, *table, "", *[f"- {text}" for text in claims.sentences(t)], ""]


def schedule_section(t: Table) -> list[str]:
    """Return the lines that say from which length of training on a method is better than the baseline."""
    head, *rows = schedule.schedule_table(t) or [[]]
    if not rows:
        return []
    align = table_line([":--", *["--:"] * (len(head) - 2), ":--"])
    return [f"## {schedule.TITLE}", "", table_line(head), align, *map(table_line, rows), "",
            schedule.READ, ""]  # fmt: skip


def paper_section(t: Table) -> list[str]:
    """Return the lines with ours beside the printed value, for every column that has one."""
    if not paper_columns(t):
        return []
    head, *rows = paper_table(t)
    lines = [
        f"## {beside_title(t)}",
        "",
        table_line(head),
        table_line([":--", *["--:"] * (len(head) - 1)]),
        *map(table_line, rows),
    ]
    lines += ["", *BESIDE]
    if t.board.differs:
        lines += ["", f"**Not the same protocol**: {t.board.differs}."]
    return [*lines, "", *[f"- {text}" for text in paper_notes(t)], ""]


def protocol_section(t: Table) -> list[str]:
    """Return the lines with the setups, and what the runs had in common."""
    lines = [f"- **{name}**: {text}" for name, text in setup_texts(t)]
    return [
        "## Protocol",
        "",
        *lines,
        *[f"- {name}: {'; '.join(map(escaped, values))}" for name, values in t.facts.items() if values],
    ]


def excerpt(name: str, t: Table) -> str:
    """Return what the README shows of a board: its question, what is known, and the ranking column with the first other
    one of errors; of many rows, those after the first :data:`OPEN_ROWS` behind a click; of rows that were not run, the
    names."""
    ranked = t.board.column(t.board.rank)
    shown = [ranked, *[c for c in t.board.columns if c.metric == "error" and c is not ranked][:1]]
    made = [row for row in t.rows if row.values or row.failed]
    waiting = [escaped(row.label) for row in t.rows if not (row.values or row.failed)]
    seen = OPEN_ROWS if len(made) > OPEN_ROWS + 1 else len(made)
    parts = [
        f"**{t.board.title}.** {t.board.question} {known(t)}",
        markdown_table(t, shown, state=False, rows=made[:seen]),
    ]
    if further := made[seen:]:
        folded = markdown_table(t, shown, state=False, rows=further)
        among = ", the baseline among them" if any(row.label == BASELINE for row in further) else ""
        parts += [f"<details>\n<summary>{len(further)} further rows{among}</summary>", folded, "</details>"]
    if waiting:
        parts.append(f"Not run yet: {', '.join(waiting)}.")
    if any(row.trained_on for row in made):
        parts.append(TRAINED_ON)
    return "\n\n".join([*parts, f"All columns and the protocol: [leaderboards/{name}.md](leaderboards/{name}.md)."])


def between(text: str, marker: str, content: str) -> str:
    """Return ``text`` with ``content`` between the markers called ``marker``; unchanged when it has none."""
    begin, end = f"<!-- BEGIN {marker} -->", f"<!-- END {marker} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def index_section(tables: Mapping[str, Table]) -> str:
    """Return a line per board of ``tables``, then the boards without any record."""
    lines = [*INDEX_HEAD, *[index_line(name, t) for name, t in tables.items()]]
    waiting = [name for name in boards.available() if name not in tables and name != boards.DEMO]
    if waiting:
        lines += ["", "Not run:", ""]
    for name in waiting:
        board = boards.load(name)
        lines.append(f"- {board.title}. {board.question} `catchup-bench leaderboard run {name}`")
    return "\n".join(lines)


def known(t: Table) -> str:
    """Return in a sentence or two what the tests tell of a board's methods."""
    own = " ".join(schedule.sentences(t)) or findings.in_short(t)
    return " ".join(filter(None, [own, claims.in_short(t)])) or NOTHING_KNOWN


def index_line(name: str, t: Table) -> str:
    """Return a board's line of the index."""
    hardware = "; ".join(map(escaped, t.facts["device"]))
    shown = [
        f"[{t.board.title}]({name}.md)",
        t.board.question,
        known(t),
        str(record_count(t)),
        hardware,
    ]
    return table_line([text.replace("|", "&#124;") for text in shown])
