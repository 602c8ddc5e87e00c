"""The one training loop. A method gives it a loss; nothing here knows any method by name.

Everything random is seeded per epoch from the run's seed, so a run resumes from the end of any epoch, to the same
bits on a CPU; threads and precision are in the record. Whatever ends a run early, an exception or a signal, the end of
the last whole epoch is on disk when it leaves: what is lost is at most the running epoch. Within a step nothing is
read back from the device.
"""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from .. import data
from ..data.batches import batches
from ..engines import choose_engine
from ..engines.capture import Backend, CudaGraphs, MakeBackend, Step
from ..engines.compiled import Compiled
from ..engines.graph_passes import Forward
from ..engines.graph_steps import Graphs
from ..engines.grouped import Grouped
from ..errors import OutOfTime, RunFailed, UsageError
from ..method import Method
from ..models import StagedNet
from ..runs.build import build
from ..runs.folder import RunFolder, open_run
from ..runs.pretrained import load_pretrained
from ..runs.run import Run
from ..seeds import derive
from ..system.files import read_json, write_json
from ..system.hardware import autocast, captures, choose_precision, enough_memory, exact_products
from ..system.progress import NoProgress, Progress
from ..system.threads import choose_threads, computing_with
from .distributed import ALONE, Group
from .divergence import CHECK_EVERY, DivergenceCheck, finite_weights
from .loader import Loader
from .state import Training, after_epoch, finish, keeping, make_optimizer, save, start_or_resume
from .stream import StreamingLoader


def train(
    run: Run,
    runs: Path,
    *,
    device: torch.device,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    checkpoint_every: float = 15.0,
    group: Group = ALONE,
    engine: str = "auto",
    threads: int | None = None,
    backend: MakeBackend | None = None,
) -> Path:
    """Train ``run``, or resume it, and return its folder. All processes of ``group`` call it alike.

    ``checkpoint_every`` is in seconds; a state is written at the first end of an epoch after that, and when training
    is ended early. ``engine`` is as for :func:`choose_engine`, ``threads`` as for :func:`choose_threads`; a resumed run
    keeps its number of threads. ``backend`` captures steps, by default CUDA does. Raises :class:`UsageError` for
    missing or changed data or an impossible combination, before anything is written, :class:`OutOfTime` when
    ``progress`` asks to stop, and :class:`RunFailed` within 2 × :data:`CHECK_EVERY` steps of a loss that is not finite,
    which ``failed.json`` in the folder then says; a later call tries again from the last good epoch.
    """
    progress = progress or NoProgress()
    engine = choose_engine(engine, device, group.size, captures=None if backend is None else True)
    folder = RunFolder(runs / run.folder)
    if group.broadcast(folder.finished):
        if group.main:
            folder.state.unlink(missing_ok=True)  # killed between the two
            check_train_images(run, folder, data_dir)
        return folder.path
    ready = prepare(run, device, data_dir, group, begun=folder.state.exists())
    net, images = ready.net, ready.images
    fitting = choose_threads(threads, net, images.size, device)
    with open_run(run, runs) if group.main else nullcontext():
        training = start_or_resume(run, folder, net, ready.method, ready.precision, group, images.digest(), fitting)
        if threads not in (None, training.threads):
            raise UsageError(
                f"{folder.state} is of {training.threads} threads, not {threads}, which would end in other weights: "
                "leave --threads out, or delete it to start over"
            )
        use_engine(training, engine, backend or CudaGraphs)
        exact = exact_products(training.precision)
        with computing_with(training.threads), enough_memory(run.folder), keeping(training), exact:
            train_epochs(training, ready.loader, ready.test, progress, checkpoint_every)
            if group.main:
                finish(training, images)
            group.broadcast(None)  # none leaves before the files are there
    return folder.path


@dataclass(frozen=True)
class Prepared:
    """What training takes: the training and the test images, the network and the method bound to it, the batches, and
    the precision of the device."""

    images: data.Images | data.Files
    test: data.Images
    net: StagedNet
    method: Method
    loader: Loader | StreamingLoader
    precision: str


