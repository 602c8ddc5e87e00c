"""The state of a run in training: what is kept at the end of an epoch, and how it is resumed."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import data
from ..engines.compiled import Compiled
from ..engines.graph_steps import Graphs
from ..errors import UsageError
from ..method import Method
from ..models import StagedNet
from ..runs import checkpoint
from ..runs.folder import failure_file, weights_file
from ..runs.run import Run
from ..system.files import append_line, sweep, write_json, write_text
from ..system.hardware import choose_precision
from ..system.provenance import describe
from .distributed import ALONE, Group


@dataclass(frozen=True)
class Kept:
    """The end of an epoch: the state to resume from, and the best weights unless they are on disk already."""

    state: dict[str, Any]
    best_weights: dict[str, Tensor] | None
    best_epoch: int


@dataclass
class Training:
    """A run in progress. ``kept`` is the end of its last epoch until that is on disk. ``gen`` is the method's, seeded
    anew in every epoch; ``engine`` takes the steps if they are not eager."""

    run: Run
    folder: Path
    net: StagedNet
    method: Method
    optimizer: torch.optim.Optimizer
    precision: str
    epoch: int
    metrics: list[dict[str, Any]]
    best_weights: dict[str, Tensor] | None = None
    kept: Kept | None = None
    group: Group = ALONE
    engine: Graphs | Compiled | None = None
    gen: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.gen = torch.Generator(self.net.mean.device)

    @property
    def best(self) -> dict[str, Any]:
        """The evaluated epoch of lowest test error, the first of equals: stored, never ranked."""
        looked = [line for line in self.metrics if "test_error" in line]
        return min(looked, key=lambda line: line["test_error"])


@contextmanager
def keeping(training: Training) -> Iterator[None]:
    """Whatever ends training early, the end of its last epoch is written first."""
    try:
        yield
    except BaseException:
        if not weights_file(training.folder).exists():
            save(training)
        raise


def make_optimizer(run: Run, net: StagedNet) -> torch.optim.Optimizer:
    """SGD on all parameters alike, BatchNorm and biases included, as in the protocols of ``recipes/``."""
    recipe = run.recipe
    return torch.optim.SGD(
        net.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def start_or_resume(
    run: Run, folder: Path, net: StagedNet, method: Method, device: torch.device, group: Group = ALONE
) -> Training:
    optimizer, path = make_optimizer(run, net), folder / "state.pt"
    precision = choose_precision(run.recipe.precision, device)
    training = Training(run, folder, net, method, optimizer, precision, 0, [], group=group)
    state = group.told(checkpoint.read_state(path) if group.main else None)
    if state is not None:
        if (processes := state.get("processes", 1)) != group.size:
            raise UsageError(f"{path} is of {processes} processes, not {group.size}: delete it to start over")
        try:
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
            training.metrics = json.loads(state["metrics"])
            training.precision, training.epoch = str(state["precision"]), int(state["epoch"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as err:
            what = type(err).__name__
            raise UsageError(f"{path} is not a state of this run ({what}): delete it to start over") from None
    if group.main:
        sweep(folder)
        failure_file(folder).unlink(missing_ok=True)
        write_metrics(folder, training.metrics)  # without what an interrupted attempt left: it will be run again
    return training


def after_epoch(training: Training, line: dict[str, Any], epoch: int) -> None:
    training.epoch = epoch + 1
    training.metrics.append(line)
    if training.group.main:
        append_line(training.folder / "metrics.jsonl", json.dumps(line))
    weights = {k: v.detach().clone() for k, v in training.net.state_dict().items()}
    if "test_error" in line and training.best is line:
        training.best_weights = weights
    state = {
        "epoch": training.epoch,
        "net": weights,
        "optimizer": copy.deepcopy(training.optimizer.state_dict()),
        "precision": training.precision,
        "metrics": json.dumps(training.metrics),
        "processes": training.group.size,
    }
    # in one assignment: a signal between two statements finds one whole epoch or the other
    training.kept = Kept(state, training.best_weights, training.best["epoch"] if training.best_weights else 0)


def write_metrics(folder: Path, metrics: list[dict[str, Any]]) -> None:
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))


def save(training: Training) -> None:
    """The best weights first: if the state is then not written, the epochs in between come to the same best again."""
    kept = training.kept
    if kept is None or not training.group.main:
        return
    save_best(training, kept)
    checkpoint.save_state(kept.state, training.folder / "state.pt")
    training.kept = None


def save_best(training: Training, kept: Kept) -> None:
    if kept.best_weights is not None:
        path = training.folder / "best.safetensors"
        checkpoint.save_tensors(kept.best_weights, training.run, path, epoch=kept.best_epoch)
        training.best_weights = None


def finish(training: Training, images: data.Images | data.Files) -> None:
    """Write the results of training, the weights last: their presence says that the run is complete."""
    if training.kept is not None:
        save_best(training, training.kept)
    folder, device = training.folder, training.net.mean.device
    facts = {
        "epochs": training.epoch,
        "best": {k: training.best[k] for k in ("epoch", "test_error")},
        "seconds": sum(line["seconds"] for line in training.metrics),
        "train_images": len(images),
        "train_sha256": images.digest(),
        **(training.engine.facts() if training.engine else {"engine": "eager"}),
        **describe(device, training.precision),
        **training.group.facts,
    }
    write_json(folder / "training.json", facts)
    tensors = training.net.state_dict()
    checkpoint.save_tensors(tensors, training.run, weights_file(folder), epoch=training.epoch)
    (folder / "state.pt").unlink(missing_ok=True)
