"""What a table says, in sentences and beside the paper's numbers: made from the records alone, like the table."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from ..boards import Column, paper
from . import statistics
from .table import Row, Table


@dataclass(frozen=True)
class Beside:
    """A value of ours beside the printed one, and whether that lies inside our 95 % interval over seeds (``None``
    where one seed gives no interval)."""

    ours: float
    printed: float
    inside: bool | None

    @property
    def difference(self) -> float:
        return self.ours - self.printed


def beside(t: Table, row: Row, column: Column) -> Beside | None:
    """``None`` where the paper or the records have no value."""
    printed = paper.column(column.paper).rows.get(_printed_name(t, row.label))
    if printed is None or column.name not in row.values:
        return None
    mean, std, n = row.values[column.name]
    found = statistics.interval(mean, std, n)
    return Beside(mean, printed, None if found is None else found[0] <= printed <= found[1])


def beside_cost(t: Table, row: Row) -> Beside | None:
    """Both relative to the baseline."""
    times = paper.column(t.board.cost_paper).rows
    printed, base = times.get(_printed_name(t, row.label)), times.get("baseline")
    if row.cost is None or printed is None or not base:
        return None
    return Beside(row.cost, printed / base, None)


def _printed_name(t: Table, label: str) -> str:
    return next(e.printed for e in t.board.rows if e.row == label)


def sentences(t: Table) -> list[str]:
    """Which differences are real, and where the paper's order holds; nothing when nothing was run."""
    if t.board.rank not in t.rankings:
        return []
    found = [*_against_baseline(t)]
    for column in t.board.columns:
        if column.paper and column.name in t.rankings:
            found += _against_paper(t, column, t.rankings[column.name])
    return found


def _against_baseline(t: Table) -> Iterator[str]:
    ranking = t.rankings[t.board.rank]
    order = list(ranking.rank)
    if "baseline" not in order or len(order) < 2:
        return
    at = order.index("baseline")
    apart = {name for name in order if name != "baseline" and ranking.separable(name, "baseline")}
    better, worse = [n for n in order[:at] if n in apart], [n for n in order[at:] if n in apart]
    same = [n for n in order if n != "baseline" and n not in apart]
    parts = [(better, "better than"), (worse, "worse than"), (same, "not separable from")]
    text = "; ".join(f"{', '.join(names)} {how} the baseline" for names, how in parts if names)
    yield f"By {t.board.rank}, with the test of the tiers: {text}."


def _against_paper(t: Table, column: Column, ranking: statistics.Ranking) -> Iterator[str]:
    """How many pairs stand as the paper has them, and which of those that can be told apart here do not."""
    printed = paper.column(column.paper).rows
    sign = 1 if column.metric == "error" else -1
    value = {label: printed.get(_printed_name(t, label)) for label in ranking.rank}
    pairs = [(a, b) for a, b in combinations(ranking.rank, 2) if value[a] is not None and value[b] is not None]
    gap = {(a, b): sign * ((value[b] or 0) - (value[a] or 0)) for a, b in pairs}  # above 0: the paper agrees
    if not pairs:
        return
    real = [pair for pair in pairs if ranking.separable(*pair)]
    against = [f"{a} before {b}" for a, b in real if gap[a, b] < 0]
    number = paper.column(column.paper).table
    text = (
        f"{column.name} beside Table {number}: {sum(gap[p] > 0 for p in pairs)} of {len(pairs)} pairs of methods stand "
        f"in the paper's order; {len(real)} can be told apart here"
    )
    if real:
        text += f", {sum(gap[p] > 0 for p in real)} of them in the paper's order"
    yield text + (f". Against it: {'; '.join(against)}." if against else ".")
