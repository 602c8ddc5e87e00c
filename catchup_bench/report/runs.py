"""Read what is stored of the runs that a report shows: from a run's folder, or from a record alone."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..evaluation.evaluate import find_run
from ..records.outcomes import read_outcomes
from ..records.record import Outcome, read_record
from ..runs.folder import RunFolder, read_metrics, read_run_or_external
from ..runs.make import train_command
from ..runs.run import ExternalNetwork, Run
from ..system.files import read_json

MOST = 12
"""Runs on a page: more curves in a plot cannot be told apart."""


@dataclass(frozen=True)
class ReportedRun:
    """What is stored of a run. ``label`` is how it is called on the page, unique there; ``source`` what it is, ``None``
    for a checkpoint that was evaluated on its own; ``folder`` is ``None`` for a record alone."""

    label: str
    source: Run | ExternalNetwork | None
    folder: Path | None
    metrics: tuple[dict[str, Any], ...]
    training: dict[str, Any]
    outcomes: dict[str, Outcome]
    test_sha256: str = ""

    def of_suite(self, suite: str) -> dict[str, Outcome]:
        """Return the outcomes of a suite by condition."""
        return {condition: o for condition, o in self.outcomes.items() if o.suite == suite}

    @property
    def trained(self) -> bool:
        """Return whether the weights of a finished run of ours are there."""
        return isinstance(self.source, Run) and self.folder is not None and RunFolder(self.folder).finished

    @property
    def where(self) -> str:
        """Return what a command calls the run: its folder, or the name that its folder has."""
        if self.folder is not None:
            return str(self.folder)
        return self.source.folder if self.source is not None else self.label

    def evaluation_command(self, suite: str) -> str:
        """Return the command that evaluates what ``suite`` measures."""
        words = ["catchup-bench", "evaluate"]
        if isinstance(self.source, Run):
            return shlex.join([*words, self.where, "--suite", suite])
        name = self.source.checkpoint if self.source is not None else "FILE"
        return shlex.join([*words, "--checkpoint", name, "--suite", suite])

    def training_command(self, *settings: str) -> str:
        """Return the command that trains the run, with ``settings`` of ``--set`` beside its own; an empty string where
        that is not known here."""
        try:
            return train_command(self.source, *settings) if isinstance(self.source, Run) else ""
        except UsageError:
            return ""


def read_reported(names: Iterable[str], runs: Path) -> list[ReportedRun]:
    """Read the runs that ``names`` say: a run's folder, the beginning or the end of the name of one in ``runs``, the
    folder of another network's outcomes, or the JSON file of a record, whose run is read from ``runs`` where it is
    there.

    Raises :class:`UsageError` for what is none of these, for a run twice, and for more than :data:`MOST`.
    """
    read = [_read(name, runs) for name in names]
    if len(read) > MOST:
        raise UsageError(f"{len(read)} runs: a report shows at most {MOST} side by side")
    keys = [(run.where, run.folder) for run in read]
    if twice := [run.where for run, key in zip(read, keys, strict=True) if keys.count(key) > 1]:
        raise UsageError(f"{twice[0]} is given twice")
    return _distinct(read)


def _read(name: str, runs: Path) -> ReportedRun:
    path = Path(name)
    if path.is_file():
        record = read_record(path)
        kept = runs / record.source.folder
        if (RunFolder(kept).finished or RunFolder(kept).external.exists()) and RunFolder(kept).outcomes.exists():
            return _read(str(kept), runs)
        label = _label(record.source)
        return ReportedRun(label, record.source, None, (), record.training, record.outcomes, record.test_sha256)
    alone = RunFolder(path).evaluation.exists() and not RunFolder(path).description.exists()
    folder = path if alone else find_run(runs, name)
    files = RunFolder(folder)
    evaluation = read_json(files.evaluation, "evaluation") if files.evaluation.exists() else {}
    training = read_json(files.training, "training summary") if files.training.exists() else {}
    if not isinstance(evaluation, dict) or not isinstance(training, dict):
        raise UsageError(f"{folder} is damaged: its evaluation or its training summary is not one")
    source = None if alone and not files.external.exists() else read_run_or_external(folder)
    checkpoint = evaluation.get("checkpoint")
    of_file = checkpoint.get("file") if isinstance(checkpoint, dict) else None
    label = str(of_file or folder.name) if source is None else _label(source)
    tested = str(evaluation.get("test_sha256", ""))
    return ReportedRun(label, source, folder, tuple(read_metrics(folder)), training, read_outcomes(folder), tested)


def _label(source: Run | ExternalNetwork) -> str:
    return f"{source.method.name} s{source.seed}" if isinstance(source, Run) else source.checkpoint


def _distinct(read: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Return the runs with labels of printable letters that differ: by dataset, model and digest where they must."""
    labels = ["".join(c if c.isprintable() else "?" for c in run.label) for run in read]
    if len(set(labels)) < len(labels):
        more = [f" {run.source.digest[:6]}" if run.source is not None else "" for run in read]
        labels = [label + (rest if labels.count(label) > 1 else "") for label, rest in zip(labels, more, strict=True)]
    numbered = [f"{label} ({labels[:i].count(label) + 1})" if labels.count(label) > 1 else label
                for i, label in enumerate(labels)]  # fmt: skip
    return [replace(run, label=label) for run, label in zip(read, numbered, strict=True)]
