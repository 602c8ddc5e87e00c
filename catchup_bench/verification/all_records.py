"""Verify all records of the leaderboards: level 1 of each, and that it belongs to its board."""

from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import BenchError
from ..records.costs import read_costs
from ..records.record import Record, read_record
from ..records.results_folder import cost_files, read_marks, record_files, results_folder, strays
from ..runs.folder import RunFolder
from .on_board import BoardGrid, shared_weights, unlike_others
from .record import Verdict, examine, keep_level, verify_record


def find_problems(
    root: Path, marks: bool = True, only: str | None = None, kept: dict[Path, Record] | None = None
) -> Iterator[tuple[Path, str]]:
    """Yield (file, what does not fit) of all records, each read once, of the costs beside them, and of what does not
    belong below ``leaderboards/``; nothing where all is well.

    With ``marks`` also marks of verification that are of other bytes than their records have now; ``only`` is the name
    of one board, whose records are then read alone. The records that could be read are put into ``kept``.
    """
    folder = results_folder(root)
    if only is None:
        yield from strays(root)
    kept = {} if kept is None else kept
    by_board: dict[str, list[Path]] = {}
    for path in record_files(root):
        by_board.setdefault(path.relative_to(folder).parts[0], []).append(path)
    for name, paths in by_board.items():
        if only is not None and name != only:
            continue
        try:
            grid = BoardGrid.load(name)
        except BenchError as err:
            yield from ((path, str(err)) for path in paths)
            continue
        setups: dict[Path, dict[Path, Record]] = {}
        for path in paths:
            try:
                record, texts = examine(path, grid, path.relative_to(folder / name), marks)
            except BenchError as err:
                yield path, str(err)
                continue
            yield from ((path, text) for text in texts)
            setups.setdefault(path.parent.parent, {})[path] = record
        for every in setups.values():
            yield from unlike_others(every)
            kept |= every
        yield from shared_weights([pair for every in setups.values() for pair in every.items()])
        for path in [path for path in cost_files(root) if path.parts[-3] == name]:
            try:
                yield from ((path, text) for text in grid.cost_problems(read_costs(path), path.parent.name))
            except BenchError as err:
                yield path, str(err)


def reevaluate_all(
    root: Path, runs: Path, keep: bool, device: torch.device, data_dir: Path | None
) -> Iterator[tuple[Path, Verdict]]:
    """Evaluate again the runs under ``runs`` whose records have not kept level 2, and yield each as it is done.

    Raises :class:`VerificationFailed` at the first that does not hold.
    """
    for path in record_files(root):
        folder = RunFolder(runs / read_record(path).source.folder)
        if read_marks(path).level < 2 and (folder.finished or folder.external.exists()):
            verdict = verify_record(path, folder.path, device, data_dir)
            if keep:
                keep_level(path, verdict)
            yield path, verdict
