"""Which conditions a run still lacks, and evaluating them, each written as it is finished."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import data
from ..data.batches import batches
from ..engines import choose_engine
from ..engines.capture import MEMORY, CudaGraphs, MakeBackend
from ..engines.graph_passes import Forward
from ..engines.pass_settings import PassSetting, applied, seconds_on, setting_for, worth_capturing
from ..errors import NothingSelected, OutOfTime, RunFailed, UsageError
from ..records.outcomes import Measured, check_measured, lacking_in, read_outcomes, store_outcome
from ..records.record import Outcome, as_json
from ..runs.build import check_method_file
from ..runs.folder import RunFolder, check_still_there, read_run
from ..suites import ConditionResult, Context, Suite, resolve_suites, suite_class
from ..system.files import sweep, write_json
from ..system.hardware import captures, exact_products
from ..system.progress import NoProgress, Progress
from ..system.provenance import describe, stamp
from ..system.slices import WHOLE, Slice
from ..system.threads import choose_threads, computing_with
from .evaluated_model import EvaluatedModel
from .outputs import classes_of


def evaluate(
    model: EvaluatedModel,
    suites: dict[str, Suite],
    *,
    device: torch.device,
    data_dir: Path | None = None,
    part: Slice = WHOLE,
    progress: Progress | None = None,
    engine: str = "auto",
    threads: int | None = None,
    backend: MakeBackend | None = None,
) -> dict[str, Outcome]:
    """Evaluate what is missing of ``part`` of resolved ``suites``; return all outcomes of the model.

    Repeating is resuming, and the parts, evaluated anywhere, have the outcomes of the whole. ``engine`` is as for
    :func:`choose_engine`, ``threads`` as for :func:`choose_threads`; ``backend`` captures passes, by default CUDA does.
    Raises :class:`UsageError` when outcomes that are there were measured on other weights or images, and
    :class:`OutOfTime` when ``progress`` asks to stop.
    """
    progress = progress or NoProgress()
    engine = choose_engine(engine, device, captures=None if backend is None else True)
    make = backend or CudaGraphs
    files = RunFolder(model.folder)
    todo = lacking_in(model.folder, suites, part)
    try:
        images = data.load(model.dataset, "test", data_dir)
    except UsageError:
        if any(todo.values()):
            raise
        return read_outcomes(model.folder)  # measured when the images were there
    context = Context(
        net=model.net,
        images=images,
        dataset=model.dataset,
        mean=data.get(model.dataset).mean,
        device=device,
        batch_size=choose_batch_size(images),
        data_dir=data_dir or data.default_folder(),
        captured=Forward(model.net, make(device), optional=engine == "auto") if captures(engine) else None,
        snapshots=model.snapshots,
        folder=model.folder if model.trained else None,
    )
    now = Measured(weights=model.weights, images=images.digest())
    check_measured(model.folder, now, partial(images_of, suites, context))
    if any(todo.values()):
        check_logits(context)
        write_json(files.evaluation, {"checkpoint": model.checkpoint, "test_sha256": images.digest()})
        sweep(files.outcomes, age=3600)  # others may be writing there now
        size = context.images.x.shape[1]
        with evaluation_mode(model.net), computing_with(choose_threads(threads, model.net, size, device)):
            first = next(batches(images, context.batch_size, device))[0]
            setting = setting_for(model.net, first)
            with applied(model.net, setting) if device.type == "cuda" else nullcontext():
                context = without_slow_graphs(context, first, engine)
                for name, conditions in todo.items():
                    _run_suite(model, name, suites[name], context, conditions, progress, setting)
    return read_outcomes(model.folder)


def without_slow_graphs(context: Context, x: Tensor, engine: str) -> Context:
    """Return the context without captured passes where nobody asked for them and eager ones are faster on a GPU."""
    if context.captured is None or engine != "auto" or context.device.type != "cuda":
        return context
    if worth_capturing(context.captured, x, partial(seconds_on, context.device)):
        return context
    context.captured.release("eager passes are faster")
    return context


def images_of(suites: dict[str, Suite], context: Context, condition: str, outcome: Outcome) -> str | None:
    """Return the digest of the images that ``condition`` would be measured on now; ``None`` when they are not there and
    the condition is not asked for."""
    suite = suites.get(outcome.suite)
    if suite is not None and condition in suite.conditions():
        return suite.images_digest(context, condition)
    try:
        cls = suite_class(outcome.suite)
        return cls(**cls.options_of([outcome.protocol])).images_digest(context, condition)
    except UsageError:
        return None


def _run_suite(
    model: EvaluatedModel,
    name: str,
    suite: Suite,
    context: Context,
    conditions: list[str],
    progress: Progress,
    setting: PassSetting,
) -> None:
    of_passes = setting.facts() if context.device.type == "cuda" else {}
    provenance = {**stamp(), **describe(context.device, "fp32"), **of_passes}
    left, captured = list(conditions), context.captured
    while left:
        try:
            for condition, result in suite.run(context, list(left)):
                result = result if isinstance(result, ConditionResult) else ConditionResult(result)
                outcome = Outcome.of(result.bits.numpy(), name, as_json(suite.protocol(condition)), result.values)
                measured = Measured(weights=model.weights, images=suite.images_digest(context, condition))
                facts = provenance | captured.facts() if captured else provenance
                check_still_there(model.folder, model.trained)
                store_outcome(model.folder, condition, outcome, facts, measured)
                left.remove(condition)
                progress.condition(condition, outcome)
                if left and progress.should_stop():
                    raise OutOfTime("the time is over")
            return
        except torch.OutOfMemoryError:  # outcomes do not depend on the batch size
            if context.batch_size == 1:
                raise RunFailed(f"{name}: the device's memory does not hold one image's evaluation") from None
            context = replace(context, batch_size=context.batch_size // 2)
            if captured is not None:
                captured.release(MEMORY)
        torch.cuda.empty_cache()


def choose_batch_size(images: data.Images) -> int:
    """Return the batch size: 500 images of 32 px, fewer of larger ones; halved where the device's memory does not hold
    so many."""
    pixels = images.x.shape[1] * images.x.shape[2]
    return max(8, min(500, 500 * 32 * 32 // pixels))


def check_logits(context: Context) -> None:
    """Raise :class:`UsageError` when the network does not have one output for each class, and :class:`RunFailed` when
    its outputs are not finite."""
    with torch.inference_mode(), evaluation_mode(context.net):
        probe = context.net(torch.zeros(2, 3, *context.images.x.shape[1:3], device=context.device))
    classes, _ = classes_of(data.get(context.dataset), context.data_dir)
    if probe.ndim != 2 or probe.shape[1] != classes:
        raise UsageError(
            f"the model has outputs of shape {tuple(probe.shape)}; {context.dataset} has {classes} classes"
        )
    if not bool(torch.isfinite(probe).all()):
        raise RunFailed("the model's outputs are not finite")


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Put the network in eval mode, parameters frozen (attacks need only the gradient of the image), TF32 off; all
    restored after."""
    was = [(m, m.training) for m in net.modules()]
    wanted_grad = [(p, p.requires_grad) for p in net.parameters()]
    net.eval().requires_grad_(False)
    try:
        with exact_products():
            yield
    finally:
        for module, mode in was:
            module.training = mode
        for parameter, wanted in wanted_grad:
            parameter.requires_grad_(wanted)


