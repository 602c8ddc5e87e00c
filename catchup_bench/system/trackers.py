"""Trackers of experiments: one optional sink for what the progress of a run shows. Each is imported when it is used."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ..errors import RunFailed, UsageError, one_line_of
from .progress import Measured, NoProgress, Progress

PROJECT = "catchup-bench"
"""Name of the project, or experiment, under which a tracker shows all runs."""


class Sink(Protocol):
    """Where numbers go."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep ``values`` of a step, which is an epoch counted from 1."""

    def close(self) -> None:
        """Write what is not written yet."""


class TensorBoard:
    """Event files in the folder ``tensorboard`` of the run."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder / "tensorboard"))
        self.writer.add_text("run", json.dumps(config, indent=1))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, which a resumed run continues; ``WANDB_MODE=offline`` keeps it in the run's folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self.run: Any = wandb.init(
            project=PROJECT, name=folder.name, id=folder.name, resume="allow", dir=str(folder), config=dict(config)
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, "epoch": step})

    def close(self) -> None:
        self.run.finish()


class MLflow:
    """A run of MLflow, which a resumed run continues, where ``MLFLOW_TRACKING_URI`` says."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        self.client: Any = MlflowClient()
        experiment = self.client.get_experiment_by_name(PROJECT)
        number = self.client.create_experiment(PROJECT) if experiment is None else experiment.experiment_id
        known = self.client.search_runs([number], f"tags.folder = '{folder.name}'", max_results=1)
        if known:
            self.run = known[0].info.run_id
            return
        self.run = self.client.create_run(number, run_name=folder.name, tags={"folder": folder.name}).info.run_id
        for name, value in flat(config).items():
            self.client.log_param(self.run, name, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.run)


class Trackio:
    """A run of Trackio, which keeps it on this machine; a resumed run continues it."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import trackio

        self.run: Any = trackio.init(project=PROJECT, name=folder.name, resume="allow", config=dict(config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, "epoch": step})

    def close(self) -> None:
        import trackio

        trackio.finish()


SINKS: dict[str, Callable[[Path, Mapping[str, Any]], Sink]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}

APART = {"mlflow": "mlflow-skinny sqlalchemy alembic"}
"""What is installed by itself: torchattacks pins a requests that is too old for MLflow, and works with a newer one."""


def check_tracker(name: str | None) -> None:
    """Raise :class:`UsageError` when the tracker called ``name`` is not installed; it is not imported."""
    if name is not None and find_spec(name) is None:
        install = APART.get(name, f"'catchup-bench[{name}]'")
        raise UsageError(f"--track {name} needs {name}: pip install {install}")


class Tracking(NoProgress):
    """Sends the epochs and conditions of a run to a tracker, under the name of the run's folder.

    The tracker is opened at the first of them: bad input leaves nothing behind. ``config`` says what the run is,
    ``epochs`` the step of what is measured after training.
    """

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any], epochs: int = 0) -> None:
        self.name, self.folder, self.config, self.epochs = name, folder, config, epochs
        self.sink: Sink | None = None

    def epoch(self, line: dict[str, Any]) -> None:
        self.log({k: float(v) for k, v in line.items() if k not in ("epoch", "seconds")}, int(line["epoch"]))

    def condition(self, name: str, outcome: Measured) -> None:
        self.log({f"{outcome.suite}/{name}": outcome.error}, self.epochs)

    def log(self, values: Mapping[str, float], step: int) -> None:
        try:
            with redirect_stdout(sys.stderr):  # what a library prints is no result of a command
                if self.sink is None:
                    self.sink = SINKS[self.name](self.folder, self.config)
                self.sink.log(values, step)
        except Exception as err:  # of a server, or of a library that may raise anything
            raise RunFailed(f"--track {self.name}: {one_line_of(err)[:300]}") from None

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(self, *_: object) -> None:
        if self.sink is not None:
            with redirect_stdout(sys.stderr):
                self.sink.close()


class Several:
    """Passes what happens on to all of ``others``; stops when one of them asks for it."""

    def __init__(self, *others: Progress) -> None:
        self.others = others

    def start(self, total: int, done: int) -> None:
        for other in self.others:
            other.start(total, done)

    def step(self, images: int) -> None:
        for other in self.others:
            other.step(images)

    def epoch(self, line: dict[str, Any]) -> None:
        for other in self.others:
            other.epoch(line)

    def condition(self, name: str, outcome: Measured) -> None:
        for other in self.others:
            other.condition(name, outcome)

    def should_stop(self) -> bool:
        return any(other.should_stop() for other in self.others)


@contextmanager
def tracked(
    progress: Progress, name: str | None, folder: Path, config: Mapping[str, Any], epochs: int = 0
) -> Iterator[Progress]:
    """Yield what passes everything on to ``progress`` and to the tracker called ``name``, as :class:`Tracking` has it;
    ``progress`` itself for ``None``."""
    if name is None:
        yield progress
        return
    with Tracking(name, folder, config, epochs) as tracking:
        yield Several(progress, tracking)


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested ``values`` as one level, with dots in the names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{before}{name}"
        found |= flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return found
