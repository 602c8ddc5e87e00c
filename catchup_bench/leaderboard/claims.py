"""Test what the Catch-up Mix paper says of its method on the rows of a board: that it relies on more features than
others, and that its loss is flatter. From the records alone, with the test of the tiers."""

from collections.abc import Iterator
from typing import NamedTuple

from ..boards import Column
from ..boards.metrics import FEATURES, FLATNESS, METRICS
from .statistics import Ranking
from .table import BASELINE, Table
from .wording import column_header, value_text

HEAD = ["better than", "worse than", "not separable from"]

OPPOSITE = {FEATURES: "relies on fewer", FLATNESS: "has a sharper loss"}


class Line(NamedTuple):
    """How the row of the claim compares with the others in a column; labels in the order of the table."""

    column: Column
    better: list[str]
    worse: list[str]
    alike: list[str]


def title(t: Table) -> str:
    """Return the question of the section."""
    return f"Does {t.board.claim} rely on more features, and is its loss flatter?"


def lines(t: Table) -> list[Line]:
    """Return a line for each column that tests a claim and has both the row of the claim and another one, of two seeds
    or more each; none where the board claims nothing or the records have no such outcomes."""
    made = []
    for column in t.board.columns:
        ranking = t.rankings.get(column.name)
        if METRICS[column.metric].claim and ranking is not None and t.board.claim in ranking.rank:
            line = _compare(t, column, ranking)
            if line.better or line.worse or line.alike:
                made.append(line)
    return made


def _compare(t: Table, column: Column, ranking: Ranking) -> Line:
    own = t.board.claim
    tested = [row.label for row in t.rows if ranking.letters.get(row.label) and row.label != own]
    tested = tested if ranking.letters[own] else []
    apart = {label for label in tested if ranking.separable(own, label)}
    order = list(ranking.rank)
    before = {label for label in apart if order.index(own) < order.index(label)}
    return Line(
        column,
        [label for label in tested if label in before],
        [label for label in tested if label in apart - before],
        [label for label in tested if label not in apart],
    )


def table(t: Table) -> list[list[str]]:
    """Return the head, then a line per column: values of the row of the claim and of the baseline, and the rows that it
    is better than, worse than and not separable from. Empty where there is nothing to say."""
    found = lines(t)
    if not found:
        return []
    rows = {row.label: row for row in t.rows}
    shown = list(dict.fromkeys([t.board.claim, *([BASELINE] if BASELINE in rows else [])]))
    return [["", *shown, *HEAD]] + [
        [
            column_header(line.column),
            *(value_text(rows[label], line.column) for label in shown),
            *(", ".join(labels) for labels in line[1:]),
        ]
        for line in found
    ]


def sentences(t: Table) -> list[str]:
    """Return what follows for each claim, against the baseline and against all rows, and by which test."""
    found = lines(t)
    if not found:
        return []
    return [*_answers(t, found), _test(t, found)]


def in_short(t: Table) -> str:
    """Return what follows for each claim against the baseline, empty where there is nothing to say."""
    return " ".join(text for claim in OPPOSITE for text in _against_baseline(t, _of_claim(lines(t), claim), claim))


def _answers(t: Table, found: list[Line]) -> Iterator[str]:
    for claim in OPPOSITE:
        of_claim = _of_claim(found, claim)
        yield from _against_baseline(t, of_claim, claim)
        yield from _against_others(t, of_claim, claim)


def _of_claim(found: list[Line], claim: str) -> list[Line]:
    return [line for line in found if METRICS[line.column.metric].claim == claim]


def _against_baseline(t: Table, of_claim: list[Line], claim: str) -> Iterator[str]:
    own = t.board.claim
    against = {
        f"{own} {claim} than the baseline": [line.column.name for line in of_claim if BASELINE in line.better],
        f"{own} {OPPOSITE[claim]} than the baseline": [line.column.name for line in of_claim if BASELINE in line.worse],
        f"{own} and the baseline are not separable": [line.column.name for line in of_claim if BASELINE in line.alike],
    }
    if texts := [f"by {', '.join(names)}, {words}" for words, names in against.items() if names]:
        yield f"B{'; '.join(texts)[1:]}."


def _against_others(t: Table, of_claim: list[Line], claim: str) -> Iterator[str]:
    own = t.board.claim
    others = {label for line in of_claim for label in (*line.better, *line.worse, *line.alike)} - {BASELINE}
    if every := [row.label for row in t.rows if row.label in others]:
        first = [label for label in every if all(label in line.better for line in of_claim)]
        last = [label for label in every if all(label in line.worse for line in of_claim)]
        are = "are" if len(every) > 1 else "is"
        yield (
            f"Beside the baseline there {are} {len(every)}: by every one of these quantities {own} {claim} than "
            f"{_listed(first)}, and {OPPOSITE[claim]} than {_listed(last)}."
        )


def _listed(labels: list[str]) -> str:
    return ", ".join(labels) or "none of them"


def _test(t: Table, found: list[Line]) -> str:
    ranking = t.rankings[found[0].column.name]
    tested = sum(bool(letters) for letters in ranking.letters.values())
    pairs = tested * (tested - 1) // 2
    return (
        "Every quantity is tested by itself as the tiers are: Welch's t over seeds, with the variance over test images "
        f"where a quantity is one of images, Holm over {pairs} pair{'s' * (pairs > 1)} of methods."
    )