def prepare(
    run: Run, device: torch.device, data_dir: Path | None, group: Group = ALONE, begun: bool = False
) -> Prepared:
    """Read the data of ``run`` and build its network, method and batches.

    Raises :class:`UsageError` for missing data or an impossible combination; nothing is written.
    """
    precision = choose_precision(run.recipe.precision, device)
    images = data.load(run.dataset.name, "train", data_dir, run.dataset.fraction, run.seed)
    test = data.load(run.dataset.name, "test", data_dir)
    classes = data.get(run.dataset.name).count_classes(data_dir)
    with enough_memory(run.folder):
        net, method = build(run, device, classes)
        loader = make_loader(run, images, device, group)
        if not begun:  # a state has weights of its own
            load_pretrained(net, run, data_dir)
    check_smallest_batch(net, loader)
    return Prepared(images, test, net, method, loader, precision)


def check_train_images(run: Run, folder: RunFolder, data_dir: Path | None) -> None:
    """Raise :class:`UsageError` when a finished run was trained on other images than those there now; do
    nothing where there are none to compare with."""
    try:
        digest = data.load(run.dataset.name, "train", data_dir, run.dataset.fraction, run.seed).digest()
    except UsageError:
        return
    facts = read_json(folder.training, "training summary")
    if isinstance(facts, dict) and facts.get("train_sha256") not in (None, digest):
        raise UsageError(
            f"{folder.path} was trained on other images than those there now (SHA-256 {facts['train_sha256'][:12]}, "
            f"not {digest[:12]}): bring them back, or train in another --runs folder"
        )


def use_engine(training: Training, engine: str, backend: MakeBackend = CudaGraphs) -> None:
    """Have the steps of ``training`` taken by ``engine``, which is as :func:`choose_engine` gives it. Compiled steps do
    not group what layers have in common: Dynamo would trace it anew at every step."""
    if captures(engine):
        capture_steps(training, backend(training.net.mean.device), engine)
    elif engine == "compile":
        training.grouped = None
        training.engine = Compiled(partial(train_step, training), training.net, training.gen)


def capture_steps(training: Training, backend: Backend, engine: str = "graphs") -> None:
    """Have steps captured, and the passes of looks at the test error."""
    step: Step = partial(train_step, training)
    net, optimizer, gen, precision = training.net, training.optimizer, training.gen, training.precision
    training.grouped = None if engine == "compile+graphs" else Grouped(net, precision)
    if engine == "compile+graphs":
        step = Compiled(step, net, gen).take
    name, optional = ("graphs", True) if engine == "auto" else (engine, False)
    training.engine = Graphs(step, net, optimizer, gen, precision, backend, name, optional)
    training.looks = Forward(net, backend, optional, precision)


def train_epochs(
    training: Training, loader: Loader | StreamingLoader, test: data.Images, progress: Progress, checkpoint_every: float
) -> None:
    recipe = training.run.recipe
    progress.start(len(loader.images) * recipe.epochs, len(loader.images) * training.epoch)
    saved = time.monotonic()
    for epoch in range(training.epoch, recipe.epochs):
        line = train_epoch(training, loader, epoch, progress)
        if (epoch + 1) % recipe.look_every == 0 or epoch + 1 == recipe.epochs:
            line["test_error"] = test_error(
                training.net, test, training.precision, group=training.group, captured=training.looks
            )
        after_epoch(training, line, epoch)
        progress.epoch(line)
        if time.monotonic() - saved >= checkpoint_every and epoch + 1 < recipe.epochs:
            save(training)
            saved = time.monotonic()


def dry_run(run: Run, *, device: torch.device, data_dir: Path | None = None) -> float:
    """Build everything and take one step, writing nothing; the step's loss."""
    ready = prepare(run, device, data_dir)
    net, method = ready.net, ready.method
    training = Training(run, RunFolder(Path()), net, method, make_optimizer(run, net), ready.precision, 0, [])
    x, y = next(ready.loader.epoch(0))
    plan = method.plan(np.random.default_rng(derive(run.seed, "plan", 0)))
    method.start_epoch(net)
    with enough_memory(run.folder), exact_products(ready.precision):
        return float(train_step(training, x, y, plan, torch.Generator(device).manual_seed(0), run.recipe.lr))


def make_loader(
    run: Run, images: data.Images | data.Files, device: torch.device, group: Group = ALONE
) -> Loader | StreamingLoader:
    """Make the batches that the recipe describes, from memory or from files. Raises :class:`UsageError` when they do
    not fit."""
    recipe = run.recipe
    wanted = ("pad", "padding", "flip", "drop_last", "crop", "interpolation", "color_jitter", "lighting")
    options: dict[str, Any] = {key: getattr(recipe, key) for key in wanted}
    options |= {"seed": run.seed, "device": device, "group": group}
    if isinstance(images, data.Files):
        return StreamingLoader(images, recipe.batch_size, **options)
    return Loader(images, recipe.batch_size, **options)


