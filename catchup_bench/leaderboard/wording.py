"""Words and numbers of a table that every form of a page shares."""

from fractions import Fraction

from ..boards import Column, Entry, paper
from ..boards.metrics import METRICS
from ..text import printable
from . import findings
from .relative import reference_name
from .statistics import NO_TIER, AgainstBaseline, decimal, decimal_root
from .table import BASELINE, Row, Table

ARROWS = {name: "↑" if metric.higher else "↓" for name, metric in METRICS.items()}

TRAINED_ON = (
    "‡ trained on relatives of the test corruptions, so its errors on them say less about robustness to the unforeseen."
)

INSIDE = {True: " ✓", False: " ✗", None: ""}

BESIDE = [
    "Ours − printed = difference. In brackets the 95 % prediction interval: were the printed value the mean of further "
    "runs of our method, as many as the paper averaged (one where it does not say), it would lie there in 95 % of "
    "cases.",
    "✓ where it does, ✗ where it does not; no interval for one seed.",
]


def value_text(row: Row, column: Column) -> str:
    """Return what a column shows of a row: marked when an attack's outcome in it is suspicious, with its number of
    seeds when that is not the row's."""
    if column.name not in row.values:
        return "not run"
    value = row.values[column.name]
    places = METRICS[column.metric].places
    text = decimal(value.mean, places)
    if value.variance is not None:
        text += f" ± {decimal_root(value.variance, places)}"
    return text + f" (n = {value.n})" * (value.n != row.n) + " !" * (column.name in row.doubts)


def column_header(column: Column) -> str:
    """Return the name of a column with an arrow towards better values."""
    return f"{column.name} {ARROWS[column.metric]}"


def column_notes(t: Table) -> list[tuple[str, str]]:
    """Return the columns of which there is something to say, each with it: what relative errors are relative to is.
    Columns of which the same is said stand together."""
    names: dict[str, list[str]] = {}
    for column in t.board.columns:
        own = [column.about] if column.about else []
        if reference := reference_name(column):
            own.append(
                f"100 times the error relative to {reference}, the mean over {len(column.types)} types (mCE); the "
                "reference is taken as exact"
            )
        if own:
            names.setdefault("; ".join(own), []).append(column.name)
    return [("; ".join(columns), text) for text, columns in names.items()]


def level_dots(state: int) -> str:
    """Return the level of verification as dots, out of four."""
    return "●" * state + "○" * (4 - state)


def absence(row: Row) -> str:
    """Return what stands in place of the numbers of a row without any."""
    return "failed" if row.failed else "not run"


def seed_count(row: Row) -> str:
    """Return the number of seeds, and of failed runs."""
    return f"{row.n}, {row.failed} failed" if row.failed else f"{row.n}"


def interval_text(ends: tuple[Fraction, Fraction], plus: bool = False) -> str:
    """Return an interval in brackets."""
    return f"[{decimal(ends[0], plus=plus)}, {decimal(ends[1], plus=plus)}]"


def against_difference(t: Table, row: Row) -> tuple[Fraction, Fraction, Fraction] | None:
    """Return the difference to the baseline in the ranking column with the ends of its interval, in that column's own
    points; ``None`` where the two are not compared."""
    return None if row.against is None else points(row.against, t.board.column(t.board.rank))


def points(compared: AgainstBaseline, column: Column) -> tuple[Fraction, Fraction, Fraction]:
    """Return a difference with the ends of its interval in the points of ``column``: of errors, or of accuracies."""
    if column.metric == "error":
        return compared.difference, compared.low, compared.high
    return -compared.difference, -compared.high, -compared.low


def against_text(t: Table, row: Row) -> str:
    """Return how a row compares with the baseline: the verdict, the difference and its interval."""
    shown = against_difference(t, row)
    if row.against is None or shown is None:
        comparable = t.ranking is not None and {row.label, BASELINE} <= t.ranking.rank.keys()
        return "one seed" if comparable and row.label != BASELINE else ""
    return f"{row.against.verdict} {decimal(shown[0], plus=True)} {interval_text(shown[1:], plus=True)}"


def row_texts(t: Table, row: Row, columns: list[Column], bold: str | None) -> list[str]:
    """Return tier, rank, label, comparison with the baseline, values, cost, seeds and state of a row."""
    if not row.n:
        return ["", "", row.label, absence(row), *[""] * len(columns), "", seed_count(row), ""]
    values = [f"**{value_text(row, c)}**" if c.name == bold else value_text(row, c) for c in columns]
    ranks = "–".join(map(str, dict.fromkeys(row.rank or ())))
    cost = "" if row.cost is None else f"×{row.cost:.2f}"
    label = (f"{row.label} (loaded)" if row.loaded else row.label) + " ‡" * bool(row.trained_on)
    return [row.tier, ranks, label, against_text(t, row), *values, cost, seed_count(row), level_dots(row.state)]


