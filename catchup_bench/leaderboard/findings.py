"""State in sentences what a table shows, and compare it with the paper's numbers: from the records alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from ..boards import Column
from ..boards.paper import Printed
from . import statistics
from .table import BASELINE, Row, Table


@dataclass(frozen=True)
class Beside:
    """A value of ours, the printed one, and the 95 % prediction interval for as many further runs of our method as the
    paper averaged (``None`` where one seed gives no interval)."""

    ours: Fraction
    printed: Fraction
    interval: tuple[Fraction, Fraction] | None

    @property
    def difference(self) -> Fraction:
        """Return ours − printed."""
        return self.ours - self.printed

    @property
    def inside(self) -> bool | None:
        """Return whether the printed value lies in the interval."""
        return None if self.interval is None else self.interval[0] <= self.printed <= self.interval[1]


def beside(t: Table, row: Row, column: Column) -> Beside | None:
    """Return a row's value beside the printed one; ``None`` where the paper or the records have no value."""
    if column.paper is None or column.name not in row.values:
        return None
    printed = column.paper.rows.get(_printed_name(t, row.label))
    if printed is None:
        return None
    ours = row.values[column.name]
    return Beside(ours.mean, _exact(printed), statistics.prediction(ours, column.paper.runs))


def beside_cost(t: Table, row: Row) -> Beside | None:
    """Return a row's cost beside the printed one, both relative to the baseline."""
    times = {} if t.board.cost_paper is None else t.board.cost_paper.rows
    printed, base = times.get(_printed_name(t, row.label)), times.get(BASELINE)
    if row.cost is None or not math.isfinite(row.cost) or printed is None or not base:
        return None
    return Beside(_exact(row.cost), _exact(printed) / _exact(base), None)


def _exact(value: float) -> Fraction:
    """Return the decimal number that ``value`` is written as."""
    return Fraction(str(value))


def _printed_name(t: Table, label: str) -> str:
    return next(e.printed for e in t.board.rows if e.row == label)


def sentences(t: Table) -> list[str]:
    """Return which differences are real, and where the paper's order holds; nothing when nothing was run."""
    if t.ranking is None:
        return []
    texts = [*_against_baseline(t), *_told_apart(t, t.ranking), *_own_gradients(t)]
    for column in t.board.columns:
        if column.paper and column.name in t.rankings:
            texts += _against_paper(t, column, column.paper, t.rankings[column.name])
    return texts


VERDICTS = {"better": "better than it", "worse": "worse than it", "not separable": "not separable from it"}

MOST_NAMES = 4
"""Methods that the sentence of the index names at most of a kind."""


def in_short(t: Table) -> str:
    """Return one sentence for the index: which methods are better or worse than the baseline, by the ranking column.
    Empty where there is nothing to say."""
    parts = []
    for verdict, names in _by_verdict(t).items():
        more = len(names) - MOST_NAMES
        words = ", ".join(names[:MOST_NAMES]) + f" and {more} more" * (more > 0)
        parts.append(
            f"{words} {VERDICTS[verdict]}" if verdict != "not separable" else f"{len(names)} {VERDICTS[verdict]}"
        )
    return f"By {t.board.rank}, beside the baseline: {'; '.join(parts)}." if parts else ""


def _by_verdict(t: Table) -> dict[str, list[str]]:
    """Return the methods that were compared with the baseline, by how: better, worse and not separable."""
    compared = {row.label: row.against.verdict for row in t.rows if row.against is not None}
    found = {verdict: [label for label, said in compared.items() if said == verdict] for verdict in VERDICTS}
    return {verdict: names for verdict, names in found.items() if names}


def _against_baseline(t: Table) -> Iterator[str]:
    ranked = [row.label for row in t.rows if row.rank is not None]
    if BASELINE not in ranked or len(ranked) < 2:
        return
    found = _by_verdict(t)
    compared = [label for names in found.values() for label in names]
    if not compared:
        yield f"By {t.board.rank}, nothing is said against the baseline: that needs two seeds or more of both."
        return
    parts = [f"{', '.join(names)} {VERDICTS[verdict]}" for verdict, names in found.items()]
    if untested := [label for label in ranked if label not in compared and label != BASELINE]:
        parts.append(f"{', '.join(untested)} not compared, with one seed")
    count = f"{len(compared)} comparison{'s' * (len(compared) > 1)}"
    yield f"By {t.board.rank}, in {count} with the baseline at once: {'; '.join(parts)}."


def _told_apart(t: Table, ranking: statistics.Ranking) -> Iterator[str]:
    """Yield how many pairs of methods differ, and by how much at the least."""
    tested = [label for label, letters in ranking.letters.items() if letters]
    pairs = len(tested) * (len(tested) - 1) // 2
    if not pairs:
        return
    value = {row.label: row.values[t.board.rank].mean for row in t.rows if row.label in ranking.rank}
    text = f"By {t.board.rank}, {len(ranking.differ)} of {pairs} pair{'s' * (pairs > 1)} of methods can be told apart"
    if ranking.differ:
        least = min(abs(value[a] - value[b]) for a, b in ranking.differ)
        text += f"; the closest of them differ by {statistics.decimal(least)} points"
    yield f"{text}."


def _own_gradients(t: Table) -> Iterator[str]:
    """Yield, of a matrix of rows and the rows that examples were made on, which rows err less on their own."""
    columns = [column for column in t.board.columns if column.source]
    whole = [
        row
        for row in t.rows
        if row.label in {c.source for c in columns} and {c.name for c in columns} <= set(row.values)
    ]
    if len(columns) < 2 or not whole:
        return
    masked = {}
    for row in whole:
        error = {c.source: row.values[c.name].mean for c in columns}
        worst = max(error, key=lambda source: (error[source], source == row.label))
        if worst != row.label:
            shown = [statistics.decimal(error[source]) for source in (worst, row.label)]
            masked[row.label] = f"{row.label} ({shown[0]} % from {worst}, {shown[1]} % from itself)"
    if masked:
        yield (
            "Mean errors are higher on examples of another row than on a row's own, as where its gradient is masked: "
            f"{'; '.join(masked.values())}."
        )
    if others := [row.label for row in whole if row.label not in masked]:
        yield f"Mean errors are highest on a row's own examples for {', '.join(others)}."


def _against_paper(t: Table, column: Column, of_paper: Printed, ranking: statistics.Ranking) -> Iterator[str]:
    """Yield how many pairs stand as the paper has them, and which of those that are separable here do not."""
    sign = 1 if column.metric == "error" else -1
    value = {label: of_paper.rows.get(_printed_name(t, label)) for label in ranking.rank}
    pairs = [(a, b) for a, b in combinations(ranking.rank, 2) if value[a] is not None and value[b] is not None]
    gap = {(a, b): sign * ((value[b] or 0) - (value[a] or 0)) for a, b in pairs}  # above 0: the paper agrees
    if not pairs:
        return
    real = [pair for pair in pairs if ranking.separable(*pair)]
    against = [f"{a} before {b}" for a, b in real if gap[a, b] < 0]
    text = (
        f"{column.name} beside {of_paper.table}: {sum(gap[p] > 0 for p in pairs)} of {len(pairs)} pairs of methods "
        f"stand in its order; {len(real)} can be told apart here"
    )
    if real:
        text += f", {sum(gap[p] > 0 for p in real)} of them in its order"
    yield text + (f". Against it: {'; '.join(against)}." if against else ".")
