"""The folder of a run: every file name in it, and its lock."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from ..errors import UsageError, one_line
from ..system.files import locked, read_json, write_json
from .run import ExternalNetwork, Run, parse_run

EMPTY_FOLDER = frozenset({"run.json", "metrics.jsonl", ".lock"})
"""What the folder of a run holds before its first epoch is over."""

EXTERNAL_FILE = "loaded.json"


def make_folder(run: Run, runs: Path) -> Path:
    """The folder of ``run`` under ``runs``, made and labelled if it is new."""
    folder = runs / run.folder
    if not (folder / "run.json").exists():
        write_json(folder / "run.json", run.model_dump(mode="json"))
    return folder


@contextmanager
def open_run(run: Run, runs: Path) -> Iterator[Path]:
    """The folder of ``run``, made and labelled, and locked. Bad input that shows only within leaves no trace, unless an
    epoch was finished before."""
    folder = make_folder(run, runs)
    with locked(folder):
        try:
            yield folder
        except UsageError:
            if {p.name for p in folder.iterdir()} <= EMPTY_FOLDER and not (folder / "metrics.jsonl").read_bytes():
                shutil.rmtree(folder)
                with suppress(OSError):
                    runs.rmdir()
            raise


def read_run(folder: Path) -> Run:
    return parse_run(read_json(folder / "run.json", "run"), folder / "run.json")


def read_run_or_external(folder: Path) -> Run | ExternalNetwork:
    """What was evaluated in ``folder``: a run, or a network that others trained."""
    path = folder / EXTERNAL_FILE
    if not path.exists():
        return read_run(folder)
    try:
        return ExternalNetwork.model_validate(read_json(path, "loaded network"))
    except ValidationError as err:
        raise UsageError(f"{path} does not describe a loaded network: {one_line(err)}") from None


def weights_file(folder: Path) -> Path:
    """The last epoch's weights; they are there when the run is finished."""
    return folder / "last.safetensors"


def failure_file(folder: Path) -> Path:
    """Says why training failed; absent while it goes on, and when it is finished."""
    return folder / "failed.json"
