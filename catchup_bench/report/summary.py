"""Summarise the outcomes of a run in a line for each row of its suites."""

from typing import TYPE_CHECKING

from ..leaderboard.statistics import wilson
from ..records.attack_checks import suspicions
from ..records.record import Outcome
from ..text import printable

if TYPE_CHECKING:
    from ..suites import Suite


def summarise(outcomes: dict[str, Outcome], suites: "dict[str, Suite]") -> dict[str, str]:
    """Return top-1 errors by row: of single conditions with their 95 % Wilson intervals, and means over several.

    Then come a suite's other figures, and why an error is marked with "!". Rows that lack an outcome are left out."""
    doubts = suspicions(outcomes)
    rows = {}
    wanted = [c for suite in suites.values() for c in suite.conditions()]
    evaluated = {c for c in wanted if c in outcomes}
    if len(evaluated) < len(wanted):
        rows["evaluated so far"] = f"{len(evaluated)} of {len(wanted)}"
    for suite in suites.values():
        for name, conditions in suite.summary().items():
            if evaluated.issuperset(conditions):
                rows[name] = _error([outcomes[c] for c in conditions]) + " !" * any(c in doubts for c in conditions)
        if evaluated.issuperset(suite.conditions()):
            rows |= {name: f"{number:.4g}" for name, number in suite.figures(outcomes).items()}
    return rows | {f"! {c}": "; ".join(map(printable, reasons)) for c, reasons in doubts.items() if c in evaluated}


def _error(outcomes: list[Outcome]) -> str:
    mean = sum(o.error for o in outcomes) / len(outcomes)
    if len(outcomes) > 1:
        return f"{mean:.2f} mean of {len(outcomes)}"
    low, high = wilson(outcomes[0].n - outcomes[0].correct, outcomes[0].n)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"
