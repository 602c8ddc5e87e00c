"""The leaderboards as one page that needs nothing else: a pure function of the tables. Boards and labels come from
strangers, so every string is escaped, and the page's own policy lets nothing run or load but its own script."""

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from ..boards import Column
from ..records.attack_checks import LEGEND
from ..system.files import write_text
from . import findings, plots
from .pages import published_tables
from .table import Row, Table, record_count
from .wording import (
    ARROWS,
    BESIDE,
    column_header,
    how_to_read,
    paper_columns,
    paper_notes,
    paper_table,
    row_texts,
    setup_texts,
)

TITLE = "catchup-bench: leaderboards"


def write_html(root: Path, out: Path | None = None) -> Path:
    """Write the page of all boards that have records in ``root`` to ``out``. Raises :class:`NothingSelected` when there
    are none, :class:`UsageError` without matplotlib."""
    folder = root / "leaderboards"
    out = out or folder / "index.html"
    content = html_page(published_tables(root), Path(os.path.relpath(folder, out.parent)).as_posix())
    write_text(out, content)
    return out


def html_page(tables: Mapping[str, Table], folder: str = ".") -> str:
    """``folder``: where the pages and records of the boards lie, as seen from this page."""
    script = asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    links = "".join(f'<li><a href="#{quote(name)}">{escape(t.board.title)}</a></li>' for name, t in tables.items())
    count = sum(map(record_count, tables.values()))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(TITLE)}</title>\n<style>\n{asset('page.css')}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(TITLE)}</h1>\n<p>Which training methods make a network robust, and at what cost. "
        f"Every number here is computed from the records of {count} runs.</p>\n"
        f'<nav aria-label="Boards"><ul><li><a href="#">all boards</a></li>{links}</ul></nav></header>\n'
        f"<main>\n{''.join(section(name, t, folder) for name, t in tables.items())}</main>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def section(name: str, t: Table, folder: str) -> str:
    results = f"{folder}/results/{name}"
    doubts = any(c.name in row.doubts for row in t.rows for c in t.board.columns)
    return (
        f'<section id="{escape(name)}" aria-labelledby="{escape(name)}-title">\n'
        f'<h2 id="{escape(name)}-title">{escape(t.board.title)}</h2>\n'
        f'<p class="question">{escape(t.board.question)}</p>\n'
        f"{scrolling(t.board.title, results_table(t, results))}"
        f'<p class="note">{"<br>".join(map(escape, [*how_to_read(t), *([f"{LEGEND}."] if doubts else [])]))}</p>\n'
        f"{plots_section(name, t)}"
        f"{listed('What the numbers say', findings.sentences(t))}"
        f"{named('What the columns are', [(c.name, c.about) for c in t.board.columns if c.about])}"
        f"{beside_paper(t)}"
        f"{named('Protocol', [*setup_texts(t), *((k, '; '.join(v)) for k, v in t.facts.items() if v)])}"
        f"<p>Reproduce: <code>catchup-bench leaderboard run {escape(name)}</code>. "
        f"{link(f'{folder}/{name}.md', 'The same as markdown')}; {link(results, 'all records')}.</p>\n</section>\n"
    )


