"""Compute the rows of a leaderboard from a board and its records: a pure function, without torch and a clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from ..boards import BY_IMAGE, Board, Column
from ..boards.metrics import METRICS
from ..errors import VerificationFailed
from ..records.attack_checks import suspicions
from ..records.record import Outcome, Record
from ..records.results_folder import record_path
from ..text import printable
from . import statistics
from .points import CurveKind, Points, mean_curves
from .relative import column_weights
from .results import Records, Results, read_results
from .statistics import AgainstBaseline, Images, Ranking, Scores, Summary, WeightedError
from .values import Key, value_of_column, value_scores

BASELINE = "baseline"
"""Label of the row that the others are compared with."""


@dataclass(frozen=True)
class Row:
    """One method.

    ``values`` are the summaries over seeds per column that was run, in percent; ``n`` the seeds of the ranking column,
    or the most of any when that one was not run; ``against`` compares the errors of the ranking column with the
    baseline's, ``None`` for the baseline and where either has one seed; ``cost`` is the time of a training step
    relative to the baseline's; ``state`` the level of verification, 0 when nothing was run; ``doubts`` the columns with
    a suspicious outcome, and why; ``failed`` counts runs whose training failed; ``loaded`` is a network that was not
    trained here; ``trained_on`` are the corruptions in the columns whose relatives the method was trained on;
    ``records`` are the paths, below the board's results, of those that count.
    """

    label: str
    n: int
    values: dict[str, Summary] = field(default_factory=dict)
    tier: str = ""
    rank: tuple[int, int] | None = None
    against: AgainstBaseline | None = None
    cost: float | None = None
    state: int = 0
    doubts: dict[str, list[str]] = field(default_factory=dict)
    loaded: bool = False
    trained_on: tuple[str, ...] = ()
    failed: int = 0
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """``rankings`` are those of the ranking column, of the columns that stand beside one of the paper, and of those
    that test what the paper claims; ``schedule`` compares, in each column of the board's schedule, the errors of each
    label with the baseline's. ``curves`` are points by row, the means over the seeds that have them."""

    board: Board
    rows: list[Row]
    rankings: dict[str, Ranking]
    facts: dict[str, list[str]]
    schedule: dict[str, dict[str, AgainstBaseline]] = field(default_factory=dict)
    curves: dict[CurveKind, dict[str, Points]] = field(default_factory=dict)

    @property
    def ranking(self) -> Ranking | None:
        """Return the ranking of the column that orders the rows; ``None`` when nothing was run."""
        return self.rankings.get(self.board.rank)

    @property
    def test(self) -> str:
        """Return the name of the test behind the tiers."""
        if self.ranking and self.ranking.rank:
            return self.ranking.test
        return f"no run has {self.board.rank} yet" if record_count(self) else "no runs yet"


def make_table(board: Board, folder: Path) -> Table:
    """Return the table of ``board`` from the records in ``folder``, best first; methods without a record come last.

    Raises :class:`VerificationFailed` for a record that contradicts itself or is of other test images than the rest.
    """
    return compute_table(board, read_results(board, folder))


