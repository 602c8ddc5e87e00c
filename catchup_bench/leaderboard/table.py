"""Rows of a leaderboard from a board and its records: a pure function, without torch and without a clock."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..boards import BY_IMAGE, Board, Column
from ..boards.grid import job_digest, jobs_of
from ..errors import UsageError, VerificationFailed
from ..records.attack_checks import suspicions
from ..records.record import Outcome, Record, read_record
from ..records.results_folder import kept_level
from ..system.files import read_json
from . import statistics

OOD = {"fpr95": "fpr95_closest", "auroc": "auroc", "aupr": "aupr_out"}
"""Metric of a column → its name in an outcome of the suite ``ood``."""


@dataclass(frozen=True)
class Row:
    """One method. ``values`` are (mean, standard deviation over seeds, number of seeds) per column that was run, in
    percent; ``n`` the seeds of the ranking column, or the most of any when that one was not run; ``cost`` the time of a
    training step relative to the baseline's; ``state`` the level of verification, 0 when nothing was run; ``doubts``
    the columns with a suspicious outcome, and why; ``failed`` counts runs whose training failed; ``loaded`` is a
    network that was not trained here; ``records`` are the paths, below the board's results, of those that count."""

    label: str
    n: int
    values: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    tier: str = ""
    rank: tuple[int, int] | None = None
    cost: float | None = None
    state: int = 0
    doubts: dict[str, list[str]] = field(default_factory=dict)
    loaded: bool = False
    failed: int = 0
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """``rankings``: of the ranking column, and of those that stand beside a column of the paper."""

    board: Board
    rows: list[Row]
    rankings: dict[str, statistics.Ranking]
    facts: dict[str, list[str]]

    @property
    def test(self) -> str:
        ranking = self.rankings.get(self.board.rank)
        return ranking.test if ranking else "no runs yet"


def read_board_records(board: Board, folder: Path) -> dict[str, dict[str, dict[int, Record]]]:
    """Records under ``results/<board>/``: label → setup → seed → record. One counts when it is of the board's own
    protocol, not of an older one. Raises :class:`VerificationFailed` for one that contradicts itself."""
    expected = {job.path: job.run.digest for job in jobs_of(board)}
    found: dict[str, dict[str, dict[int, Record]]] = {}
    for path in sorted(folder.glob("*/*/seed*.json")):
        record = read_record(path)
        place = path.relative_to(folder)
        if expected.get(place) == job_digest(record):
            setup, label = place.parts[:2]
            found.setdefault(label, {}).setdefault(setup, {})[record.subject.seed] = record
    return found


def make_table(board: Board, folder: Path) -> Table:
    """The table of ``board`` from the records in ``folder``, best first; methods without a record come last."""
    found = read_board_records(board, folder)
    check_same_images(board, found)
    rankings = {}
    for column in board.columns:
        if column.name == board.rank or (column.paper and column.metric in BY_IMAGE):
            ranked = {
                label: scores(board, setups, seeds, column.name)
                for label, setups in found.items()
                if (seeds := complete_seeds(board, setups, column))
            }
            if ranked:
                rankings[column.name] = statistics.rank(ranked)
    costs, failed = read_costs(board, folder), failures(board, folder)
    rows = [
        replace(
            make_row(board, e.row, found.get(e.row, {}), rankings.get(board.rank), costs),
            state=row_level(folder, e.row, found.get(e.row, {})),
            failed=failed[e.row],
            loaded=e in board.loaded,
            records=paths(e.row, found.get(e.row, {})),
        )
        for e in board.rows
    ]
    used = [r for setups in found.values() for seeds in setups.values() for r in seeds.values()]
    return Table(board, sorted(rows, key=partial(sort_key, board)), rankings, facts(used))


def paths(label: str, setups: dict[str, dict[int, Record]]) -> tuple[str, ...]:
    return tuple(f"{setup}/{label}/seed{seed}.json" for setup, seeds in setups.items() for seed in sorted(seeds))


def failures(board: Board, folder: Path) -> Counter[str]:
    """Runs per label whose training failed, in the board's own protocol and without a record."""
    expected = {job.path: job.run.digest for job in jobs_of(board)}
    found: Counter[str] = Counter()
    for path in sorted(folder.glob("*/*/failed-seed*.json")):
        record = path.with_name(path.name.removeprefix("failed-"))
        place, told = record.relative_to(folder), read_json(path, "failure")
        if isinstance(told, dict) and expected.get(place) == told.get("digest") is not None and not record.exists():
            found[place.parts[1]] += 1
    return found


def make_row(
    board: Board,
    label: str,
    setups: dict[str, dict[int, Record]],
    ranking: statistics.Ranking | None,
    costs: dict[str, float],
) -> Row:
    values = {}
    for column in board.columns:
        if seeds := complete_seeds(board, setups, column):
            values[column.name] = (*summary(board, setups, seeds, column), len(seeds))
    if not values:
        return Row(label, 0)
    doubts = doubted(board, setups)
    n = values[board.rank][2] if board.rank in values else max(v[2] for v in values.values())
    if ranking is None or label not in ranking.tier:
        return Row(label, n, values, cost=costs.get(label), doubts=doubts)
    return Row(label, n, values, ranking.tier[label], ranking.rank[label], costs.get(label), doubts=doubts)


