"""The one training loop. A method gives it a loss; nothing here knows any method by name.

Everything random is seeded per epoch from the run's seed, so a run resumes from the end of any epoch, to the same
bits on a CPU; threads and precision are in the record. Whatever ends a run early, an exception or a signal, the end of
the last whole epoch is on disk when it leaves: what is lost is at most the running epoch. Within a step nothing is
read back from the device.
"""

import copy
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor

from . import checkpoint, data
from .build import build
from .compiled import Compiled
from .errors import RunFailed, UsageError
from .files import append_line, sweep, write_json, write_text
from .graphs import Backend, CudaGraphs, Graphs, Step
from .hardware import autocast, captures, choose_engine, choose_precision, describe, enough_memory, exact_products
from .loader import Loader, batches
from .method import Method
from .models import StagedNet
from .parallel import ALONE, Group
from .run import Run, derive, opened
from .stream import StreamingLoader
from .watch import LOOK, Watch, finite_weights


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


def weights_file(folder: Path) -> Path:
    """The last epoch's weights; they are there when the run is finished."""
    return folder / "last.safetensors"


def failure_file(folder: Path) -> Path:
    """Says why training failed; absent while it goes on, and when it is finished."""
    return folder / "failed.json"


def train(
    run: Run,
    runs: Path,
    *,
    device: torch.device,
    data_dir: Path | None = None,
    report: Reporter | None = None,
    checkpoint_every: float = 15.0,
    group: Group = ALONE,
    engine: str = "auto",
) -> Path:
    """Train ``run``, or go on where it stopped, and return its folder. All processes of ``group`` call it alike.

    ``checkpoint_every`` is in seconds; a state is written at the first end of an epoch after that, and when training
    is ended early. ``engine`` is as for :func:`choose_engine`. Raises :class:`UsageError` for missing data or an
    impossible combination, before anything is written, and :class:`RunFailed` within :data:`LOOK` × 2 steps of a loss
    that is not finite, which the file ``failed.json`` in the folder then tells; a later call tries again from the last
    good epoch.
    """
    report = report or Silent()
    engine = choose_engine(engine, device, group.size)
    folder = runs / run.folder
    if group.told(weights_file(folder).exists()):
        if group.main:
            (folder / "state.pt").unlink(missing_ok=True)  # killed between the two
        return folder
    choose_precision(run.recipe.precision, device)  # refuses what the device has not, before anything is written
    images = data.load(run.dataset.name, "train", data_dir, run.dataset.fraction, run.seed)
    test = data.load(run.dataset.name, "test", data_dir)
    with enough_memory(run.folder):
        net, method = build(run, device, data.num_classes(run.dataset.name, data_dir))
        loader = make_loader(run, images, device, group)
    with opened(run, runs) if group.main else nullcontext():
        training = start_or_resume(run, folder, net, method, device, group)
        use_engine(training, engine)
        with enough_memory(run.folder), keeping(training), exact_products(training.precision):
            train_epochs(training, loader, test, report, checkpoint_every)
            if group.main:
                finish(training, images)
            group.told(None)  # none leaves before the files are there
    return folder


def use_engine(training: Training, engine: str) -> None:
    """Have the steps of ``training`` taken by ``engine``, which is as :func:`choose_engine` gives it."""
    if captures(engine):
        capture_steps(training, CudaGraphs(training.net.mean.device), engine)
    elif engine == "compile":
        compile_steps(training)


def capture_steps(training: Training, backend: Backend, engine: str = "graphs") -> None:
    step: Step = partial(train_step, training)
    net, optimizer, gen = training.net, training.optimizer, training.gen
    if engine == "compile+graphs":
        step = Compiled(step, net, gen).take
    name, optional = ("graphs", True) if engine == "auto" else (engine, False)
    training.engine = Graphs(step, net, optimizer, gen, training.precision, backend, name, optional)


def compile_steps(training: Training) -> None:
    training.engine = Compiled(partial(train_step, training), training.net, training.gen)


@contextmanager
def keeping(training: Training) -> Iterator[None]:
    """Whatever ends training early, the end of its last epoch is written first."""
    try:
        yield
    except BaseException:
        if not weights_file(training.folder).exists():
            save(training)
        raise


def train_epochs(
    training: Training, loader: Loader | StreamingLoader, test: data.Images, report: Reporter, checkpoint_every: float
) -> None:
    recipe = training.run.recipe
    report.start(len(loader.images) * recipe.epochs, len(loader.images) * training.epoch)
    saved = time.monotonic()
    for epoch in range(training.epoch, recipe.epochs):
        line = train_epoch(training, loader, epoch, report)
        if (epoch + 1) % recipe.eval_every == 0 or epoch + 1 == recipe.epochs:
            line["test_error"] = test_error(training.net, test, training.precision, group=training.group)
        after_epoch(training, line, epoch)
        report.epoch(line)
        if time.monotonic() - saved >= checkpoint_every and epoch + 1 < recipe.epochs:
            save(training)
            saved = time.monotonic()


