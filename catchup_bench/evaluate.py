"""Which conditions a run still lacks, and evaluating them, each written as it is finished."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import data, names, registry, results
from .build import build, build_net, check_method, parameter_count
from .checkpoint import load_weights, num_classes, read_weights
from .errors import Changed, NothingSelected, RunFailed, UsageError
from .files import sweep, write_json
from .foreign import rename
from .graphs import MEMORY, CudaGraphs, Forward
from .hardware import captures, choose_engine, describe, exact_products
from .models import MODELS
from .provenance import stamp
from .run import LOADED, ZOO, Loaded, ModelSpec, plain, read_folder
from .slices import WHOLE, Slice
from .suites import GROUPS, Context, Found, Suite
from .train import weights_file

Tell = Callable[[str, results.Outcome], None]


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a network for [0,1] images, on the test set of a dataset, with a folder for outcomes."""

    net: nn.Module
    dataset: str
    folder: Path
    checkpoint: dict[str, Any]


def make_suites(wanted: Iterable[str], settings: dict[str, dict[str, Any]]) -> dict[str, Suite]:
    """Suites by name, groups taken apart, with ``settings`` as their options."""
    found: dict[str, Suite] = {}
    for name in wanted:
        names.pick("suite", name, [*registry.suites(), *GROUPS])
        for member in GROUPS.get(name, (name,)):
            cls = registry.suite_class(member)
            found[member] = cls(**registry.options(cls, None, settings.get(member, {}), member))
    return found


def trained(folder: Path, device: torch.device) -> Subject:
    """A finished run, at its last epoch."""
    run = read_folder(folder)
    if not weights_file(folder).exists():
        raise UsageError(f"{folder} is not trained to its end: repeat its train command to finish it")
    tensors, _ = read_weights(weights_file(folder))
    net, _ = build(run, device, num_classes(tensors))
    load_weights(net, tensors, weights_file(folder))
    return Subject(
        net, run.dataset.name, folder, {"sha256": file_sha256(weights_file(folder)), "epoch": run.recipe.epochs}
    )


def loaded(path: Path, model: ModelSpec | None, dataset: str | None, runs: Path, device: torch.device) -> Subject:
    """A checkpoint that stands alone: ours, which says what it is, or with ``model`` and ``dataset`` said.

    The latter may be a state dict that others trained; its network's [0,1] images are normalised by the constants in
    the file, or else by those of the dataset.
    """
    stated: dict[str, Any]
    tensors, run = read_weights(path)
    if run is not None:
        # a file of weights must not choose what Python code is run
        classes = num_classes(tensors)
        if parameter_count(run.model, run.dataset.name, classes) > sum(t.numel() for t in tensors.values()):
            raise UsageError(f"{path} holds less than a {run.model.label}, which it says it is")
        foreign = run.method.file is not None
        net = build_net(run.model, run.dataset.name, device, 0, classes) if foreign else build(run, device, classes)[0]
        dataset, stated = dataset or run.dataset.name, {"run": run.digest}
    elif model is None or dataset is None:
        raise UsageError(f"{path} does not say what it is of: give --model and --dataset")
    else:
        tensors = rename(tensors, MODELS[model.name].torchvision, path)
        net = build_net(model, dataset, device, num_classes=num_classes(tensors))
        own = {"mean", "std"} <= tensors.keys()
        stated = {"model": model.model_dump(), "normalisation": "the file's" if own else "the dataset's"}
    load_weights(net, tensors, path)
    digest = file_sha256(path)
    folder = runs / f"checkpoint-{plain(dataset)}-{digest[:12]}"
    return Subject(net, dataset, folder, {"sha256": digest, "file": path.name, **stated})


def from_checkpoint(
    name: str, model: ModelSpec | None, dataset: str | None, runs: Path, data_dir: Path | None, device: torch.device
) -> Subject:
    """A file of weights, or ``robustbench:NAME`` out of RobustBench's model zoo."""
    if not name.startswith(ZOO):
        return loaded(Path(name), model, dataset, runs, device)
    if dataset is None:
        raise UsageError("robustbench:NAME needs --dataset: cifar10, cifar100 or imagenet")
    from .robustbench_bridge import load_model

    own = name.removeprefix(ZOO)
    zoo = (data_dir or data.default_folder()) / "robustbench"
    net = load_model(own, dataset, zoo).to(device)
    file = next(iter(sorted(zoo.rglob(f"{own}.pt"))), None)  # a name that robustbench chose
    stated = {"robustbench": own} | ({} if file is None else {"sha256": file_sha256(file)})
    return Subject(net, dataset, runs / f"robustbench-{dataset}-{own}", stated)


def others(network: Loaded, runs: Path, data_dir: Path | None, device: torch.device) -> Subject:
    """A network of a board that others trained, in a folder of its own. Raises :class:`UsageError` when its file is
    missing or another one."""
    name = network.checkpoint
    if not name.startswith(ZOO):
        path = (data_dir or data.default_folder()) / "checkpoints" / name
        if not path.is_file():
            raise UsageError(f"{path} is missing: get the file whose SHA-256 is {network.sha256}")
        if file_sha256(path) != network.sha256:
            raise UsageError(f"{path} is another file: its SHA-256 is not {network.sha256}")
        name = str(path)
    found = from_checkpoint(name, network.model, network.dataset.name, runs, data_dir, device)
    folder = runs / network.folder
    write_json(folder / LOADED, network.model_dump(mode="json"))
    return replace(found, folder=folder)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def resolve(suites: dict[str, Suite], dataset: str, data_dir: Path | None) -> dict[str, Suite]:
    """The suites with what depends on the files at hand decided, such as which corrupted images they use."""
    return {name: suite.resolve(dataset, data_dir or data.default_folder()) for name, suite in suites.items()}