def compute_table(board: Board, results: Results) -> Table:
    """Return the table that ``results`` give. Raises :class:`VerificationFailed` for a record that is of other test
    images than the rest."""
    records = results.records
    check_same_images(records)
    images = images_of(records)
    values: dict[str, dict[str, Summary]] = {}
    rankings: dict[str, Ranking] = {}
    against: dict[str, AgainstBaseline] = {}
    schedule: dict[str, dict[str, AgainstBaseline]] = {}
    weights_of = {column.name: weights_on(board, column, records) for column in board.columns}
    for column in board.columns:
        weights = weights_of[column.name]
        if not weights:
            continue
        seeds = {label: complete_seeds(board, setups, weights) for label, setups in records.items()}
        of_training = METRICS[column.metric].of_training
        chosen = {
            label: [outcomes_of(records[label], s, weights, of_training) for s in seeds[label]] for label in records
        }
        chosen = {label: outcomes for label, outcomes in chosen.items() if outcomes}
        if not chosen:
            continue
        mean = WeightedError({key: (weight, images[key]) for key, weight in weights.items()})
        ranked = column.name == board.rank or (bool(column.paper) and column.metric in BY_IMAGE)
        if ranked or column.name in board.schedule:
            scores = column_scores(mean, chosen)
            compared = statistics.Comparisons(scores)
            if ranked:
                rankings[column.name] = statistics.rank(scores, compared)
            if column.name == board.rank:
                against = statistics.against(scores, BASELINE, compared)
            if column.name in board.schedule:
                schedule[column.name] = statistics.against(scores, BASELINE, compared)
        elif board.claim and METRICS[column.metric].claim:
            rankings[column.name] = statistics.rank(value_scores(column, weights, images, chosen))
        for label, outcomes in chosen.items():
            summary = statistics.summarize(column_values(column, weights, mean, outcomes))
            values.setdefault(label, {})[column.name] = summary
    ranking = rankings.get(board.rank)
    rows = []
    for entry in board.rows:
        label, setups = entry.row, records.get(entry.row, {})
        own = values.get(label, {})
        placed = ranking is not None and label in ranking.rank
        paths = [record_path(Path(), setup, label, seed) for setup, seeds in setups.items() for seed in sorted(seeds)]
        rows.append(
            Row(
                label,
                n=own[board.rank].n if board.rank in own else max((v.n for v in own.values()), default=0),
                values=own,
                tier=ranking.tier[label] if ranking and placed else "",
                rank=ranking.rank[label] if ranking and placed else None,
                against=against.get(label),
                cost=results.costs.get(label) if own else None,
                state=min((results.levels[path] for path in paths), default=0),
                doubts=doubted(weights_of, setups) if own else {},
                loaded=entry in board.loaded,
                trained_on=results.trained_on.get(label, ()),
                failed=results.failed[label],
                records=tuple(path.as_posix() for path in paths),
            )
        )
    used = [r for setups in records.values() for seeds in setups.values() for r in seeds.values()]
    curves = mean_curves(records)
    return Table(board, sorted(rows, key=partial(sort_key, board)), rankings, facts(used), schedule, curves)


def weights_on(board: Board, column: Column, records: Records) -> dict[Key, Fraction]:
    """Return what the column is the weighted sum of, given the ``records`` of a row that it is relative to; empty where
    there are none."""

    def errors_of(label: str, keys: Mapping[Key, Fraction]) -> list[Mapping[Key, Fraction]]:
        setups = records.get(label, {})
        seeds = [outcomes_of(setups, seed, keys) for seed in complete_seeds(board, setups, keys)]
        return [{key: 1 - Fraction(o.correct, o.n) for key, o in seed.items()} for seed in seeds]

    return column_weights(board, column, errors_of)


def check_same_images(records: Records) -> None:
    """Raise :class:`VerificationFailed` unless a column has the same test images and one protocol in every row."""
    seen: dict[Key, tuple[Any, ...]] = {}
    for label, setups in records.items():
        for setup, by_seed in setups.items():
            for record in by_seed.values():
                for condition, o in record.outcomes.items():
                    this = (record.test_sha256, o.n, o.protocol, o.values.get("index"))
                    if seen.setdefault((setup, condition), this) != this:
                        raise VerificationFailed(f"{label}, {condition}: other test images or protocol than other rows")


def images_of(records: Records) -> dict[Key, Images]:
    """Return which images each condition was measured on.

    An outcome without an index is of the whole test set if it has as many images as the condition ``clean``, or as the
    largest one where that was not evaluated; else, or where it says that it is of ``other_images``, its positions are
    unknown.
    """
    first: dict[Key, tuple[str, Outcome]] = {}
    for setups in records.values():
        for setup, by_seed in setups.items():
            for record in by_seed.values():
                for condition, outcome in record.outcomes.items():
                    first.setdefault((setup, condition), (record.test_sha256, outcome))
    whole: dict[str, int] = {}
    for test_set, outcome in first.values():
        whole[test_set] = max(outcome.n, whole.get(test_set, 0))
    whole |= {test_set: o.n for (_, condition), (test_set, o) in first.items() if condition == "clean"}
    images = {}
    for key, (test_set, outcome) in first.items():
        index = outcome.values.get("index")
        same = outcome.n == whole[test_set] and not outcome.values.get("other_images")
        known = index is not None or same
        images[key] = Images(test_set, outcome.n, None if index is None else tuple(index), known)
    return images