def how_to_read(t: Table) -> list[str]:
    """Return how the table is to be read."""
    rank = t.board.rank
    unit = "Percent unless stated" if any(METRICS[c.metric].claim for c in t.board.columns) else "Percent"
    lines = [f"{unit}, mean ± standard deviation over n seeds, last epoch. Ranked by {rank}."]
    if t.ranking and any(t.ranking.letters.values()):
        lines.append(
            f"Methods that share a tier letter are not separable: {t.test}. "
            "Rank: from 1 + the methods that are significantly better, to all but those that are significantly worse."
        )
    else:
        lines.append(f"{t.test[:1].upper()}{t.test[1:]}.")
    if any(tier == NO_TIER for tier in (t.ranking.tier.values() if t.ranking else ())):
        lines.append(f"{NO_TIER} one seed, which says nothing of another training: no tier, and any rank is possible.")
    if any(row.trained_on for row in t.rows):
        lines.append(TRAINED_ON)
    if any(row.against for row in t.rows):
        lines.append(
            f"vs baseline: difference in {rank}, in points, with its 95 % interval, which holds for all rows at once; "
            "better or worse where the interval excludes 0."
        )
    return [
        *lines,
        "Cost: time of a training step relative to the baseline's, interleaved in one process. "
        "State: verification, one dot when its records agree with their bits and digests, "
        "two when all were evaluated again.",
    ]


def paper_columns(t: Table) -> list[Column]:
    """Return the columns that stand beside a printed one."""
    return [c for c in t.board.columns if c.paper]


def beside_title(t: Table) -> str:
    """Return the heading of what stands beside printed numbers: whose they are."""
    sources = dict.fromkeys(c.paper.source or "the paper" for c in t.board.columns if c.paper)
    return f"Beside {' and '.join(sources)}"


def paper_table(t: Table) -> list[list[str]]:
    """Return the head, then a line per method, of our values beside the printed ones."""
    columns = paper_columns(t)
    lines = [["method", *map(column_header, columns), *(["cost"] if t.board.cost_paper else [])]]
    for row in t.rows:
        shown = [beside_text(findings.beside(t, row, c)) for c in columns]
        if t.board.cost_paper:
            shown.append(beside_text(findings.beside_cost(t, row)))
        lines.append([row.label, *shown])
    return lines


def paper_notes(t: Table) -> list[str]:
    """Return notes on the printed columns, and where the paper contradicts itself."""
    printed = {c.name: c.paper for c in t.board.columns if c.paper}
    notes = {f"{name}: {column.note}." for name, column in printed.items() if column.note}
    return [*sorted(notes), *paper.inconsistencies({column.number for column in printed.values()})]


def beside_text(values: findings.Beside | None) -> str:
    """Return a value, the printed one, their difference, and whether the prediction interval holds it."""
    if values is None:
        return ""
    text = f"{decimal(values.ours)} − {decimal(values.printed)} = {decimal(values.difference, plus=True)}"
    return text if values.interval is None else f"{text}{INSIDE[values.inside]} {interval_text(values.interval)}"


def setup_texts(t: Table) -> list[tuple[str, str]]:
    """Return the name of each setup, and what is trained and evaluated in it."""
    texts = []
    for setup in t.board.setups:
        share = f", {setup.fraction:.0%} of the training images" if setup.fraction < 1 else ""
        width = "" if setup.width is None else f" of width {setup.width}"
        other = [f"{key}={printable(value)}" for key, value in setup.overrides.items() if key != "snapshots"]
        changed = f" with {', '.join(other)}" if other else ""
        options = f" with {', '.join(t.board.set)}" if t.board.set else ""
        of_methods = f"; {', '.join(setup.set)}" if setup.set else ""
        text = (
            f"{setup.dataset}{share}; {setup.model}{width}; recipe {setup.recipe}{changed}; "
            f"suites {', '.join(setup.suites)}{options}{of_methods}"
        )
        texts.append((setup.name, text))
    return [*texts, *((f"row {entry.row}", _row_settings(entry)) for entry in t.board.methods if _row_settings(entry))]


def _row_settings(entry: Entry) -> str:
    """Return the options of a row that are not its method's defaults, and what its recipe has of its own."""
    of_method = [f"{entry.own}.{key}={value}" for key, value in entry.set.items()]
    return ", ".join([*of_method, *(f"recipe.{key}={value}" for key, value in entry.overrides.items())])