def row_level(folder: Path, label: str, setups: dict[str, dict[int, Record]]) -> int:
    """The level of verification that all records of a row have reached; 0 where there is none."""
    paths = [folder / setup / label / f"seed{seed}.json" for setup, by_seed in setups.items() for seed in by_seed]
    return min(map(kept_level, paths), default=0)


def sort_key(board: Board, row: Row) -> tuple[bool, bool, float, float, str]:
    """Best first by the ranking column, then what was run only elsewhere, then what was not run."""
    value = row.values.get(board.rank, (0.0,))[0]
    worse = value if board.column(board.rank).metric == "error" else -value
    return not row.values, board.rank not in row.values, worse, row.cost or 0, row.label


def complete_seeds(board: Board, setups: dict[str, dict[int, Record]], column: Column) -> list[int]:
    """Seeds with every condition that the column needs."""

    def has(seed: int) -> bool:
        return all(condition in _outcomes(setups, setup, seed) for setup, condition in board.weights(column))

    return [seed for seed in board.seeds if has(seed)]


def _outcomes(setups: dict[str, dict[int, Record]], setup: str, seed: int) -> dict[str, Outcome]:
    record = setups.get(setup, {}).get(seed)
    return record.outcomes if record else {}


def check_same_images(board: Board, found: dict[str, dict[str, dict[int, Record]]]) -> None:
    """Paired tests need the same test images and one protocol per column."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for label, setups in found.items():
        for setup, by_seed in setups.items():
            for record in by_seed.values():
                for condition, outcome in record.outcomes.items():
                    this = (record.test_sha256, f"{outcome.n} {sorted(outcome.protocol.items())}")
                    if seen.setdefault((setup, condition), this) != this:
                        raise VerificationFailed(f"{label}, {condition}: other test images or protocol than other rows")


def scores(
    board: Board, setups: dict[str, dict[int, Record]], seeds: list[int], column: str
) -> list[statistics.Scores]:
    """One seeds×images array of error shares per setup of the column; their means add up to its error."""
    blocks: dict[tuple[str, int], statistics.Scores] = {}
    for (setup, condition), weight in board.weights(board.column(column)).items():
        bits = np.stack([_outcomes(setups, setup, seed)[condition].array() for seed in seeds])
        wrong = np.asarray(weight * ~bits, np.float64)
        key = (setup, wrong.shape[1])
        blocks[key] = blocks[key] + wrong if key in blocks else wrong
    return list(blocks.values())


def summary(
    board: Board, setups: dict[str, dict[int, Record]], seeds: list[int], column: Column
) -> tuple[float, float]:
    """Mean and standard deviation (n-1) over seeds, in percent; the deviation of one seed is NaN."""
    weights = board.weights(column)
    values = [
        sum(w * condition_value(_outcomes(setups, s, seed)[c], column.metric) for (s, c), w in weights.items())
        for seed in seeds
    ]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def condition_value(outcome: Outcome, metric: str) -> float:
    """What an outcome contributes to a column, in percent."""
    if metric in BY_IMAGE:
        return outcome.error if metric == "error" else 100 - outcome.error
    return float(outcome.values["metrics"]["msp"][OOD[metric]])


def doubted(board: Board, setups: dict[str, dict[int, Record]]) -> dict[str, list[str]]:
    """Columns with a suspicious outcome in any seed, each with the reasons."""
    found: dict[str, list[str]] = {}
    for setup, by_seed in setups.items():
        for seed, record in sorted(by_seed.items()):
            doubts = suspicions(record.outcomes)
            for column in board.columns:
                for condition in [c for s, c in board.weights(column) if s == setup and c in doubts]:
                    reasons = "; ".join(doubts[condition])
                    found.setdefault(column.name, []).append(f"{condition}, seed {seed}: {reasons}")
    return found


def read_costs(board: Board, folder: Path) -> dict[str, float]:
    """Relative step time per label, of the first setup that has been measured."""
    for setup in board.setups:
        path = folder / setup.name / "cost.json"
        if path.exists():
            try:
                measured: dict[str, Any] = read_json(path, "cost record")["methods"]
                return {label: float(m["ratio"]) for label, m in measured.items()}
            except (KeyError, TypeError, ValueError, AttributeError):
                raise UsageError(f"{path} is not a cost record: delete it, and the board measures again") from None
    return {}


def facts(records: list[Record]) -> dict[str, list[str]]:
    """What the runs that were trained here had in common, or not: hardware, engine, precision and version. Records from
    before there were engines name none."""
    own = [r.training for r in records if r.training]
    return {
        "device": sorted({str(t.get("device")) for t in own}),
        "engine": sorted({str(t.get("engine", "eager")) for t in own}),
        "precision": sorted({str(t.get("precision")) for t in own}),
        "torch": sorted({str(t.get("versions", {}).get("torch")) for t in own}),
    }


def record_count(t: Table) -> int:
    """Records that count."""
    return sum(len(row.records) for row in t.rows)


def best_tier(t: Table) -> list[Row]:
    """The methods that share the first letter, so cannot be told apart; none where nothing has a letter."""
    return [row for row in t.rows if "A" in row.tier]
