"""Weights trained on ImageNet that a run begins with: torchvision's files, by torchvision's names."""

import re
from pathlib import Path

import torch

from .. import data
from ..errors import UsageError, pick
from ..models import MODELS, StagedNet
from ..system.files import file_digest
from .checkpoint import load_weights, read_file
from .external import choose_state_dict, rename
from .run import Run

DIGEST = re.compile(r"-([0-9a-f]{8,})\.")
"""How torchvision puts the beginning of a file's SHA-256 into its name."""


def pretrained_file(name: str, data_dir: Path | None) -> Path:
    """Return the file of torchvision's weights called ``name``, such as ``ResNet18_Weights.IMAGENET1K_V1``: in
    ``checkpoints`` below the data folder, or where torchvision's own loader keeps it.

    Raises :class:`UsageError` for an unknown name, a file that is missing, and one of another digest.
    """
    url = weights_url(name)
    file = url.rsplit("/", 1)[1]
    own = (data_dir or data.default_folder()) / "checkpoints" / file
    path = next((p for p in (own, Path(torch.hub.get_dir()) / "checkpoints" / file) if p.is_file()), None)
    if path is None:
        raise UsageError(f"{own} is missing, which recipe.pretrained = {name} needs: put {url} there")
    stated = DIGEST.search(file)
    if stated is not None and not file_digest(path).startswith(stated[1]):
        raise UsageError(f"{path} is damaged: its SHA-256 does not begin with {stated[1]}; get {url} again")
    return path


def weights_url(name: str) -> str:
    """Return where torchvision has the weights called ``name``."""
    from torchvision.models import get_model_weights, get_weight, list_models

    known = [str(weights) for model in list_models() if model in MODELS for weights in get_model_weights(model)]
    return str(get_weight(pick("recipe.pretrained", name, known)).url)


def load_pretrained(net: StagedNet, run: Run, data_dir: Path | None) -> None:
    """Put the weights that ``run`` begins with into ``net``, whose last layer keeps its own where it has another number
    of classes; nothing where the recipe names none.

    Raises :class:`UsageError` as :func:`pretrained_file`, and for weights of another network.
    """
    name = run.recipe.pretrained
    if not name:
        return
    if run.model.variant is None:
        raise UsageError(f"recipe.pretrained = {name} is for networks of this project, which {run.model.name} is not")
    path = pretrained_file(name, data_dir)
    by_name, _ = read_file(path)
    taken, _ = choose_state_dict(by_name, None, path)
    tensors = rename(by_name[taken], MODELS[run.model.name].external_names(run.model.variant), path)
    own = {k: v.detach().cpu() for k, v in net.state_dict().items()}
    for key, value in own.items():
        if key.startswith("head.") and key in tensors and tensors[key].shape[1:] == value.shape[1:]:
            tensors[key] = tensors[key] if tensors[key].shape == value.shape else value
    load_weights(net, tensors, path)


def check_pretrained(runs: list[Run], data_dir: Path | None) -> None:
    """Raise :class:`UsageError` when weights that one of ``runs`` begins with are missing or damaged."""
    for name in dict.fromkeys(run.recipe.pretrained for run in runs):
        if name:
            pretrained_file(name, data_dir)
