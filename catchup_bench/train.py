"""The one training loop. A method gives it a loss; nothing here knows any method by name.

Everything random is seeded per epoch from the run's seed, so a run resumes from the end of any epoch, to the same
bits on a CPU. Within a step nothing is read back from the device.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from . import checkpoint, data
from .build import build
from .errors import RunFailed, UsageError
from .files import write_json, write_text
from .hardware import autocast, choose_precision, describe
from .loader import Loader, batches
from .method import Method
from .models import StagedNet
from .run import Run, derive, open_folder


class Reporter(Protocol):
    """Who is told how training goes; see :mod:`catchup_bench.progress`."""

    def start(self, total: int, done: int) -> None: ...
    def step(self, images: int) -> None: ...
    def epoch(self, line: dict[str, Any]) -> None: ...


class Silent:
    """Tells nobody."""

    def start(self, total: int, done: int) -> None: ...
    def step(self, images: int) -> None: ...
    def epoch(self, line: dict[str, Any]) -> None: ...


@dataclass
class Training:
    """A run in progress: what is saved, and what is needed to go on."""

    run: Run
    folder: Path
    net: StagedNet
    method: Method
    optimizer: torch.optim.Optimizer
    precision: str
    epoch: int
    metrics: list[dict[str, Any]]
    best_weights: dict[str, Tensor] | None = None

    @property
    def best(self) -> dict[str, Any]:
        """The evaluated epoch of lowest test error, the first of equals: stored, never ranked."""
        looked = [line for line in self.metrics if "test_error" in line]
        return min(looked, key=lambda line: line["test_error"])


def weights_file(folder: Path) -> Path:
    """The last epoch's weights; they are there when the run is finished."""
    return folder / "last.safetensors"


def train(
    run: Run,
    runs: Path,
    *,
    device: torch.device,
    data_dir: Path | None = None,
    report: Reporter | None = None,
    checkpoint_every: float = 15.0,
) -> Path:
    """Train ``run``, or go on where it stopped, and return its folder.

    ``checkpoint_every`` is in seconds; a state is written at the first end of an epoch after that. Raises
    :class:`UsageError` for missing data or an impossible combination, before anything is written, and
    :class:`RunFailed` when the loss is no longer finite.
    """
    report = report or Silent()
    folder = runs / run.folder
    if weights_file(folder).exists():
        return folder
    images = data.load(run.dataset.name, "train", data_dir, run.dataset.fraction, run.seed)
    test = data.load(run.dataset.name, "test", data_dir)
    net, method = build(run, device)
    open_folder(run, runs)
    with locked(folder):
        training = start_or_resume(run, folder, net, method, device)
        loader = make_loader(run, images, device)
        report.start(len(loader.images) * run.recipe.epochs, len(loader.images) * training.epoch)
        saved = time.monotonic()
        for epoch in range(training.epoch, run.recipe.epochs):
            line = train_epoch(training, loader, epoch, report)
            if (epoch + 1) % run.recipe.eval_every == 0 or epoch + 1 == run.recipe.epochs:
                line["test_error"] = test_error(net, test, training.precision)
            after_epoch(training, line, epoch)
            report.epoch(line)
            if time.monotonic() - saved >= checkpoint_every and epoch + 1 < run.recipe.epochs:
                save(training)
                saved = time.monotonic()
        finish(training, images)
    return folder


def dry_run(run: Run, *, device: torch.device, data_dir: Path | None = None) -> float:
    """Build everything and take one step, writing nothing; the step's loss."""
    images = data.load(run.dataset.name, "train", data_dir, run.dataset.fraction, run.seed)
    data.load(run.dataset.name, "test", data_dir)
    net, method = build(run, device)
    precision = choose_precision(run.recipe.precision, device)
    training = Training(run, Path(), net, method, make_optimizer(run, net), precision, 0, [])
    x, y = next(make_loader(run, images, device).epoch(0))
    plan = method.plan(np.random.default_rng(derive(run.seed, "plan", 0)))
    method.start_epoch(net)
    return float(train_step(training, x, y, plan, torch.Generator(device).manual_seed(0), run.recipe.lr))


def make_loader(run: Run, images: data.Images, device: torch.device) -> Loader:
    recipe = run.recipe
    return Loader(
        images,
        recipe.batch_size,
        seed=run.seed,
        pad=recipe.pad,
        flip=recipe.flip,
        drop_last=recipe.drop_last,
        device=device,
    )


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