def dry_run(run: Run, *, device: torch.device, data_dir: Path | None = None) -> float:
    """Build everything and take one step, writing nothing; the step's loss."""
    images = data.load(run.dataset.name, "train", data_dir, run.dataset.fraction, run.seed)
    data.load(run.dataset.name, "test", data_dir)
    net, method = build(run, device, data.num_classes(run.dataset.name, data_dir))
    precision = choose_precision(run.recipe.precision, device)
    training = Training(run, Path(), net, method, make_optimizer(run, net), precision, 0, [])
    x, y = next(make_loader(run, images, device).epoch(0))
    plan = method.plan(np.random.default_rng(derive(run.seed, "plan", 0)))
    method.start_epoch(net)
    with enough_memory(run.folder), exact_products(precision):
        return float(train_step(training, x, y, plan, torch.Generator(device).manual_seed(0), run.recipe.lr))


def make_loader(
    run: Run, images: data.Images | data.Files, device: torch.device, group: Group = ALONE
) -> Loader | StreamingLoader:
    """Batches as the recipe wants them, from memory or from files. Raises :class:`UsageError` when they do not fit."""
    recipe = run.recipe
    wanted = ("pad", "padding", "flip", "drop_last", "crop", "interpolation", "color_jitter", "lighting")
    options: dict[str, Any] = {key: getattr(recipe, key) for key in wanted}
    options |= {"seed": run.seed, "device": device, "group": group}
    if isinstance(images, data.Files):
        return StreamingLoader(images, recipe.batch_size, **options)
    return Loader(images, recipe.batch_size, **options)


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


def train_epoch(training: Training, loader: Loader | StreamingLoader, epoch: int, report: Reporter) -> dict[str, Any]:
    """One pass over the data; the line for ``metrics.jsonl``."""
    run, net, device, own = training.run, training.net, loader.y.device, training.group.own
    torch.manual_seed(derive(run.seed, "layers", epoch, *own))  # for modules that draw from the default generator
    rng = np.random.default_rng(derive(run.seed, "plan", epoch))
    training.gen.manual_seed(derive(run.seed, "method", epoch, *own))
    total = torch.zeros((), device=device)
    seen, start = 0, time.perf_counter()
    watch = Watch()
    net.train()
    training.method.start_epoch(net)
    for step, (x, y) in enumerate(loader.epoch(epoch)):
        lr = run.recipe.lr_at(epoch + step / len(loader))
        plan = training.method.plan(rng)
        loss = take_step(training, x, y, plan, lr)
        n = len(loader.batch(step))
        total += loss * n
        seen += n
        report.step(n)
        if (step + 1) % LOOK == 0 and not watch.finite(total):
            fail(training, epoch, step)
    training.group.average_statistics(net)
    loss_mean = float(total) / seen
    if not math.isfinite(loss_mean) or not finite_weights(net):
        fail(training, epoch, step)
    seconds = time.perf_counter() - start
    return {"epoch": epoch + 1, "loss": loss_mean, "lr": lr, "seconds": seconds, "images_per_second": seen / seconds}


def fail(training: Training, epoch: int, step: int) -> NoReturn:
    what = "the loss is no longer finite"
    if training.group.main:
        write_json(failure_file(training.folder), {"what": what, "epoch": epoch + 1, "step": step + 1})
    raise RunFailed(
        f"{training.run.folder}: {what} in epoch {epoch + 1}, step {step + 1}; its last good epoch is kept. "
        "Try a lower --set recipe.lr or --precision fp32"
    )


def take_step(training: Training, x: Tensor, y: Tensor, plan: Any, lr: float) -> Tensor:
    """As :func:`train_step`, the way that the training's engine takes it."""
    if training.engine is not None:
        return training.engine(x, y, plan, lr)
    return train_step(training, x, y, plan, training.gen, lr)


def train_step(training: Training, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator, lr: float | Tensor) -> Tensor:
    """One update; the detached loss, still on the device."""
    for group in training.optimizer.param_groups:
        group["lr"] = lr
    training.optimizer.zero_grad()
    with autocast(training.precision, x.device):
        loss = training.method.loss(training.net, x, y, plan, gen)
    loss.backward()
    whole = training.group.average(training.net, loss.detach(), len(y))
    training.optimizer.step()
    return whole


@torch.inference_mode()
def test_error(
    net: StagedNet, images: data.Images, precision: str, batch_size: int = 500, group: Group = ALONE
) -> float:
    """Top-1 error in percent, in the precision of training: for the curve and for ``best``, never for a board."""
    net.eval()
    device = net.mean.device
    wrong = torch.zeros((), dtype=torch.int64, device=device)
    for x, y, _ in islice(batches(images, batch_size, device), group.rank, None, group.size):
        with autocast(precision, device):
            wrong += (net(x).argmax(1) != y).sum()
    return 100 * group.sum(wrong).item() / len(images)


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