@torch.inference_mode()
def check_smallest_batch(net: StagedNet, loader: Loader | StreamingLoader) -> None:
    """Raise :class:`UsageError` when a BatchNorm would see a single value per channel: a batch of one image, whose map
    is 1×1 there. It is refused and not left out, since larger maps train on such a batch, and always have."""
    if loader.fewest > 1:
        return
    shapes: list[torch.Size] = []
    hooks = [
        m.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
        for m in net.modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
    ]
    mode, size = net.training, loader.images.size
    try:
        net.eval()(torch.zeros(1, 3, size, size, device=loader.y.device))
    finally:
        net.train(mode)
        for hook in hooks:
            hook.remove()
    if any(shape.numel() == shape[1] for shape in shapes):
        batch = loader.batch_size
        out = ", or leave such a batch out with --set recipe.drop_last=true" if batch > 1 else ""
        raise UsageError(
            f"recipe.batch_size = {batch} makes a batch of one image out of {len(loader.images)}, and BatchNorm needs "
            f"more than one value per channel where maps are 1×1: give another --set recipe.batch_size{out}"
        )


def train_epoch(training: Training, loader: Loader | StreamingLoader, epoch: int, progress: Progress) -> dict[str, Any]:
    """Make one pass over the data; return the line for ``metrics.jsonl``."""
    run, net, device, key = training.run, training.net, loader.y.device, training.group.seed_key
    torch.manual_seed(derive(run.seed, "layers", epoch, *key))  # for modules that draw from the default generator
    rng = np.random.default_rng(derive(run.seed, "plan", epoch))
    training.gen.manual_seed(derive(run.seed, "method", epoch, *key))
    total = torch.zeros((), device=device)
    seen, start = 0, time.perf_counter()
    divergence = DivergenceCheck()
    net.train()
    training.method.start_epoch(net)
    for step, (x, y) in enumerate(loader.epoch(epoch)):
        lr = run.recipe.lr_at(epoch + step / len(loader))
        plan = training.method.plan(rng)
        loss = take_step(training, x, y, plan, lr)
        n = len(loader.batch(step))
        total += loss * n
        seen += n
        progress.step(n)
        if progress.should_stop():
            raise OutOfTime("the time is over")
        if (step + 1) % CHECK_EVERY == 0 and not divergence.finite(total):
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
        write_json(training.folder.failure, {"what": what, "epoch": epoch + 1, "step": step + 1})
    raise RunFailed(
        f"{training.run.folder}: {what} in epoch {epoch + 1}, step {step + 1}; its last good epoch is kept. "
        "Try a lower --set recipe.lr or --precision fp32"
    )


def take_step(training: Training, x: Tensor, y: Tensor, plan: Any, lr: float) -> Tensor:
    """Take a step as :func:`train_step` does, by the training's engine."""
    if training.engine is not None:
        return training.engine(x, y, plan, lr)
    return train_step(training, x, y, plan, training.gen, lr)


def train_step(training: Training, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator, lr: float | Tensor) -> Tensor:
    """Take one update; return the detached loss, still on the device."""
    for group in training.optimizer.param_groups:
        group["lr"] = lr
    training.optimizer.zero_grad()
    grouped = training.grouped() if training.grouped is not None else nullcontext()
    with autocast(training.precision, x.device), grouped:
        loss = training.method.loss(training.net, x, y, plan, gen)
    loss.backward()
    whole = training.group.average(training.net, loss.detach(), len(y))
    training.optimizer.step()
    return whole


@torch.inference_mode()
def test_error(
    net: StagedNet,
    images: data.Images,
    precision: str,
    batch_size: int = 500,
    group: Group = ALONE,
    captured: Forward | None = None,
) -> float:
    """Return the top-1 error in percent, in the precision of training: for the curve and for ``best``, never for a
    board. ``captured`` makes the passes where they are captured; it has to be of the same network and precision."""
    net.eval()
    device = net.mean.device
    forward = captured if captured is not None else Forward(net, None, precision=precision)
    wrong = torch.zeros((), dtype=torch.int64, device=device)
    for x, y, _ in islice(batches(images, batch_size, device), group.rank, None, group.size):
        wrong += (forward(x).argmax(1) != y).sum()
    return 100 * group.sum(wrong).item() / len(images)
