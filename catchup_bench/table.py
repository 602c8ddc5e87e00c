"""Rows of a leaderboard from a board and its records: a pure function, without torch and without a clock."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import results, stats
from .board import Board, Column
from .errors import VerificationFailed
from .files import read_json
from .results import Record
from .suspicion import suspicions


@dataclass(frozen=True)
class Row:
    """One method. ``values`` are (mean, standard deviation over seeds) per column, in percent; ``cost`` is the time
    of a training step relative to the baseline's; ``state`` the level of verification, 0 when it was not run;
    ``doubts`` are the columns with a suspicious outcome, and why."""

    label: str
    n: int
    values: dict[str, tuple[float, float]] = field(default_factory=dict)
    tier: str = ""
    rank: tuple[int, int] | None = None
    cost: float | None = None
    state: int = 0
    doubts: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    board: Board
    rows: list[Row]
    test: str
    facts: dict[str, list[str]]


def find(board: Board, folder: Path) -> dict[str, dict[str, dict[int, Record]]]:
    """Records under ``results/<board>/``: label → setup → seed → record. One counts when it is of the board's own
    protocol, not of an older one. Raises :class:`VerificationFailed` for one that contradicts itself."""
    expected = {job.path: job.run.digest for job in board.jobs()}
    found: dict[str, dict[str, dict[int, Record]]] = {}
    for path in sorted(folder.glob("*/*/seed*.json")):
        record = results.read(path)
        place = path.relative_to(folder)
        if expected.get(place) == record.digest:
            setup, label = place.parts[:2]
            found.setdefault(label, {}).setdefault(setup, {})[record.run.seed] = record
    return found


def make(board: Board, folder: Path) -> Table:
    """The table of ``board`` from the records in ``folder``, best first; methods without a record come last."""
    found = find(board, folder)
    whole = {label: seeds for label, setups in found.items() if (seeds := complete_seeds(board, setups))}
    check_same_images(board, found)
    ranking = (
        stats.rank({label: scores(board, found[label], whole[label], board.rank) for label in whole}) if whole else None
    )
    costs = read_costs(board, folder)
    rows = []
    for label in (e.label or e.name for e in board.methods):
        if label not in whole or ranking is None:
            rows.append(Row(label, 0))
            continue
        values = {c.name: summary(board, found[label], whole[label], c) for c in board.columns}
        tier, ranks, doubts = ranking.tier[label], ranking.rank[label], doubted(board, found[label], whole[label])
        rows.append(Row(label, len(whole[label]), values, tier, ranks, costs.get(label), state=1, doubts=doubts))
    rows.sort(key=lambda r: (r.n == 0, r.values[board.rank][0] if r.n else 0, r.cost or 0, r.label))
    used = [r for setups in found.values() for seeds in setups.values() for r in seeds.values()]
    return Table(board, rows, ranking.test if ranking else "no runs yet", facts(used))


def complete_seeds(board: Board, setups: dict[str, dict[int, Record]]) -> list[int]:
    """Seeds with every condition that any column needs."""
    needed = {key for column in board.columns for key in board.weights(column)}

    def has(seed: int) -> bool:
        return all(condition in _outcomes(setups, setup, seed) for setup, condition in needed)

    return [seed for seed in board.seeds if has(seed)]


def _outcomes(setups: dict[str, dict[int, Record]], setup: str, seed: int) -> dict[str, results.Outcome]:
    record = setups.get(setup, {}).get(seed)
    return record.outcomes if record else {}


def check_same_images(board: Board, found: dict[str, dict[str, dict[int, Record]]]) -> None:
    """Paired tests need the same test images and one protocol per column."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for label, setups in found.items():
        for setup, by_seed in setups.items():
            for record in by_seed.values():
                for condition, outcome in record.outcomes.items():
                    this = (record.test_sha256, str(sorted(outcome.protocol.items())))
                    if seen.setdefault((setup, condition), this) != this:
                        raise VerificationFailed(f"{label}, {condition}: other test images or protocol than other rows")


def scores(board: Board, setups: dict[str, dict[int, Record]], seeds: list[int], column: str) -> list[stats.Scores]:
    """One seeds×images array of error shares per setup of the column; their means add up to its error."""
    blocks: dict[tuple[str, int], stats.Scores] = {}
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
    errors = [sum(w * _outcomes(setups, s, seed)[c].error for (s, c), w in weights.items()) for seed in seeds]
    values = errors if column.metric == "error" else [100 - e for e in errors]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def doubted(board: Board, setups: dict[str, dict[int, Record]], seeds: list[int]) -> dict[str, list[str]]:
    """Columns with a suspicious outcome in any seed, each with the reasons."""
    found: dict[str, list[str]] = {}
    cells = [(setup, seed, suspicions(_outcomes(setups, setup, seed))) for setup in setups for seed in seeds]
    for column in board.columns:
        needed = board.weights(column)
        for setup, seed, doubts in cells:
            for condition, reasons in doubts.items():
                if (setup, condition) in needed:
                    found.setdefault(column.name, []).append(f"{condition}, seed {seed}: {'; '.join(reasons)}")
    return found


def read_costs(board: Board, folder: Path) -> dict[str, float]:
    """Relative step time per label, of the first setup that has been measured."""
    for setup in board.setups:
        path = folder / setup.name / "cost.json"
        if path.exists():
            measured: dict[str, Any] = read_json(path, "cost record")["methods"]
            return {label: float(m["ratio"]) for label, m in measured.items()}
    return {}


def facts(records: list[Record]) -> dict[str, list[str]]:
    """What the runs had in common, or not: hardware, versions, commits."""
    return {
        "device": sorted({str(r.training.get("device")) for r in records}),
        "precision": sorted({str(r.training.get("precision")) for r in records}),
        "torch": sorted({str(r.training.get("versions", {}).get("torch")) for r in records}),
    }
