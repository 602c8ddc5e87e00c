"""Evaluate a network that was not made here: of timm, torchvision, the hub, or a function in a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import data
from ..data.normalisation import constants_text, parse_constants
from ..errors import UsageError
from ..models.libraries import make_network
from ..models.pretrained import Constants, of_hub, of_timm, of_torchvision
from ..models.staging import NormalisedNet, count_outputs
from ..runs.build import build_external
from ..runs.checkpoint import describe_misfit, load_weights, num_classes, read_file, state_digest
from ..runs.external import WRAPPERS, choose_state_dict
from ..runs.make import external_model_spec
from ..runs.run import ModelSpec, plain
from ..system.files import file_digest
from ..system.hub import parse_repo
from .evaluated_model import NO_CHOICES, Choices, EvaluatedModel, identity
from .outputs import SelectedOutputs, choose_outputs, selection_facts

OF_HUB = "hf:"
"""Prefix of a network that a repository of the hub describes."""


def is_external(model: str | None) -> bool:
    """Return whether ``--model`` names a network that was not made here."""
    return model is not None and ":" in model


def external_model(
    name: str,
    checkpoint: Path | None,
    dataset: str,
    runs: Path,
    data_dir: Path | None,
    device: torch.device,
    choices: Choices = NO_CHOICES,
) -> EvaluatedModel:
    """Read the network ``name``, as ``--model`` has it, with the weights in ``checkpoint``, or else with those that its
    library offers; a function in a file returns a network with its weights.

    Raises :class:`UsageError` for whatever does not exist, cannot be had or does not fit.
    """
    entry = data.get(dataset)
    stated: dict[str, Any] = {"model": name}
    notes: list[str] = []
    constants: Constants | None
    if name.startswith(OF_HUB):
        if checkpoint is not None:
            raise UsageError(f"{name} has its own weights: leave out --checkpoint")
        net, constants, how = offered(name)
    else:
        spec = external_model_spec(name)
        stated["model"] = spec.name if spec.sha256 is None else f"{spec.name} {spec.sha256}"
        if checkpoint is not None:
            net, constants, how = of_checkpoint(spec, checkpoint, entry, device, choices)
        elif spec.file is not None:
            net, constants, how = make_network(spec.name, entry.num_classes, spec.file), (entry.mean, entry.std), ""
        else:
            net, constants, how = offered(name)
    if choices.normalise is not None:
        constants, how = parse_constants(choices.normalise, entry), choices.normalise
    if constants is not None:
        hint = "; --normalise gives others" if choices.normalise is None else ""
        said = how or "the dataset's"
        notes.append(f"{name}: images are normalised by {constants_text(*constants)} ({said}{hint})")
        net = NormalisedNet(net, *constants)
        stated |= {"normalisation": said, "mean": list(constants[0]), "std": list(constants[1])}
    net = net.to(device).eval()
    try:
        count = count_outputs(net, entry.size)
    except UsageError as err:
        raise UsageError(f"{name}: {err}") from None
    outputs, by = choose_outputs(count, entry, data_dir, choices.classes, True, name)
    if by:
        notes.append(f"{name}: {len(outputs)} of its {count} outputs stand for the classes of {dataset}, by {by}")
        stated |= selection_facts(outputs, by)
    digest = file_digest(checkpoint) if checkpoint is not None else state_digest(net)
    evaluated: nn.Module = SelectedOutputs(net, outputs).to(device) if by else net
    if checkpoint is not None:
        stated["file"] = checkpoint.name
    folder = runs / f"network-{plain(dataset)}-{plain(name)[-64:]}-{identity(dataset, digest, stated)}"
    return EvaluatedModel(evaluated, dataset, folder, {"sha256": digest, **stated}, notes=tuple(notes))


def offered(name: str) -> tuple[nn.Module, Constants, str]:
    """Return the network ``name`` with the weights that its library offers, their constants, and whose they are."""
    if name.startswith(OF_HUB):
        found = of_hub(parse_repo(name.removeprefix(OF_HUB)))
    else:
        found = of_timm(name) if name.startswith("timm:") else of_torchvision(name)
    if isinstance(found.weights, Path):
        by_name, _ = read_file(found.weights)
        taken, _ = choose_state_dict(by_name, None, found.weights)
        load_weights(found.net, by_name[taken], found.weights)
    elif found.weights is not None:
        load_weights(found.net, dict(found.weights), Path(name))
    return found.net, found.constants, "its library's"


def of_checkpoint(
    spec: ModelSpec, path: Path, dataset: data.Dataset, device: torch.device, choices: Choices
) -> tuple[nn.Module, Constants | None, str]:
    """Return the network ``spec`` with the weights in the file ``path``, the constants that it does not have inside,
    and whose they are. Raises :class:`UsageError` when they do not fit."""
    by_name, run = read_file(path)
    if run is not None:
        if (run.model.name, run.model.sha256) != (spec.name, spec.sha256):
            raise UsageError(f"{path} is of a {run.model.name}, not of this {spec.name}")
        if choices.normalise is not None:
            raise UsageError(f"{path} has the constants of its run inside: leave out --normalise")
        tensors = by_name[""]
        known = num_classes(tensors) or dataset.num_classes
        staged = build_external(spec, known, dataset.size, dataset.mean, dataset.std, device, 0)
        load_weights(staged, tensors, path)
        return staged, None, ""
    taken, _ = choose_state_dict(by_name, choices.weights, path)
    net = make_network(spec.name, dataset.num_classes, spec.file)
    tensors = unwrapped(by_name[taken])
    classes = classes_in(net, tensors)
    if classes is not None and classes != dataset.num_classes:
        net = make_network(spec.name, classes, spec.file)
    if misfit := describe_misfit(net, tensors):
        raise UsageError(f"{path} is of another network than {spec.name}: {misfit}")
    load_weights(net, tensors, path)
    return net, (dataset.mean, dataset.std), "the dataset's"


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``tensors`` without what DataParallel and ``torch.compile`` put before every name."""
    while tensors and all(name.startswith(WRAPPERS) for name in tensors):
        tensors = {name.partition(".")[2]: value for name, value in tensors.items()}
    return dict(tensors)


def classes_in(net: nn.Module, tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of classes of a state, by the shape of what is the last linear layer in ``net``."""
    linear = [name for name, m in net.named_modules() if isinstance(m, nn.Linear)]
    weight = tensors.get(f"{linear[-1]}.weight") if linear else None
    return len(weight) if weight is not None and weight.ndim == 2 else None
