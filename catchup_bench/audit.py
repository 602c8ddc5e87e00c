"""Do all records of the leaderboards hold, and do they belong where they lie? Level 1 for whole boards."""

from collections.abc import Iterator
from pathlib import Path

import torch

from . import board as boards
from . import results
from .errors import BenchError, NothingSelected
from .evaluate import as_json, make_suites
from .files import read_json
from .run import LOADED
from .table import cell, kept_level
from .train import weights_file
from .verify import Verdict, contradictions, verify
from .verify import keep as keep_mark


def records(root: Path) -> list[Path]:
    """Every record under ``leaderboards/results``. Raises :class:`NothingSelected` when there is none."""
    found = sorted((root / "leaderboards" / "results").glob("*/*/*/seed*.json"))
    if not found:
        raise NothingSelected(f"no records in {root / 'leaderboards' / 'results'}: run a board first")
    return found


def problems(root: Path) -> Iterator[tuple[Path, str]]:
    """(record, what does not fit) of all records; nothing where all is well."""
    folder = root / "leaderboards" / "results"
    found: dict[str, tuple[boards.Board, dict[Path, boards.Job]]] = {}
    for path in records(root):
        name = path.relative_to(folder).parts[0]
        try:
            if name not in found:
                board = boards.load(name)
                found[name] = board, {job.path: job for job in board.jobs()}
            record = results.parse(read_json(path, "record"), path)
        except BenchError as err:
            yield path, str(err)
            continue
        yield from ((path, text) for text in [*record.problems(), *contradictions(record)])
        board, cells = found[name]
        job = cells.get(path.relative_to(folder / name))
        if job is None:
            yield path, f"board {name} has no such cell: its rows, set-ups and seeds are in {name}.toml"
        elif cell(record) != job.run.digest:
            yield path, f"it is of run {record.digest}; this cell of board {name} is run {job.run.digest}"
        else:
            yield from ((path, text) for text in off_protocol(record, job, board))


def again(
    root: Path, runs: Path, keep: bool, device: torch.device, data_dir: Path | None
) -> Iterator[tuple[Path, Verdict]]:
    """Evaluate again the runs under ``runs`` whose records have not kept level 2; each as it is done. Raises
    :class:`VerificationFailed` at the first that does not hold."""
    for path in records(root):
        folder = runs / results.read(path).subject.folder
        if kept_level(path) < 2 and (weights_file(folder).exists() or (folder / LOADED).exists()):
            verdict = verify(path, folder, device, data_dir)
            if keep:
                keep_mark(path, verdict)
            yield path, verdict


def off_protocol(record: results.Record, job: boards.Job, board: boards.Board) -> Iterator[str]:
    """Conditions that a column needs and that were evaluated in another way than the board says."""
    suites = make_suites(job.suites, board.settings)
    said = {c: as_json(suite.protocol(c)) for suite in suites.values() for c in suite.conditions()}
    needed = {c for column in board.columns for setup, c in board.weights(column) if setup == job.setup}
    for condition in sorted(needed & said.keys() & record.outcomes.keys()):
        if record.outcomes[condition].protocol != said[condition]:
            yield f"{condition} was evaluated with {record.outcomes[condition].protocol}, not {said[condition]}"