def select_runs(
    runs: Path, given: list[str], suites: dict[str, Suite], data_dir: Path | None = None, part: Slice = WHOLE
) -> tuple[list[Path], list[str]]:
    """Return the run folders that are ``given``, or all finished ones under ``runs`` that lack a condition of ``part``;
    and a line for each folder that is left out because it is damaged, or because its method's file has changed.

    Raises :class:`NothingSelected` when no run is finished, and :class:`UsageError` when all are left out.
    """
    if given:
        return [find_run(runs, name) for name in given], []
    finished = sorted(path.parent for path in runs.glob(f"*/{RunFolder(runs).weights.name}"))
    if not finished:
        raise NothingSelected(f"no finished run in {runs}: train one first with catchup-bench train")
    usable, lines = {}, []
    for folder in finished:
        try:
            run = read_run(folder)
            check_method_file(run)
            usable[folder] = lacking_in(folder, resolve_suites(suites, run.dataset.name, data_dir), part)
        except UsageError as err:
            lines.append(f"{folder} is left out: {err}")
    if not usable:
        raise UsageError("; ".join(lines))
    return [folder for folder, todo in usable.items() if any(todo.values())] or list(usable), lines


def find_run(runs: Path, name: str) -> Path:
    """Find a run by its path, or by the beginning or the end of its folder's name, such as its digest."""
    if RunFolder(Path(name)).description.exists():
        return Path(name)
    matches = [
        folder
        for folder in runs.glob("*")
        if RunFolder(folder).description.exists() and (folder.name.startswith(name) or folder.name.endswith(name))
    ]
    if len(matches) != 1:
        what = "several runs" if matches else "no run"
        raise UsageError(f"{name} names {what} in {runs}: give a folder with a run.json")
    return matches[0]