def complete_seeds(board: Board, setups: Mapping[str, Mapping[int, Record]], weights: Iterable[Key]) -> list[int]:
    """Return the seeds with every condition of ``weights``."""
    needed: dict[str, set[str]] = {}
    for setup, condition in weights:
        needed.setdefault(setup, set()).add(condition)

    def has(seed: int, setup: str) -> bool:
        record = setups.get(setup, {}).get(seed)
        return record is not None and needed[setup] <= record.outcomes.keys()

    return [seed for seed in board.seeds if all(has(seed, setup) for setup in needed)]


def outcomes_of(
    setups: Mapping[str, Mapping[int, Record]], seed: int, weights: Iterable[Key], of_training: bool = False
) -> dict[Key, Outcome]:
    """Return the outcomes of a seed that a column needs; for numbers ``of_training`` with those as their values."""
    found = {(setup, condition): setups[setup][seed].outcomes[condition] for setup, condition in weights}
    if not of_training:
        return found
    return {key: o.model_copy(update={"values": setups[key[0]][seed].training}) for key, o in found.items()}


def column_scores(mean: WeightedError, chosen: Mapping[str, Sequence[Mapping[Key, Outcome]]]) -> dict[str, Scores]:
    """Return the scores of every method, by image, in errors."""
    return {
        label: mean.scores([{key: o.packed() for key, o in seed.items()} for seed in seeds])
        for label, seeds in chosen.items()
    }


def column_values(
    column: Column,
    weights: Mapping[Key, Fraction],
    mean: WeightedError,
    seeds: Sequence[Mapping[Key, Outcome]],
) -> list[Fraction]:
    """Return the value of a column for each seed, in percent."""
    if column.metric not in BY_IMAGE:
        return [value_of_column(column, weights, seed) for seed in seeds]
    errors = [mean.error({key: outcome.correct for key, outcome in seed.items()}) for seed in seeds]
    return errors if column.metric == "error" else [100 - error for error in errors]


def sort_key(board: Board, row: Row) -> tuple[bool, bool, Fraction, float, str]:
    """Order rows best first by the ranking column, then what has only other columns, then what was not run."""
    value = row.values[board.rank].mean if board.rank in row.values else Fraction(0)
    worse = value if board.column(board.rank).metric == "error" else -value
    return not row.values, board.rank not in row.values, worse, row.cost or 0, row.label


def doubted(needed: Mapping[str, Iterable[Key]], setups: Mapping[str, Mapping[int, Record]]) -> dict[str, list[str]]:
    """Return the columns with a suspicious outcome in any seed, each with the reasons; ``needed`` are the conditions
    per column."""
    reasons_of: dict[str, list[str]] = {}
    for setup, by_seed in setups.items():
        for seed, record in sorted(by_seed.items()):
            if not (doubts := suspicions(record.outcomes)):
                continue
            for column, keys in needed.items():
                for condition in sorted(c for s, c in keys if s == setup and c in doubts):
                    reasons = "; ".join(doubts[condition])
                    reasons_of.setdefault(column, []).append(f"{condition}, seed {seed}: {reasons}")
    return reasons_of


def facts(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return the hardware, threads, engines, precisions and versions of the runs that were trained here.

    Records from before there were engines name none, and are of the eager one.
    """
    own = [r.training for r in records if r.training]
    values = {
        "device": {t.get("device") for t in own},
        "threads": {t["threads"] for t in own if "threads" in t},
        "engine": {t.get("engine", "eager") for t in own},
        "precision": {t.get("precision") for t in own},
        "torch": {t.get("versions", {}).get("torch") for t in own},
    }
    return {name: sorted(map(printable, given)) for name, given in values.items()}


def record_count(t: Table) -> int:
    """Return the number of records that count."""
    return sum(len(row.records) for row in t.rows)


def best_tier(t: Table) -> list[Row]:
    """Return the methods of the first tier, which cannot be told apart; none where nothing has a tier."""
    best = set(t.ranking.best) if t.ranking else set()
    return [row for row in t.rows if row.label in best]
