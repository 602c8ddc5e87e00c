"""The folder of a run: every file name in it, and its lock."""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import RunFailed, UsageError, one_line
from ..system.files import locked, read_json, read_limited, write_json
from .run import ExternalNetwork, Run, parse_run


@dataclass(frozen=True)
class RunFolder:
    """The files of a run, or of a network that was trained elsewhere, in the folder at ``path``."""

    path: Path

    @property
    def description(self) -> Path:
        """Return the file of what the run is: its method, dataset, model, recipe and seed."""
        return self.path / "run.json"

    @property
    def external(self) -> Path:
        """Return the file of what the network is, if it was trained elsewhere; then there is no ``run.json``."""
        return self.path / "loaded.json"

    @property
    def metrics(self) -> Path:
        """Return the file with a line of JSON per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def state(self) -> Path:
        """Return the file that training resumes from; it is gone when training is finished."""
        return self.path / "state.pt"

    @property
    def failure(self) -> Path:
        """Return the file that says why training failed; absent while it runs, and when it is finished."""
        return self.path / "failed.json"

    @property
    def training(self) -> Path:
        """Return the file of how the weights were made: hardware, versions, data."""
        return self.path / "training.json"

    @property
    def weights(self) -> Path:
        """Return the file of the last epoch's weights; it is there when training is finished."""
        return self.path / "last.safetensors"

    def snapshot(self, epoch: int) -> Path:
        """Return the file of the weights at the end of an epoch, counted from 1, that the recipe's ``snapshots``
        name."""
        return self.path / f"snapshot-{epoch}.safetensors"

    @property
    def snapshots(self) -> dict[int, Path]:
        """Return every such file that is there, by epoch."""
        kept = {p.stem.removeprefix("snapshot-"): p for p in self.path.glob("snapshot-*.safetensors")}
        return {int(epoch): path for epoch, path in kept.items() if epoch.isdecimal()}

    @property
    def best(self) -> Path:
        """Return the file of the weights of lowest test error: stored, never ranked."""
        return self.path / "best.safetensors"

    @property
    def evaluation(self) -> Path:
        """Return the file that says which weights were evaluated, on which test images."""
        return self.path / "evaluation.json"

    @property
    def outcomes(self) -> Path:
        """Return the folder with a file per condition."""
        return self.path / "outcomes"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def outcome(self, condition: str) -> Path:
        return self.outcomes / f"{condition}.json"

    @property
    def finished(self) -> bool:
        return self.weights.exists()

    @property
    def untouched(self) -> bool:
        """Return whether nothing is there but what a run's folder has before its first epoch is over."""
        begun = {self.description.name, self.metrics.name, self.lock.name}
        measured = self.metrics.exists() and self.metrics.stat().st_size > 0
        return not measured and {p.name for p in self.path.iterdir()} <= begun


def make_folder(run: Run, runs: Path) -> Path:
    """Make the folder of ``run`` under ``runs``, with its description, if it is new; return it."""
    folder = RunFolder(runs / run.folder)
    if not folder.description.exists():
        write_json(folder.description, run.model_dump(mode="json"))
    return folder.path


@contextmanager
def open_run(run: Run, runs: Path) -> Iterator[Path]:
    """Make and lock the folder of ``run``. Bad input that shows only within leaves no trace, unless an epoch was
    finished before. Raises :class:`Busy` when another process has the lock."""
    folder = RunFolder(make_folder(run, runs))
    with locked(folder.lock):
        try:
            yield folder.path
        except UsageError:
            if folder.untouched:
                shutil.rmtree(folder.path)
                with suppress(OSError):
                    runs.rmdir()
            raise


def check_still_there(folder: Path, of_run: bool = True) -> None:
    """Raise :class:`RunFailed` when the ``folder`` of a run lost its description: it was deleted meanwhile."""
    if of_run and not RunFolder(folder).description.exists():
        raise RunFailed(f"{folder} was deleted during the run: nothing more is written there; train it again")


def read_run(folder: Path) -> Run:
    """Read which run ``folder`` is of. Raises :class:`UsageError` when it says none."""
    path = RunFolder(folder).description
    return parse_run(read_json(path, "run"), path)


def read_run_or_external(folder: Path) -> Run | ExternalNetwork:
    """Read what was evaluated in ``folder``: a run, or a network that was trained elsewhere."""
    path = RunFolder(folder).external
    if not path.exists():
        return read_run(folder)
    try:
        return ExternalNetwork.model_validate(read_json(path, "external network"))
    except ValidationError as err:
        raise UsageError(f"{path} does not describe an external network: {one_line(err)}") from None


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl``, one per epoch, in their order; none where there is no such file.

    Raises :class:`UsageError` when a line is not of finite numbers by name, among them ``epoch``.
    """
    path = RunFolder(folder).metrics
    lines = []
    try:
        for text in read_limited(path).splitlines() if path.exists() else []:
            line = json.loads(text)
            if not line["epoch"] > 0 or not all(math.isfinite(number) for number in line.values()):
                raise ValueError("no finite numbers")
            lines.append(line)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
        raise UsageError(
            f"{path} is damaged ({type(err).__name__}): delete the run's folder and train it anew"
        ) from None
    return lines
