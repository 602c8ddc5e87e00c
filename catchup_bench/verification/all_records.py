"""Do all records of the leaderboards hold, and do they belong where they lie? Level 1 for whole boards."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from .. import boards
from ..boards.grid import Job, job_digest, jobs_of
from ..errors import BenchError
from ..records.record import Record, as_json, parse_record, read_record
from ..records.results_folder import changed_since_marked, kept_level, record_files
from ..runs.folder import RunFolder
from ..suites import make_suites
from ..system.files import read_json
from .record import Verdict, contradictions, keep_level, verify_record


def find_problems(root: Path, marks: bool = True) -> Iterator[tuple[Path, str]]:
    """(record, what does not fit) of all records; nothing where all is well. ``marks``: also a mark of verification
    that is of other bytes than its record has now."""
    folder = root / "leaderboards" / "results"
    found: dict[str, tuple[boards.Board, dict[Path, Job]]] = {}
    setups: dict[Path, dict[Path, Record]] = {}
    for path in record_files(root):
        name = path.relative_to(folder).parts[0]
        try:
            if name not in found:
                board = boards.load(name)
                found[name] = board, {job.path: job for job in jobs_of(board)}
            record = parse_record(read_json(path, "record"), path)
            marked = changed_since_marked(path) if marks else []
        except BenchError as err:
            yield path, str(err)
            continue
        yield from ((path, text) for text in [*record.problems(), *contradictions(record), *marked])
        setups.setdefault(path.parent.parent, {})[path] = record
        board, cells = found[name]
        job = cells.get(path.relative_to(folder / name))
        if job is None:
            yield path, f"board {name} has no such cell: its rows, set-ups and seeds are in {name}.toml"
        elif job_digest(record) != job.run.digest:
            yield path, f"it is of run {record.digest}; this cell of board {name} is run {job.run.digest}"
        else:
            yield from ((path, text) for text in off_protocol(record, job, board))
    for every in setups.values():
        yield from unlike_others(every)


def unlike_others(every: Mapping[Path, Record]) -> Iterator[tuple[Path, str]]:
    """Records of one set-up of a board whose test images, or their number, are not those of most."""
    images = Counter(record.test_sha256 for record in every.values()).most_common(1)[0][0]
    counts: dict[str, Counter[int]] = {}
    for record in every.values():
        for condition, outcome in record.outcomes.items():
            counts.setdefault(condition, Counter())[outcome.n] += 1
    for path, record in every.items():
        if record.test_sha256 != images:
            yield path, f"its test images are {record.test_sha256}; those of most records beside it are {images}"
        for condition, outcome in record.outcomes.items():
            if outcome.n != (n := counts[condition].most_common(1)[0][0]):
                yield path, f"{condition} is of {outcome.n} images; that of most records beside it is of {n}"


def reevaluate_all(
    root: Path, runs: Path, keep: bool, device: torch.device, data_dir: Path | None
) -> Iterator[tuple[Path, Verdict]]:
    """Evaluate again the runs under ``runs`` whose records have not kept level 2; each as it is done. Raises
    :class:`VerificationFailed` at the first that does not hold."""
    for path in record_files(root):
        folder = RunFolder(runs / read_record(path).subject.folder)
        if kept_level(path) < 2 and (folder.finished or folder.external.exists()):
            verdict = verify_record(path, folder.path, device, data_dir)
            if keep:
                keep_level(path, verdict)
            yield path, verdict


def off_protocol(record: Record, job: Job, board: boards.Board) -> Iterator[str]:
    """Conditions that a column needs and that were evaluated in another way than the board says."""
    suites = make_suites(job.suites, board.settings)
    said = {c: (name, as_json(suite.protocol(c))) for name, suite in suites.items() for c in suite.conditions()}
    needed = {c for column in board.columns for setup, c in board.weights(column) if setup == job.setup}
    for condition in sorted(needed & said.keys() & record.outcomes.keys()):
        outcome, (suite, protocol) = record.outcomes[condition], said[condition]
        if outcome.suite != suite:
            yield f"{condition} is of suite {suite}, not {outcome.suite}"
        if outcome.protocol != protocol:
            yield f"{condition} was evaluated with {outcome.protocol}, not {protocol}"
