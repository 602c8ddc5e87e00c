"""Say how the comparison with the baseline depends on the length of training."""

from .statistics import AgainstBaseline
from .table import BASELINE, Row, Table
from .wording import column_header, interval_text, points, value_text

TITLE = "How it depends on the schedule"

READ = (
    "In brackets the 95 % interval of the difference to the baseline of the same schedule, in points; it holds for all "
    "rows of a column at once. A method is better from a schedule on when it is better at that one and at every longer "
    "one that was run."
)


def schedule_table(t: Table) -> list[list[str]]:
    """Return the head, then a line per method that was run: its value after each schedule, its difference to the
    baseline there, and from which schedule on it is better. Nothing where the board has no schedule."""
    columns = [t.board.column(name) for name in t.board.schedule]
    rows = [row for row in t.rows if any(c.name in row.values for c in columns)]
    if not rows:
        return []
    lines = [["method", *map(column_header, columns), "better than the baseline"]]
    for row in rows:
        texts = []
        for column in columns:
            compared = t.schedule.get(column.name, {}).get(row.label)
            ends = None if compared is None else points(compared, column)[1:]
            texts.append(value_text(row, column) + (f" {interval_text(ends, plus=True)}" if ends else ""))
        lines.append([row.label, *texts, overtakes(t, row)])
    return lines


def sentences(t: Table) -> list[str]:
    """Return from which schedule on methods are better than the baseline, and at which ones worse; nothing where
    none was compared."""
    answers: dict[str, list[str]] = {}
    for row in t.rows:
        if any(row.label in compared for compared in t.schedule.values()):
            answers.setdefault(overtakes(t, row), []).append(row.label)
    worse = {
        name: [row.label for row in t.rows if row.label in compared and compared[row.label].verdict == "worse"]
        for name, compared in t.schedule.items()
    }
    measure, lengths = _names(t)
    better_than = f"By {measure}, better than the baseline" if measure else "Better than the baseline"
    at = [f"{', '.join(labels)} at {lengths[name]}" for name, labels in worse.items() if labels]
    return [
        *_sentence(better_than, [f"{', '.join(labels)} {when}" for when, labels in answers.items()]),
        *_sentence("Worse than it", at),
    ]


def _names(t: Table) -> tuple[str, dict[str, str]]:
    """Return what the columns of a schedule all measure and the rest of each name: of "clean acc, 30 epochs" and
    "clean acc, 100 epochs" these are "clean acc", "30 epochs" and "100 epochs"."""
    measures = {name.rpartition(", ")[0] for name in t.board.schedule}
    measure = measures.pop() if len(measures) == 1 else ""
    return measure, {name: name.removeprefix(f"{measure}, ") for name in t.board.schedule}


def _sentence(start: str, parts: list[str]) -> list[str]:
    return [f"{start}: {'; '.join(parts)}."] if parts else []


def overtakes(t: Table, row: Row) -> str:
    """Return from which schedule on a method is better than the baseline, as far as it was compared."""
    if row.label == BASELINE:
        return ""
    verdicts: list[tuple[str, AgainstBaseline]] = [
        (name, t.schedule[name][row.label]) for name in t.board.schedule if row.label in t.schedule.get(name, {})
    ]
    if not verdicts:
        return "not compared: one seed"
    lengths = _names(t)[1]
    better_from = None
    for name, compared in reversed(verdicts):
        if compared.verdict != "better":
            break
        better_from = name
    if better_from is not None:
        return f"from {lengths[better_from]} on"
    if any(compared.verdict == "better" for _, compared in verdicts):
        return f"not shown at {lengths[verdicts[-1][0]]}, though at a shorter one"
    return f"not shown within {lengths[verdicts[-1][0]]}"
