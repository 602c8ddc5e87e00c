"""Which network is evaluated: a finished run, a file of weights, or one of a model zoo."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import data
from ..errors import UsageError
from ..models import MODELS
from ..runs.build import build, build_net, parameter_count
from ..runs.checkpoint import load_weights, num_classes, read_weights
from ..runs.external import rename
from ..runs.folder import RunFolder, read_run
from ..runs.run import ZOO, ExternalNetwork, ModelSpec, plain
from ..system.files import file_digest, write_json


@dataclass(frozen=True)
class EvaluatedModel:
    """A network for [0,1] images, the dataset on whose test images it is evaluated, and the folder for outcomes.
    ``checkpoint`` says which weights it has; ``trained`` whether the folder is that of a run of ours; ``snapshots``
    are files of its weights by epoch, the last one included, where others were kept."""

    net: nn.Module
    dataset: str
    folder: Path
    checkpoint: dict[str, Any]
    trained: bool = False
    snapshots: dict[int, Path] = field(default_factory=dict)

    @property
    def weights(self) -> str:
        """Which weights these are: the SHA-256 of their file, or their name where there is none."""
        return str(self.checkpoint.get("sha256") or json.dumps(self.checkpoint, sort_keys=True))


def trained_model(folder: Path, device: torch.device) -> EvaluatedModel:
    """Read a finished run at its last epoch. Raises :class:`UsageError` when it is not finished or damaged."""
    run, files = read_run(folder), RunFolder(folder)
    if not files.finished:
        raise UsageError(f"{folder} is not trained to its end: repeat its train command to finish it")
    tensors, _ = read_weights(files.weights)
    net, _ = build(run, device, num_classes(tensors))
    load_weights(net, tensors, files.weights)
    checkpoint = {"sha256": file_digest(files.weights), "epoch": run.recipe.epochs}
    kept = files.snapshots | {run.recipe.epochs: files.weights} if files.snapshots else {}
    return EvaluatedModel(net, run.dataset.name, folder, checkpoint, trained=True, snapshots=kept)


def model_of_weights(
    path: Path, model: ModelSpec | None, dataset: str | None, runs: Path, device: torch.device
) -> EvaluatedModel:
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
        if foreign:
            net = build_net(run.model, run.dataset.name, device, 0, classes, run.recipe.normalise)
        else:
            net = build(run, device, classes)[0]
        dataset, stated = dataset or run.dataset.name, {"run": run.digest}
    elif model is None or dataset is None:
        raise UsageError(f"{path} does not say what it is of: give --model and --dataset")
    else:
        tensors = rename(tensors, MODELS[model.name].torchvision, path)
        net = build_net(model, dataset, device, num_classes=num_classes(tensors))
        own = {"mean", "std"} <= tensors.keys()
        stated = {"model": model.model_dump(), "normalisation": "the file's" if own else "the dataset's"}
    load_weights(net, tensors, path)
    digest = file_digest(path)
    folder = runs / f"checkpoint-{plain(dataset)}-{digest[:12]}"
    return EvaluatedModel(net, dataset, folder, {"sha256": digest, "file": path.name, **stated})


def model_of_checkpoint(
    name: str, model: ModelSpec | None, dataset: str | None, runs: Path, data_dir: Path | None, device: torch.device
) -> EvaluatedModel:
    """A file of weights, or ``robustbench:NAME`` out of RobustBench's model zoo."""
    if not name.startswith(ZOO):
        return model_of_weights(Path(name), model, dataset, runs, device)
    if dataset is None:
        raise UsageError("robustbench:NAME needs --dataset: cifar10, cifar100 or imagenet")
    from ..robustbench_bridge import load_model

    own = name.removeprefix(ZOO)
    zoo = (data_dir or data.default_folder()) / "robustbench"
    net = load_model(own, dataset, zoo).to(device)
    file = next(iter(sorted(zoo.rglob(f"{own}.pt"))), None)  # a name that robustbench chose
    stated = {"robustbench": own} | ({} if file is None else {"sha256": file_digest(file)})
    return EvaluatedModel(net, dataset, runs / f"robustbench-{dataset}-{own}", stated)


def model_of_external(
    network: ExternalNetwork, runs: Path, data_dir: Path | None, device: torch.device
) -> EvaluatedModel:
    """A network of a board that others trained, in a folder of its own. Raises :class:`UsageError` when its file is
    missing or another one."""
    name = network.checkpoint
    if not name.startswith(ZOO):
        path = (data_dir or data.default_folder()) / "checkpoints" / name
        if not path.is_file():
            raise UsageError(f"{path} is missing: get the file whose SHA-256 is {network.sha256}")
        if file_digest(path) != network.sha256:
            raise UsageError(f"{path} is another file: its SHA-256 is not {network.sha256}")
        name = str(path)
    found = model_of_checkpoint(name, network.model, network.dataset.name, runs, data_dir, device)
    folder = runs / network.folder
    write_json(RunFolder(folder).external, network.model_dump(mode="json"))
    return replace(found, folder=folder)