def scrolling(label: str, content: str) -> str:
    """A box of its own for what may be wider than the screen; it takes the focus, so that keys can scroll it."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {escape(label)}">\n{content}</div>\n'


def results_table(t: Table, results: str) -> str:
    columns = list(t.board.columns)
    low, high = 'data-first="ascending"', 'data-first="descending"'
    first = {c.name: low if ARROWS[c.metric] == "↓" else high for c in columns}
    order = f' aria-sort="{"ascending" if first[t.board.rank] == low else "descending"}"'
    heads = [f'<th scope="col" {low}>{word}</th>' for word in ("method", "tier", "rank")]
    heads += [
        f'<th scope="col" class="number" {first[c.name]}{order if c.name == t.board.rank else ""}>'
        f"{escape(column_header(c))}</th>"
        for c in columns
    ]
    heads += [f'<th scope="col" class="number" {d}>{w}</th>' for w, d in (("cost", low), ("n", high), ("state", high))]
    body = "".join(f"<tr>{''.join(row_cells(row, columns))}{records(row, results)}</tr>\n" for row in t.rows)
    return (
        f'<table class="sortable">\n<thead><tr>{"".join(heads)}<th scope="col">records</th></tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table>\n"
    )


def row_cells(row: Row, columns: list[Column]) -> Iterable[str]:
    """The cells of the markdown page, the method first as it stays in sight, each with the value that it is sorted by;
    one without stays last."""
    values = [row.values[c.name][0] if c.name in row.values else None for c in columns]
    keys = [row.tier or None, row.rank[0] if row.rank else None, row.label, *values, row.cost]
    keys += [row.n, row.state] if row.n else [None, None]
    shown = list(zip(keys, row_texts(row, columns, None), strict=True))
    for i, (key, text) in enumerate([shown[2], *shown[:2], *shown[3:]]):
        value = "" if key is None else f' data-value="{escape(str(key))}"'
        kind = ' class="number"' if i > 2 else ""
        yield (
            f'<th scope="row" title="{escape(text)}"{value}>{escape(text)}</th>'
            if i == 0
            else f"<td{kind}{value}>{escape(text)}</td>"
        )


def records(row: Row, results: str) -> str:
    if not row.records:
        return "<td></td>"
    links = "<br>".join(link(f"{results}/{path}", path) for path in row.records)
    return f"<td><details><summary>{len(row.records)} files</summary>{links}</details></td>"


def link(target: str, text: str) -> str:
    return f'<a href="{escape(quote(target))}">{escape(text)}</a>'


def plots_section(name: str, t: Table) -> str:
    better = "down" if t.board.column(t.board.rank).metric == "error" else "up"
    drawn = [
        (plots.intervals(t, name), f"{t.board.rank}, with its 95 % t interval over seeds"),
        (plots.against_cost(t, name), f"{t.board.rank} against cost: {better} and to the left is better"),
    ]
    figures = "".join(
        f"<figure>{image}<figcaption>{escape(words)}.</figcaption></figure>\n" for image, words in drawn if image
    )
    key = "Blue: the methods that share the first tier letter. Diamond, dashed line: the baseline."
    return f'<div class="plots">\n{figures}</div>\n<p class="note">{key}</p>\n' if figures else ""


def beside_paper(t: Table) -> str:
    if not paper_columns(t):
        return ""
    head, *lines = paper_table(t)
    heads = f'<th scope="col">{escape(head[0])}</th>'
    heads += "".join(f'<th scope="col" class="number">{escape(text)}</th>' for text in head[1:])
    body = "".join(
        f'<tr><th scope="row" title="{escape(line[0])}">{escape(line[0])}</th>'
        + "".join(f'<td class="number">{escape(text)}</td>' for text in line[1:])
        + "</tr>\n"
        for line in lines
    )
    differs = (
        f"<p><strong>Not the paper's protocol</strong>: {escape(t.board.differs)}.</p>\n" if t.board.differs else ""
    )
    notes = "".join(f"<li>{escape(text)}</li>\n" for text in paper_notes(t))
    return (
        "<h3>Beside the paper</h3>\n"
        + scrolling(
            f"{t.board.title}, beside the paper",
            f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n",
        )
        + f'<p class="note">{escape(" ".join(BESIDE))}</p>\n{differs}'
        + (f"<ul>\n{notes}</ul>\n" if notes else "")
    )


def listed(title: str, texts: list[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>\n" for text in texts)
    return f"<h3>{title}</h3>\n<ul>\n{items}</ul>\n" if texts else ""


def named(title: str, entries: list[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n" for name, text in entries)
    return f"<h3>{title}</h3>\n<dl>\n{items}</dl>\n" if entries else ""
