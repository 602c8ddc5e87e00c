"""Build the network and the method of a run from its description."""

from pathlib import Path

import torch

from .. import data, registry
from ..data.normalisation import OF_DATASET, named_constants
from ..errors import Changed, UsageError, pick
from ..method import Method
from ..models import MODELS, StagedNet
from ..models.branches import put_plain_branches
from ..models.convolutions import make_safe
from ..models.libraries import make_network
from ..models.staging import FAMILIES, find_stages
from ..plugins import complete_options
from ..seeds import derive
from ..system.files import file_digest
from ..text import printable
from .run import ModelSpec, Run


def build_net(
    model: ModelSpec,
    dataset: str,
    device: torch.device,
    seed: int = 0,
    num_classes: int | None = None,
    normalise: str = OF_DATASET,
) -> StagedNet:
    """Return a freshly initialised network for ``dataset``, or for a part of it with ``num_classes``.

    It is initialised on the CPU, so equally on every device. ``normalise`` is that of :class:`Recipe`.
    """
    entry = data.get(dataset)
    mean, std = named_constants(normalise, entry)
    if model.external:
        return build_external(model, num_classes or entry.num_classes, entry.size, mean, std, device, seed)
    architecture = MODELS[pick("model", model.name, MODELS)]
    assert model.variant is not None  # as every network of this project has one
    pick(f"variant of {model.name}", model.variant, architecture.variants)
    if entry.size < architecture.smallest:
        raise UsageError(
            f"{model.name} needs images of at least {architecture.smallest} px; those of {dataset} have {entry.size}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        net = architecture.build(
            num_classes=num_classes or entry.num_classes,
            width=model.width,
            variant=model.variant,
            mean=mean,
            std=std,
        )
    return net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def build_external(
    model: ModelSpec,
    num_classes: int,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    seed: int,
) -> StagedNet:
    """Return a freshly initialised network that was not made here, as stages and a head. Raises :class:`UsageError`
    when it does not take the images, or has other outputs than ``num_classes``."""
    check_file(model.file, model.sha256)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        net = make_network(model.name, num_classes, model.file)
    try:
        found = find_stages(net, size, mean, std)
    except UsageError as err:
        raise UsageError(f"{model.name}: {err}") from None
    if found.num_classes != num_classes:
        raise UsageError(
            f"{model.name} has {found.num_classes} outputs for {num_classes} classes: a function that is to be used "
            "with any dataset takes num_classes"
        )
    make_safe(found)
    return found.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def parameter_count(model: ModelSpec, dataset: str, num_classes: int | None = None) -> int:
    """Return the number of parameters of a network without making it: an untrusted file may claim any size."""
    classes = num_classes or data.get(dataset).num_classes
    with torch.device("meta"):
        if model.external:
            return sum(p.numel() for p in make_network(model.name, classes, model.file).parameters())
        net = MODELS[pick("model", model.name, MODELS)].build(
            num_classes=classes, width=model.width, variant=model.variant
        )
    return sum(p.numel() for p in net.parameters())


def build_method(run: Run) -> Method:
    """Build the method with the run's options. Raises as :func:`check_method_file`."""
    check_method_file(run)
    spec = run.method
    cls = registry.method_class(spec.file or spec.name)
    return cls(**complete_options(cls, None, spec.options, spec.name))


def check_method_file(run: Run) -> None:
    """Raise :class:`Changed` when the file of an external method is not the one that the run was made with. The file is
    not run."""
    check_file(run.method.file, run.method.sha256)


def check_file(file: str | None, sha256: str | None) -> None:
    """Raise :class:`Changed` when the ``file`` of a method or a network, if there is one, is not that of ``sha256``. It
    is not run."""
    if file is None:
        return
    if not Path(file).is_file():
        raise Changed(f"{file}, which this run was made with, is gone: bring it back, or delete the run's folder")
    if file_digest(Path(file)) != sha256:
        raise Changed(f"{file} has changed since this run was made: train again, or delete the run's folder")


def build(run: Run, device: torch.device, num_classes: int | None = None) -> tuple[StagedNet, Method]:
    """Build the network, and the method bound to it. ``bind`` may add parameters, so it comes before any weights."""
    net = build_net(run.model, run.dataset.name, device, run.seed, num_classes, run.recipe.normalise)
    method = bind(build_method(run), net, f"{run.method.name} with {run.model.name}", derive(run.seed, "extra"))
    return net.to(device, memory_format=torch.channels_last), method  # type: ignore[call-overload]


def bind(method: Method, net: StagedNet, what: str, seed: int) -> Method:
    """Return ``method`` as used with ``net``, what it makes of its own drawn from ``seed``.

    Raises :class:`UsageError` for ``what`` when they do not go together, such as a method that mixes features with a
    network whose stages are not known.
    """
    if not len(net.stages) and "feature" in method.level:
        raise UsageError(
            f"{what}: the method mixes the features after a stage, and this network's stages are not found; they are "
            f"of {FAMILIES}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return method.bind(net)
    except ValueError as err:
        raise UsageError(f"{what}: {err}") from None


def evaluation_net(run: Run, device: torch.device, num_classes: int | None = None) -> StagedNet:
    """Return the network of a trained run, without its weights, as it is evaluated: the plain one, so that no code of a
    method sees a test image. Where a method of the level ``network`` has put something on the residual branches, it has
    what that computes in eval mode. Raises as :func:`check_method_file`, and :class:`UsageError` for more than that.
    """
    check_method_file(run)
    plain = build_net(run.model, run.dataset.name, device, run.seed, num_classes, run.recipe.normalise)
    if registry.method_outline(run.method.file or run.method.name).level == "network":
        bound, _ = build(run, torch.device("cpu"), num_classes)
        try:
            put_plain_branches(plain, bound)
        except Exception as err:  # of a module that may be anyone's
            raise UsageError(f"{run.method.name} cannot be evaluated: {printable(err)}") from None
    return plain.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
