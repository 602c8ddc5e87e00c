"""The state of a run in training: what is kept at the end of an epoch, and how it is resumed."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import data
from ..engines.compiled import Compiled
from ..engines.graph_passes import Forward
from ..engines.graph_steps import Graphs
from ..engines.grouped import Grouped
from ..errors import UsageError
from ..method import Method
from ..models import StagedNet
from ..runs import checkpoint
from ..runs.folder import RunFolder, check_still_there
from ..runs.run import Run
from ..system.files import append_line, sweep, write_json, write_text
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
    anew in every epoch; ``engine`` takes the steps if they are not eager, ``looks`` makes the passes of looks at the
    test error if they are captured, ``grouped`` does what layers of a step have in common, where launches take time;
    ``train_sha256`` is the digest of the training images."""

    run: Run
    folder: RunFolder
    net: StagedNet
    method: Method
    optimizer: torch.optim.Optimizer
    precision: str
    epoch: int
    metrics: list[dict[str, Any]]
    best_weights: dict[str, Tensor] | None = None
    kept: Kept | None = None
    group: Group = ALONE
    threads: int = 1
    train_sha256: str = ""
    engine: Graphs | Compiled | None = None
    looks: Forward | None = None
    grouped: Grouped | None = field(init=False)
    gen: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        device = self.net.mean.device
        self.gen = torch.Generator(device)
        self.grouped = Grouped(self.net, self.precision) if device.type == "cuda" else None

    @property
    def best(self) -> dict[str, Any]:
        """Return the evaluated epoch of lowest test error, the first of equals: stored, never ranked."""
        looked = [line for line in self.metrics if "test_error" in line]
        return min(looked, key=lambda line: line["test_error"])


@contextmanager
def keeping(training: Training) -> Iterator[None]:
    """Write the end of the last epoch before whatever ends training early."""
    try:
        yield
    except BaseException:
        if not training.folder.finished:
            save(training)
        raise


def make_optimizer(run: Run, net: StagedNet) -> torch.optim.Optimizer:
    """Make SGD on all parameters alike, BatchNorm and biases included, as in the protocols of ``recipes/``."""
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
    run: Run,
    folder: RunFolder,
    net: StagedNet,
    method: Method,
    precision: str,
    group: Group = ALONE,
    train_sha256: str = "",
    threads: int = 1,
) -> Training:
    """Return ``run`` as the state in ``folder`` has it, or at its beginning where there is none.

    Raises :class:`UsageError` when the state is damaged, or of other images or another number of processes.
    """
    optimizer = make_optimizer(run, net)
    training = Training(
        run, folder, net, method, optimizer, precision, 0, [], group=group, threads=threads, train_sha256=train_sha256
    )
    state = group.broadcast(checkpoint.read_state(folder.state) if group.main else None)
    if state is not None:
        if (processes := state.get("processes", 1)) != group.size:
            raise UsageError(f"{folder.state} is of {processes} processes, not {group.size}: delete it to start over")
        if state.get("train_sha256", train_sha256) != train_sha256:
            raise UsageError(
                f"{folder.state} is of other training images than those there now: bring them back, or delete it to "
                "start over"
            )
        try:
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
            training.metrics = json.loads(state["metrics"])
            training.precision, training.epoch = str(state["precision"]), int(state["epoch"])
            training.threads = int(state.get("threads", threads))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as err:
            what = type(err).__name__
            raise UsageError(f"{folder.state} is not a state of this run ({what}): delete it to start over") from None
    if group.main:
        sweep(folder.path)
        folder.failure.unlink(missing_ok=True)
        write_metrics(folder, training.metrics)  # without what an interrupted attempt left: it will be run again
    return training


def after_epoch(training: Training, line: dict[str, Any], epoch: int) -> None:
    training.epoch = epoch + 1
    training.metrics.append(line)
    if training.group.main:
        append_line(training.folder.metrics, json.dumps(line))
    weights = {k: v.detach().clone() for k, v in training.net.state_dict().items()}
    if training.group.main and training.epoch in training.run.recipe.snapshot_epochs:
        path = training.folder.snapshot(training.epoch)
        checkpoint.save_tensors(weights, training.run, path, epoch=training.epoch)
    if "test_error" in line and training.best is line:
        training.best_weights = weights
    state = {
        "epoch": training.epoch,
        "net": weights,
        "optimizer": copy.deepcopy(training.optimizer.state_dict()),
        "precision": training.precision,
        "metrics": json.dumps(training.metrics),
        "processes": training.group.size,
        "threads": training.threads,
        "train_sha256": training.train_sha256,
    }
    # in one assignment: a signal between two statements finds one whole epoch or the other
    training.kept = Kept(state, training.best_weights, training.best["epoch"] if training.best_weights else 0)


def write_metrics(folder: RunFolder, metrics: list[dict[str, Any]]) -> None:
    write_text(folder.metrics, "".join(json.dumps(line) + "\n" for line in metrics))


def save(training: Training) -> None:
    """Write the end of the last epoch, the best weights first: if the state is then not written, the epochs in between
    come to the same best again. Raises :class:`RunFailed` when the folder was deleted."""
    kept = training.kept
    if kept is None or not training.group.main:
        return
    check_still_there(training.folder.path)
    save_best(training, kept)
    checkpoint.save_state(kept.state, training.folder.state)
    training.kept = None


def save_best(training: Training, kept: Kept) -> None:
    if kept.best_weights is not None:
        path = training.folder.best
        checkpoint.save_tensors(kept.best_weights, training.run, path, epoch=kept.best_epoch)
        training.best_weights = None


def finish(training: Training, images: data.Images | data.Files) -> None:
    """Write the results of training, the weights last: their presence says that the run is complete."""
    folder, device = training.folder, training.net.mean.device
    check_still_there(folder.path)
    if training.kept is not None:
        save_best(training, training.kept)
    facts = {
        "epochs": training.epoch,
        "best": {k: training.best[k] for k in ("epoch", "test_error")},
        "seconds": sum(line["seconds"] for line in training.metrics),
        "train_images": len(images),
        "train_sha256": training.train_sha256 or images.digest(),
        **(training.engine.facts() if training.engine else {"engine": "eager"}),
        **({"eager_looks": training.looks.fallen} if training.looks and training.looks.fallen else {}),
        **describe(device, training.precision),
        **training.group.facts,
    }
    write_json(folder.training, facts)
    tensors = training.net.state_dict()
    checkpoint.save_tensors(tensors, training.run, folder.weights, epoch=training.epoch)
    folder.state.unlink(missing_ok=True)
