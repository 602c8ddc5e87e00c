"""Networks with the weights that timm, torchvision and the hub offer for them. Weights are data: no code is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data.normalisation import check_constants
from ..errors import UsageError, one_line_of
from ..system.hub import HUB_WEIGHTS, Repo, download, download_json
from .libraries import import_timm, make_network

Constants = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Offered:
    """A network, the ``weights`` for it, a file or the tensors themselves, and the ``constants`` that normalise its
    images; none of the weights where ``net`` has them already."""

    net: nn.Module
    weights: Path | Mapping[str, Tensor] | None
    constants: Constants


def of_timm(name: str) -> Offered:
    """Return the network of ``timm:NAME`` and its weights. Raises :class:`UsageError` where timm has none on the
    hub."""
    own = name.partition(":")[2]
    net = make_network(name, None)
    config = import_timm().get_pretrained_cfg(own)
    if config is None or not config.hf_hub_id:
        raise UsageError(f"timm has no weights for {own} on the hub: give them by --checkpoint FILE")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_WEIGHTS
    return Offered(net, download(Repo(config.hf_hub_id), *files), constants_of(config.mean, config.std, name))


def of_torchvision(name: str) -> Offered:
    """Return the network of ``torchvision:NAME`` and its default weights, whose digest is in torchvision."""
    from torchvision import models

    net = make_network(name, None)
    weights = models.get_model_weights(name.partition(":")[2]).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as err:  # of the network, of which there are many
        raise UsageError(f"the weights of {name} cannot be fetched: {one_line_of(err)[:200]}") from None
    preset = weights.transforms()
    return Offered(net, state, constants_of(preset.mean, preset.std, name))


def of_hub(repo: Repo) -> Offered:
    """Return the network that the ``config.json`` of ``repo`` describes, one of timm or of transformers, and its
    weights. Raises :class:`UsageError` for anything else."""
    config = download_json(repo, "config.json")
    architecture = config.get("architecture")
    if isinstance(architecture, str):
        stated = config.get("pretrained_cfg")
        merged = config | (stated if isinstance(stated, dict) else {})
        classes = merged.get("num_classes")
        net = make_network(f"timm:{architecture}", classes if isinstance(classes, int) else None)
        constants = constants_of(merged.get("mean"), merged.get("std"), repo.name)
        return Offered(net, download(repo, *HUB_WEIGHTS), constants)
    if isinstance(config.get("model_type"), str):
        return _of_transformers(repo)
    raise UsageError(f"the config.json of {repo.name} is neither that of timm nor of transformers")


def _of_transformers(repo: Repo) -> Offered:
    try:
        from transformers import AutoModelForImageClassification
    except ImportError:
        raise UsageError(f"{repo.name} needs transformers: pip install 'catchup-bench[transformers]'") from None
    download(repo, "model.safetensors")
    preset = download_json(repo, "preprocessor_config.json")
    folder = download(repo, "config.json").parent
    try:
        net = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    except Exception as err:  # of a library, which may raise anything
        raise UsageError(f"{repo.name} is not a network for image classification: {one_line_of(err)[:200]}") from None
    return Offered(Logits(net), None, constants_of(preset.get("image_mean"), preset.get("image_std"), repo.name))


class Logits(nn.Module):
    """A network of transformers, which returns its logits among other things, as one that returns them alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(pixel_values=x).logits
        return logits


def constants_of(mean: Any, std: Any, what: str) -> Constants:
    """Return the constants that ``what`` states. Raises :class:`UsageError` unless they are three numbers each."""
    try:
        numbers = [float(v) for v in mean], [float(v) for v in std]
    except (TypeError, ValueError):
        raise UsageError(f"{what} does not say what normalises its images: give it by --normalise") from None
    return check_constants(*numbers, f"{what} (--normalise gives others)")
