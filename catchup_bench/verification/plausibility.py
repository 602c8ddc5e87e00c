"""Mark records that are possible but improbable, for a maintainer to look at: nothing here refuses a record.

Without weights nobody can tell a lucky run from an invented one. What can be known from bits alone is whether they are
better than a method's other seeds allow, the same as another run's, or blind to how strong a corruption is.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from ..leaderboard import statistics
from ..records.attack_checks import POINTS, suspicions
from ..records.record import Outcome, Record

SEEDS = 3
"""Runs that a spread is estimated from, at least."""

HARD = (0.1, 0.9)
"""Errors, as shares of the images, between which the same bits in two runs are no coincidence."""

WRONG = 20
"""Images that are wrong, at least, for the same reason."""

SAME = 3
"""Such conditions that are no coincidence: two networks may see one class in all images of a low contrast."""

SEVERITY = re.compile(r"(?P<kind>[a-z_]+)-(?P<severity>[1-5])(?![0-9.])")
"""How conditions of the suite ``corruption`` are called."""


def remarks(records: Mapping[Path, Record]) -> Iterator[tuple[Path, str]]:
    """Yield (record, what is improbable about it), for records by their paths ``…/<setup>/<label>/seed<k>.json``."""
    setups: dict[Path, dict[Path, Record]] = {}
    for path, record in sorted(records.items()):
        setups.setdefault(path.parent.parent, {})[path] = record
    for every in setups.values():
        yield from too_good(every)
        yield from same_bits(every)
        for path, record in every.items():
            yield from ((path, text) for text in blind_to_strength(record.outcomes))


def too_good(every: Mapping[Path, Record]) -> Iterator[tuple[Path, str]]:
    """Yield the records of a setup whose mean error lies below that of the best other seed of the same row, or where
    that has too few of the best row, by more than half the 95 % prediction interval of those seeds."""
    common = set.intersection(*({*record.outcomes} for record in every.values()))
    if not common:
        return
    errors = {path: fmean(record.outcomes[c].error for c in common) for path, record in every.items()}
    rows: dict[str, dict[Path, float]] = {}
    for path, error in errors.items():
        rows.setdefault(path.parent.name, {})[path] = error
    for path, error in errors.items():
        others = {label: [e for p, e in seeds.items() if p != path] for label, seeds in rows.items()}
        enough = {label: seeds for label, seeds in others.items() if len(seeds) >= SEEDS}
        own = path.parent.name
        if not enough:
            continue
        label = own if own in enough else min(enough, key=lambda row: min(enough[row]))
        half = half_width(enough[label])
        if error < min(enough[label]) - half:
            yield (
                path,
                f"its mean error, {error:.2f} %, is {min(enough[label]) - error:.2f} points below the best other seed "
                f"of {label}; the prediction interval is ± {half:.2f}",
            )


def half_width(errors: list[float]) -> float:
    """Return half the 95 % prediction interval of one more run, from those of ``errors`` in percent."""
    mean = fmean(errors)
    variance = sum((e - mean) ** 2 for e in errors) / (len(errors) - 1)
    quantile = statistics.critical(statistics.LEVEL, len(errors) - 1)
    return quantile * math.sqrt(variance * (1 + 1 / len(errors)))


def same_bits(every: Mapping[Path, Record]) -> Iterator[tuple[Path, str]]:
    """Yield the records with the very bits of another run in conditions that are neither easy nor hopeless."""
    first: dict[bytes, Path] = {}
    for path, record in every.items():
        copied: dict[Path, list[str]] = {}
        for condition, outcome in sorted(record.outcomes.items()):
            wrong = outcome.n - outcome.correct
            if wrong < WRONG or not HARD[0] <= wrong / outcome.n <= HARD[1]:
                continue
            key = hashlib.sha256(f"{condition} {outcome.n} {outcome.bits}".encode()).digest()
            if (other := first.setdefault(key, path)) != path:
                copied.setdefault(other, []).append(condition)
        for other, conditions in copied.items():
            if len(conditions) >= SAME:
                where = f"{other.parent.name}/{other.name}"
                yield path, f"it has the bits of {where} in {len(conditions)} conditions, such as {conditions[0]}"


def blind_to_strength(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield where errors do not grow: with the severity, in the mean over the corruptions, or with ε."""
    by_severity: dict[int, dict[str, float]] = {}
    for condition, outcome in outcomes.items():
        if outcome.suite == "corruption" and (named := SEVERITY.match(condition)):
            kind = f"{named['kind']}{condition[named.end() :]}"
            by_severity.setdefault(int(named["severity"]), {})[kind] = outcome.error
    severities = sorted(by_severity)
    for weak, strong in [*pairwise(severities), *([(severities[0], severities[-1])] if severities[1:] else [])]:
        both = by_severity[weak].keys() & by_severity[strong].keys()
        if len(both) < SEEDS:
            continue
        low, high = (fmean(by_severity[s][kind] for kind in sorted(both)) for s in (weak, strong))
        if high < low - POINTS or (high <= low and (weak, strong) == (severities[0], severities[-1])):
            yield (
                f"the mean error over {len(both)} corruptions falls from {low:.2f} % at severity {weak} to "
                f"{high:.2f} % at {strong}"
            )
    for condition, reasons in suspicions({c: o for c, o in outcomes.items() if "eps" in o.protocol}).items():
        yield from (f"{condition}: {reason}" for reason in reasons if reason.endswith("in a larger ball"))
