"""Which network is evaluated: a finished run, a file of weights, or one of a model zoo."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import data
from ..data.normalisation import check_constants, constants_text, parse_constants
from ..errors import UsageError
from ..models import MODELS, StagedNet
from ..runs.build import build_net, evaluation_net, parameter_count
from ..runs.checkpoint import describe_misfit, load_weights, num_classes, read_file, read_weights
from ..runs.external import choose_state_dict, listed, rename
from ..runs.folder import RunFolder, read_run
from ..runs.run import ZOO, ExternalNetwork, ModelSpec, Run, plain
from ..system.files import file_digest, write_json
from ..system.hub import HUB, HUB_WEIGHTS, download, parse_repo
from .outputs import SelectedOutputs, choose_outputs, selection_facts


@dataclass(frozen=True)
class EvaluatedModel:
    """A network for [0,1] images, the dataset on whose test images it is evaluated, and the folder for outcomes.
    ``checkpoint`` says which weights it has; ``trained`` whether the folder is that of a run of ours; ``notes`` are
    lines on what was taken of an external network, for the terminal; ``snapshots`` are files of its weights by epoch,
    the last one included, where others were kept."""

    net: nn.Module
    dataset: str
    folder: Path
    checkpoint: dict[str, Any]
    trained: bool = False
    notes: tuple[str, ...] = ()
    snapshots: dict[int, Path] = field(default_factory=dict)

    @property
    def weights(self) -> str:
        """Say which weights these are: the SHA-256 of their file, or their name where there is none."""
        return str(self.checkpoint.get("sha256") or json.dumps(self.checkpoint, sort_keys=True))


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What may be said of external weights: ``normalise`` as for :func:`parse_constants`, ``weights`` which of several
    state dicts in the file, ``classes`` a file of outputs (see :mod:`.outputs`)."""

    normalise: str | None = None
    weights: str | None = None
    classes: Path | None = None


NO_CHOICES = Choices()


def trained_model(folder: Path, device: torch.device) -> EvaluatedModel:
    """Read a finished run at its last epoch. Raises :class:`UsageError` when it is not finished or damaged."""
    run, files = read_run(folder), RunFolder(folder)
    if not files.finished:
        raise UsageError(f"{folder} is not trained to its end: repeat its train command to finish it")
    tensors, _ = read_weights(files.weights)
    net = evaluation_net(run, device, num_classes(tensors))
    load_weights(net, tensors, files.weights)
    checkpoint = {"sha256": file_digest(files.weights), "epoch": run.recipe.epochs}
    kept = files.snapshots | {run.recipe.epochs: files.weights} if files.snapshots else {}
    return EvaluatedModel(net, run.dataset.name, folder, checkpoint, trained=True, snapshots=kept)


def model_of_weights(
    path: Path,
    model: ModelSpec | None,
    dataset: str | None,
    runs: Path,
    data_dir: Path | None,
    device: torch.device,
    choices: Choices = NO_CHOICES,
) -> EvaluatedModel:
    """Read a checkpoint that stands alone: ours, which says what it is, or an external one of ``model``.

    An external network is given the constants of normalisation that ``choices`` name, or else those in the file, or
    else the dataset's. Raises :class:`UsageError` for weights that do not fit, and as :func:`choose_outputs`.
    """
    by_name, run = read_file(path)
    taken, others = choose_state_dict(by_name, choices.weights, path)
    tensors, stated, notes = by_name[taken], dict[str, Any](), []
    dataset = dataset or (None if run is None else run.dataset.name)
    if dataset is None or (run is None and model is None):
        raise UsageError(f"{path} does not say what it is of: give --model and --dataset")
    entry = data.get(dataset)
    wanted = None if choices.normalise is None else parse_constants(choices.normalise, entry)
    if run is not None:
        net, stated["run"] = _network_of_run(run, tensors, path, device), run.digest
        constants, how = wanted, choices.normalise or ""
    elif model is not None:
        net, tensors = _external_network(model, dataset, tensors, path, device)
        stated |= {"model": model.model_dump()} | ({"weights": taken} if taken else {})
        constants, how = (wanted, str(choices.normalise)) if wanted else _stored_constants(tensors, entry, path)
    if constants is not None:
        stated |= _put_constants(tensors, constants, how)
        hint = "; --normalise gives others" if choices.normalise is None else ""
        notes.append(f"{path}: images are normalised by {constants_text(*constants)} ({how}{hint})")
    if taken:
        hint = f"; --weights takes others that are there: {listed(others)}" if others else ""
        notes.append(f"{path}: the weights under {listed([taken])} were taken{hint}")
    load_weights(net, tensors, path)
    of_imagenet = run is None or run.dataset.name == "imagenet"
    outputs, by = choose_outputs(net.num_classes, entry, data_dir, choices.classes, of_imagenet, str(path))
    evaluated: nn.Module = net
    if by:
        evaluated = SelectedOutputs(net, outputs).to(device)
        notes.append(
            f"{path}: {len(outputs)} of its {net.num_classes} outputs stand for the classes of {dataset}, by {by}"
        )
    stated |= selection_facts(outputs, by)
    digest = file_digest(path)
    folder = runs / f"checkpoint-{plain(dataset)}-{identity(dataset, digest, stated)}"
    return EvaluatedModel(
        evaluated, dataset, folder, {"sha256": digest, "file": path.name, **stated}, notes=tuple(notes)
    )


