"""Which conditions a run still lacks, and evaluating them, each written as it is finished."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from .. import data
from ..engines import choose_engine
from ..engines.capture import CudaGraphs
from ..engines.graph_passes import Forward
from ..errors import Changed, NothingSelected, RunFailed, UsageError
from ..records.outcomes import lacking_conditions, read_outcomes, store_outcome
from ..records.record import Outcome, as_json
from ..runs.build import check_method_file
from ..runs.folder import read_run
from ..suites import Context, Found, Suite, resolve_suites
from ..system.files import sweep, write_json
from ..system.provenance import describe, stamp
from .slices import WHOLE, Slice
from .subject import EvaluatedModel

Tell = Callable[[str, Outcome], None]


def evaluate(
    subject: EvaluatedModel,
    suites: dict[str, Suite],
    *,
    device: torch.device,
    data_dir: Path | None = None,
    part: Slice = WHOLE,
    tell: Tell | None = None,
    engine: str = "auto",
) -> dict[str, Outcome]:
    """Evaluate what is missing of ``part`` of resolved ``suites``; all outcomes of the subject. Repeating is resuming,
    and the parts, evaluated anywhere, have the outcomes of the whole. ``engine`` is as for :func:`choose_engine`."""
    captured = Forward(subject.net, CudaGraphs(device)) if choose_engine(engine, device) == "graphs" else None
    todo = lacking_conditions(subject.folder, suites, part)
    if any(todo.values()):
        images = data.load(subject.dataset, "test", data_dir)
        context = Context(
            net=subject.net,
            images=images,
            dataset=subject.dataset,
            mean=data.get(subject.dataset).mean,
            device=device,
            batch_size=choose_batch_size(images),
            data_dir=data_dir or data.default_folder(),
            captured=captured,
        )
        check_logits(context)
        stated = {"checkpoint": subject.checkpoint, "test_sha256": images.digest()}
        write_json(subject.folder / "evaluation.json", stated)
        sweep(subject.folder / "outcomes", age=3600)  # others may be writing there now
        with evaluation_mode(subject.net):
            for name, conditions in todo.items():
                _run_suite(subject, name, suites[name], context, conditions, tell)
    return read_outcomes(subject.folder)


def _run_suite(
    subject: EvaluatedModel, name: str, suite: Suite, context: Context, conditions: list[str], tell: Tell | None
) -> None:
    where = {**stamp(), **describe(context.device, "fp32")}
    left, captured = list(conditions), context.captured
    while left:
        try:
            for condition, found in suite.run(context, list(left)):
                found = found if isinstance(found, Found) else Found(found)
                outcome = Outcome.of(found.bits.numpy(), name, as_json(suite.protocol(condition)), found.values)
                store_outcome(subject.folder, condition, outcome, where | captured.facts() if captured else where)
                left.remove(condition)
                if tell is not None:
                    tell(condition, outcome)
            return
        except torch.OutOfMemoryError:  # outcomes do not depend on the batch size
            if context.batch_size == 1:
                raise RunFailed(f"{name}: the device's memory does not hold one image's evaluation") from None
            context = replace(context, batch_size=context.batch_size // 2)
            if captured is not None:
                captured.release("the device's memory does not hold the graphs")
        torch.cuda.empty_cache()


def choose_batch_size(images: data.Images) -> int:
    """500 images of 32 px, fewer of larger ones; halved where the device's memory does not hold so many."""
    pixels = images.x.shape[1] * images.x.shape[2]
    return max(8, min(500, 500 * 32 * 32 // pixels))


def check_logits(context: Context) -> None:
    """Refuse a network whose outputs cannot be ranked."""
    with torch.inference_mode(), evaluation_mode(context.net):
        probe = context.net(torch.zeros(2, 3, *context.images.x.shape[1:3], device=context.device))
    classes = int(context.images.y.max()) + 1
    if probe.ndim != 2 or probe.shape[1] < classes:
        raise UsageError(
            f"the model has outputs of shape {tuple(probe.shape)}; {context.dataset} has {classes} classes"
        )
    if not bool(torch.isfinite(probe).all()):
        raise RunFailed("the model's outputs are not finite")


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Eval mode, parameters frozen (attacks need only the gradient of the image), TF32 off; all restored after."""
    was = [(m, m.training) for m in net.modules()]
    wanted_grad = [(p, p.requires_grad) for p in net.parameters()]
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    net.eval().requires_grad_(False)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
        for module, mode in was:
            module.training = mode
        for parameter, wanted in wanted_grad:
            parameter.requires_grad_(wanted)


def select_runs(
    runs: Path, given: list[str], suites: dict[str, Suite], data_dir: Path | None = None, part: Slice = WHOLE
) -> list[Path]:
    """The run folders that are ``given``, or all finished ones under ``runs`` that lack a condition of ``part``."""
    if given:
        return [_find_run(runs, name) for name in given]
    finished = sorted(p.parent for p in runs.glob("*/last.safetensors"))
    if not finished:
        raise NothingSelected(f"no finished run in {runs}: train one first with catchup-bench train")

    def lacks(folder: Path) -> bool:
        return any(
            lacking_conditions(folder, resolve_suites(suites, read_run(folder).dataset.name, data_dir), part).values()
        )

    return [f for f in finished if lacks(f)] or finished


def usable_runs(folders: list[Path]) -> tuple[list[Path], list[str]]:
    """Those whose method's file is still the one they were made with, and a line for each of the others. Raises
    :class:`Changed` when there is none of the former."""
    found, lines = [], []
    for folder in folders:
        try:
            check_method_file(read_run(folder))
            found.append(folder)
        except Changed as err:
            lines.append(f"{folder} is left out: {err}")
    if not found:
        raise Changed("; ".join(lines))
    return found, lines


def _find_run(runs: Path, name: str) -> Path:
    """A run by its path, or by the beginning or the digest of its folder's name."""
    if Path(name).joinpath("run.json").exists():
        return Path(name)
    matches = [
        p
        for p in runs.glob("*")
        if p.joinpath("run.json").exists() and (p.name.startswith(name) or p.name.endswith(name))
    ]
    if len(matches) != 1:
        found = "several runs" if matches else "no run"
        raise UsageError(f"{name} names {found} in {runs}: give a folder with a run.json")
    return matches[0]