def start_or_resume(run: Run, folder: Path, net: StagedNet, method: Method, device: torch.device) -> Training:
    optimizer = make_optimizer(run, net)
    state = checkpoint.read_state(folder / "state.pt")
    if state is None:
        write_metrics(folder, [])  # what an interrupted first attempt left
        precision = choose_precision(run.recipe.precision, device)
        return Training(run, folder, net, method, optimizer, precision, 0, [])
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    metrics = json.loads(state["metrics"])
    write_metrics(folder, metrics)  # lines after the state belong to epochs that will be run again
    return Training(run, folder, net, method, optimizer, state["precision"], state["epoch"], metrics)


def train_epoch(training: Training, loader: Loader, epoch: int, report: Reporter) -> dict[str, Any]:
    """One pass over the data; the line for ``metrics.jsonl``."""
    run, net, device = training.run, training.net, loader.y.device
    torch.manual_seed(derive(run.seed, "layers", epoch))  # for modules that draw from the default generator
    rng = np.random.default_rng(derive(run.seed, "plan", epoch))
    gen = torch.Generator(device).manual_seed(derive(run.seed, "method", epoch))
    total = torch.zeros((), device=device)
    seen, start = 0, time.perf_counter()
    net.train()
    training.method.start_epoch(net)
    for step, (x, y) in enumerate(loader.epoch(epoch)):
        lr = run.recipe.lr_at(epoch + step / len(loader))
        loss = train_step(training, x, y, training.method.plan(rng), gen, lr)
        total += loss * len(y)
        seen += len(y)
        report.step(len(y))
    loss_mean = float(total) / seen
    if not math.isfinite(loss_mean):
        raise RunFailed(
            f"{run.folder}: the loss is no longer finite in epoch {epoch + 1}; its last state is kept. "
            "Try a lower --set recipe.lr or --precision fp32"
        )
    seconds = time.perf_counter() - start
    return {"epoch": epoch + 1, "loss": loss_mean, "lr": lr, "seconds": seconds, "images_per_second": seen / seconds}


def train_step(training: Training, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator, lr: float) -> Tensor:
    """One update; the detached loss, still on the device."""
    for group in training.optimizer.param_groups:
        group["lr"] = lr
    training.optimizer.zero_grad()
    with autocast(training.precision, x.device):
        loss = training.method.loss(training.net, x, y, plan, gen)
    loss.backward()
    training.optimizer.step()
    return loss.detach()


@torch.inference_mode()
def test_error(net: StagedNet, images: data.Images, precision: str, batch_size: int = 500) -> float:
    """Top-1 error in percent, in the precision of training: for the curve and for ``best``, never for a board."""
    net.eval()
    device = net.mean.device
    wrong = torch.zeros((), dtype=torch.int64, device=device)
    for x, y, _ in batches(images, batch_size, device):
        with autocast(precision, device):
            wrong += (net(x).argmax(1) != y).sum()
    return 100 * wrong.item() / len(images)


def after_epoch(training: Training, line: dict[str, Any], epoch: int) -> None:
    training.epoch = epoch + 1
    training.metrics.append(line)
    with open(training.folder / "metrics.jsonl", "a", encoding="utf-8") as f:
        f.write(json.dumps(line) + "\n")
    if "test_error" in line and training.best is line:
        training.best_weights = {k: v.detach().clone() for k, v in training.net.state_dict().items()}


def write_metrics(folder: Path, metrics: list[dict[str, Any]]) -> None:
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))


def save(training: Training) -> None:
    """The best weights first: if the state is then not written, the epochs in between come to the same best again."""
    save_best(training)
    state = {
        "epoch": training.epoch,
        "net": training.net.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "precision": training.precision,
        "metrics": json.dumps(training.metrics),
    }
    checkpoint.save_state(state, training.folder / "state.pt")


def save_best(training: Training) -> None:
    if training.best_weights is not None:
        path = training.folder / "best.safetensors"
        checkpoint.save_tensors(training.best_weights, training.run, path, epoch=training.best["epoch"])
        training.best_weights = None


def finish(training: Training, images: data.Images) -> None:
    """Write the results of training, the weights last: their presence says that the run is complete."""
    save_best(training)
    folder, device = training.folder, training.net.mean.device
    facts = {
        "epochs": training.epoch,
        "best": {k: training.best[k] for k in ("epoch", "test_error")},
        "seconds": sum(line["seconds"] for line in training.metrics),
        "train_images": len(images),
        "train_sha256": images.digest(),
        **describe(device, training.precision),
    }
    write_json(folder / "training.json", facts)
    tensors = training.net.state_dict()
    checkpoint.save_tensors(tensors, training.run, weights_file(folder), epoch=training.epoch)
    (folder / "state.pt").unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process from training in the same folder; the lock ends with the process."""
    import fcntl

    with open(folder / ".lock", "w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{folder} is being trained by another process: wait for it, or use another --runs"
            ) from None
        yield