def missing(folder: Path, suites: dict[str, Suite], part: Slice = WHOLE) -> dict[str, list[str]]:
    """Conditions per suite that are in ``part`` and have no outcome of the same protocol."""
    have = results.outcomes(folder)
    wanted = set(part.take(folder.name, [c for suite in suites.values() for c in suite.conditions()]))

    def lacks(condition: str, suite: Suite) -> bool:
        return condition not in have or have[condition].protocol != as_json(suite.protocol(condition))

    return {n: [c for c in suite.conditions() if c in wanted and lacks(c, suite)] for n, suite in suites.items()}


def as_json(value: Any) -> Any:
    """Tuples as lists, as they are read back."""
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    return [as_json(v) for v in value] if isinstance(value, list | tuple) else value


def evaluate(
    subject: Subject,
    suites: dict[str, Suite],
    *,
    device: torch.device,
    data_dir: Path | None = None,
    part: Slice = WHOLE,
    tell: Tell | None = None,
    engine: str = "auto",
) -> dict[str, results.Outcome]:
    """Evaluate what is missing of ``part`` of resolved ``suites``; all outcomes of the subject. Repeating is resuming,
    and the parts, evaluated anywhere, have the outcomes of the whole. ``engine`` is as for :func:`choose_engine`."""
    engine = choose_engine(engine, device)
    captured = Forward(subject.net, CudaGraphs(device), optional=engine == "auto") if captures(engine) else None
    todo = missing(subject.folder, suites, part)
    if any(todo.values()):
        images = data.load(subject.dataset, "test", data_dir)
        context = Context(
            net=subject.net,
            images=images,
            dataset=subject.dataset,
            mean=data.get(subject.dataset).mean,
            device=device,
            batch_size=batch_size(images),
            data_dir=data_dir or data.default_folder(),
            captured=captured,
        )
        check_logits(context)
        stated = {"checkpoint": subject.checkpoint, "test_sha256": images.digest()}
        write_json(subject.folder / "evaluation.json", stated)
        sweep(subject.folder / "outcomes", age=3600)  # others may be writing there now
        with evaluating(subject.net):
            for name, conditions in todo.items():
                _run_suite(subject, name, suites[name], context, conditions, tell)
    return results.outcomes(subject.folder)


def _run_suite(
    subject: Subject, name: str, suite: Suite, context: Context, conditions: list[str], tell: Tell | None
) -> None:
    where = {**stamp(), **describe(context.device, "fp32")}
    left, captured = list(conditions), context.captured
    while left:
        try:
            for condition, found in suite.run(context, list(left)):
                found = found if isinstance(found, Found) else Found(found)
                outcome = results.Outcome.of(found.bits.numpy(), name, as_json(suite.protocol(condition)), found.values)
                results.store(subject.folder, condition, outcome, where | captured.facts() if captured else where)
                left.remove(condition)
                if tell is not None:
                    tell(condition, outcome)
            return
        except torch.OutOfMemoryError:  # outcomes do not depend on the batch size
            if context.batch_size == 1:
                raise RunFailed(f"{name}: the device's memory does not hold one image's evaluation") from None
            context = replace(context, batch_size=context.batch_size // 2)
            if captured is not None:
                captured.release(MEMORY)
        torch.cuda.empty_cache()


def batch_size(images: data.Images) -> int:
    """500 images of 32 px, fewer of larger ones; halved where the device's memory does not hold so many."""
    pixels = images.x.shape[1] * images.x.shape[2]
    return max(8, min(500, 500 * 32 * 32 // pixels))


def check_logits(context: Context) -> None:
    """Refuse a network whose outputs cannot be ranked."""
    with torch.inference_mode(), evaluating(context.net):
        probe = context.net(torch.zeros(2, 3, *context.images.x.shape[1:3], device=context.device))
    classes = int(context.images.y.max()) + 1
    if probe.ndim != 2 or probe.shape[1] < classes:
        raise UsageError(
            f"the model has outputs of shape {tuple(probe.shape)}; {context.dataset} has {classes} classes"
        )
    if not bool(torch.isfinite(probe).all()):
        raise RunFailed("the model's outputs are not finite")


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Eval mode, parameters frozen (attacks need only the gradient of the image), TF32 off; all restored after."""
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


def select(
    runs: Path, given: list[str], suites: dict[str, Suite], data_dir: Path | None = None, part: Slice = WHOLE
) -> list[Path]:
    """The run folders that are ``given``, or all finished ones under ``runs`` that lack a condition of ``part``."""
    if given:
        return [_one(runs, name) for name in given]
    finished = sorted(p.parent for p in runs.glob("*/last.safetensors"))
    if not finished:
        raise NothingSelected(f"no finished run in {runs}: train one first with catchup-bench train")

    def lacks(folder: Path) -> bool:
        return any(missing(folder, resolve(suites, read_folder(folder).dataset.name, data_dir), part).values())

    return [f for f in finished if lacks(f)] or finished


def usable(folders: list[Path]) -> tuple[list[Path], list[str]]:
    """Those whose method's file is still the one they were made with, and a line for each of the others. Raises
    :class:`Changed` when there is none of the former."""
    found, lines = [], []
    for folder in folders:
        try:
            check_method(read_folder(folder))
            found.append(folder)
        except Changed as err:
            lines.append(f"{folder} is left out: {err}")
    if not found:
        raise Changed("; ".join(lines))
    return found, lines


def _one(runs: Path, name: str) -> Path:
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