def _network_of_run(run: Run, tensors: dict[str, Tensor], path: Path, device: torch.device) -> StagedNet:
    """Return the network of a file that we wrote, without its weights: the file must not choose what code is run."""
    if run.model.file is not None:
        raise UsageError(
            f"{path} is of a network that {run.model.file} makes, which is not run for it: "
            "give --model FILE.py:FUNCTION and --dataset"
        )
    classes = num_classes(tensors)
    if parameter_count(run.model, run.dataset.name, classes) > sum(t.numel() for t in tensors.values()):
        raise UsageError(f"{path} holds less than a {run.model.label}, which it says it is")
    if run.method.file is not None:
        return build_net(run.model, run.dataset.name, device, 0, classes, run.recipe.normalise)
    return evaluation_net(run, device, classes)


def _external_network(
    model: ModelSpec, dataset: str, tensors: dict[str, Tensor], path: Path, device: torch.device
) -> tuple[StagedNet, dict[str, Tensor]]:
    """Return the network ``model`` without its weights, and ``tensors`` with the names that they have in it. Raises
    :class:`UsageError` when they do not fit, naming a variant that they fit."""
    architecture = MODELS[model.name]
    assert model.variant is not None and model.width is not None  # as every network of this project has
    renamed = rename(tensors, architecture.external_names(model.variant), path)
    net = build_net(model, dataset, device, num_classes=num_classes(renamed))
    if not (misfit := describe_misfit(net, _without_constants(renamed))):
        return net, renamed
    for variant in architecture.variants:
        other = _without_constants(rename(tensors, architecture.external_names(variant), path))
        with torch.device("meta"):
            there = architecture.build(num_classes=num_classes(other) or 1, width=model.width, variant=variant)
        if not describe_misfit(there, other):
            misfit += f"; it fits --variant {variant}"
    raise UsageError(f"{path} is of another network than this: {misfit}")


def _without_constants(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in tensors.items() if k not in ("mean", "std")}


Constants = tuple[tuple[float, float, float], tuple[float, float, float]]


def _stored_constants(tensors: Mapping[str, Tensor], dataset: data.Dataset, path: Path) -> tuple[Constants, str]:
    """Return the constants of normalisation, and whose they are: the file's, or else the dataset's."""
    stored = [tensors[k] for k in ("mean", "std") if k in tensors]
    if not stored:
        return (dataset.mean, dataset.std), "the dataset's"
    if len(stored) == 1:
        raise UsageError(f"{path} holds one of the constants mean and std without the other: give both by --normalise")
    if any(t.layout != torch.strided or t.device.type != "cpu" or t.is_complex() for t in stored):
        raise UsageError(f"{path} holds constants mean and std that are no plain numbers: give them by --normalise")
    mean, std = (t.double().flatten().tolist() if t.numel() <= 3 else [0.0] * t.numel() for t in stored)
    return check_constants(mean, std, f"{path} (--normalise gives others)"), "the file's"


def _put_constants(tensors: dict[str, Tensor], constants: Constants, how: str) -> dict[str, Any]:
    """Put ``constants`` among ``tensors``; return what a record says of them."""
    for key, values in zip(("mean", "std"), constants, strict=True):
        tensors[key] = torch.tensor(values).view(1, 3, 1, 1)
    return {"normalisation": how, "mean": list(constants[0]), "std": list(constants[1])}


