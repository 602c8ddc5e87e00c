"""Verify all records of the leaderboards: level 1 of each, and that it belongs to its board."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from .. import boards
from ..boards.grid import Job, job_digest, jobs_of
from ..errors import BenchError
from ..records.record import Record, as_json, parse_record, read_record
from ..records.results_folder import changed_since_marked, kept_level, record_files, results_folder
from ..runs.folder import RunFolder
from ..suites import make_suites
from ..system.files import read_json
from .record import Verdict, contradictions, keep_level, verify_record

Protocols = dict[str, tuple[str, Any]]
"""Condition → its suite and protocol."""


def find_problems(root: Path, marks: bool = True) -> Iterator[tuple[Path, str]]:
    """Yield (record, what does not fit) of all records, each read once; nothing where all is well.

    With ``marks`` also marks of verification that are of other bytes than their records have now.
    """
    folder = results_folder(root)
    jobs: dict[str, dict[Path, Job]] = {}
    protocols: dict[tuple[str, str], Protocols] = {}
    setups: dict[Path, dict[Path, Record]] = {}
    for path in record_files(root):
        name = path.relative_to(folder).parts[0]
        try:
            if name not in jobs:
                board = boards.load(name)
                jobs[name] = {job.path: job for job in jobs_of(board)}
                protocols |= {(name, s.name): needed_protocols(board, s) for s in board.setups}
            record = parse_record(read_json(path, "record"), path)
            marked = changed_since_marked(path) if marks else []
        except BenchError as err:
            yield path, str(err)
            continue
        yield from ((path, text) for text in [*record.problems(), *contradictions(record), *marked])
        setups.setdefault(path.parent.parent, {})[path] = record
        job = jobs[name].get(path.relative_to(folder / name))
        if job is None:
            yield path, f"board {name} has no such job: its rows, setups and seeds are in {name}.toml"
        elif job_digest(record) != job.run.digest:
            yield path, f"it is of run {record.digest}; this job of board {name} is run {job.run.digest}"
        else:
            yield from ((path, text) for text in off_protocol(record, protocols[name, job.setup]))
    for every in setups.values():
        yield from unlike_others(every)


def unlike_others(every: Mapping[Path, Record]) -> Iterator[tuple[Path, str]]:
    """Yield the records of one setup of a board whose test images, or their number, are not those of most."""
    images = Counter(record.test_sha256 for record in every.values()).most_common(1)[0][0]
    counts: dict[str, Counter[int]] = {}
    for record in every.values():
        for condition, outcome in record.outcomes.items():
            counts.setdefault(condition, Counter())[outcome.n] += 1
    usual = {condition: count.most_common(1)[0][0] for condition, count in counts.items()}
    for path, record in every.items():
        if record.test_sha256 != images:
            yield path, f"its test images are {record.test_sha256}; those of most records beside it are {images}"
        for condition, outcome in record.outcomes.items():
            if outcome.n != (n := usual[condition]):
                yield path, f"{condition} is of {outcome.n} images; that of most records beside it is of {n}"


def reevaluate_all(
    root: Path, runs: Path, keep: bool, device: torch.device, data_dir: Path | None
) -> Iterator[tuple[Path, Verdict]]:
    """Evaluate again the runs under ``runs`` whose records have not kept level 2, and yield each as it is done.

    Raises :class:`VerificationFailed` at the first that does not hold.
    """
    for path in record_files(root):
        folder = RunFolder(runs / read_record(path).source.folder)
        if kept_level(path) < 2 and (folder.finished or folder.external.exists()):
            verdict = verify_record(path, folder.path, device, data_dir)
            if keep:
                keep_level(path, verdict)
            yield path, verdict


def needed_protocols(board: boards.Board, setup: boards.Setup) -> Protocols:
    """Return the suite and protocol of every condition of ``setup`` that a column of the board needs."""
    suites = make_suites(setup.suites, board.settings)
    needed = {c for column in board.columns for name, c in board.weights(column) if name == setup.name}
    return {
        condition: (name, as_json(suite.protocol(condition)))
        for name, suite in suites.items()
        for condition in suite.conditions()
        if condition in needed
    }


def off_protocol(record: Record, protocols: Protocols) -> Iterator[str]:
    """Yield conditions that were evaluated in another way than ``protocols`` says."""
    for condition in sorted(protocols.keys() & record.outcomes.keys()):
        outcome, (suite, protocol) = record.outcomes[condition], protocols[condition]
        if outcome.suite != suite:
            yield f"{condition} is of suite {suite}, not {outcome.suite}"
        if outcome.protocol != protocol:
            yield f"{condition} was evaluated with {outcome.protocol}, not {protocol}"