def identity(dataset: str, weights: str, stated: Mapping[str, Any]) -> str:
    """Return a digest of all that makes outcomes other ones: the dataset as it is written and where it lies, the
    ``weights``, and what is ``stated`` of the network. It is part of the name of the folder for outcomes."""
    prefix = next((p for p in data.PREFIXES if dataset.startswith(p)), "")
    location = Path(dataset.removeprefix(prefix).partition("?")[0])
    resolved = str(location.resolve()) if prefix and location.exists() else ""
    text = json.dumps([dataset, resolved, weights, stated], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def model_of_checkpoint(
    name: str,
    model: ModelSpec | None,
    dataset: str | None,
    runs: Path,
    data_dir: Path | None,
    device: torch.device,
    choices: Choices = NO_CHOICES,
) -> EvaluatedModel:
    """Read a file of weights, that of a repository ``hf://OWNER/NAME`` of the hub, or ``robustbench:NAME`` out of
    RobustBench's model zoo."""
    if name.startswith(ZOO):
        return model_of_zoo(name, dataset, runs, data_dir, device, choices)
    return model_of_weights(weights_file(name), model, dataset, runs, data_dir, device, choices)


def model_of_zoo(
    name: str, dataset: str | None, runs: Path, data_dir: Path | None, device: torch.device, choices: Choices
) -> EvaluatedModel:
    """Read ``robustbench:NAME`` out of RobustBench's model zoo."""
    if dataset is None:
        raise UsageError("robustbench:NAME needs --dataset: cifar10, cifar100 or imagenet")
    if choices.normalise is not None or choices.weights is not None:
        raise UsageError("--normalise and --weights are for files: networks of robustbench contain theirs")
    from ..robustbench_bridge import load_model

    zoo_name = name.removeprefix(ZOO)
    zoo = (data_dir or data.default_folder()) / "robustbench"
    net = load_model(zoo_name, dataset, zoo).to(device).eval()
    entry = data.get(dataset)
    with torch.inference_mode():
        count = net(torch.zeros(1, 3, entry.size, entry.size, device=device)).shape[1]
    outputs, by = choose_outputs(count, entry, data_dir, choices.classes, dataset == "imagenet", name)
    notes = []
    if by:
        net = SelectedOutputs(net, outputs).to(device)
        notes.append(f"{name}: {len(outputs)} of its {count} outputs stand for the classes of {dataset}, by {by}")
    file = next(iter(sorted(zoo.rglob(f"{zoo_name}.pt"))), None)  # a name that robustbench chose
    digest = "" if file is None else file_digest(file)
    stated = {"robustbench": zoo_name} | ({"sha256": digest} if digest else {}) | selection_facts(outputs, by)
    folder = runs / f"robustbench-{dataset}-{plain(zoo_name)}-{identity(dataset, digest, stated)}"
    return EvaluatedModel(net, dataset, folder, stated, notes=tuple(notes))


def weights_file(name: str) -> Path:
    """Return the path of a file of weights, which is fetched from the hub for ``hf://OWNER/NAME``."""
    if not name.startswith(HUB):
        return Path(name)
    return download(parse_repo(name), *HUB_WEIGHTS)


def model_of_external(
    network: ExternalNetwork, runs: Path, data_dir: Path | None, device: torch.device
) -> EvaluatedModel:
    """Read a network of a board that was trained elsewhere, in a folder of its own. Raises :class:`UsageError` when its
    file is missing or another one."""
    name = network.checkpoint
    dataset = network.dataset.name
    choices = Choices(normalise=network.normalise, weights=network.weights)
    if name.startswith(ZOO):
        model = model_of_zoo(name, dataset, runs, data_dir, device, choices)
    else:
        path = Path(data_dir or data.default_folder(), "checkpoints", name)
        if not path.is_file():
            raise UsageError(f"{path} is missing: get the file whose SHA-256 is {network.sha256}")
        if file_digest(path) != network.sha256:
            raise UsageError(f"{path} is another file: its SHA-256 is not {network.sha256}")
        model = model_of_weights(path, network.model, dataset, runs, data_dir, device, choices)
    folder = runs / network.folder
    write_json(RunFolder(folder).external, network.model_dump(mode="json"))
    return replace(model, folder=folder)
