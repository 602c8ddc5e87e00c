"""Names that the weights of the networks here have elsewhere, by the beginnings that change: torchvision's, and for
networks of small images those of kuangliu's pytorch-cifar and of mixup-cifar10."""

import re
from collections.abc import Mapping

RESNET = {
    "conv1": "stages.0.0",
    "bn1": "stages.0.1",
    **{f"layer{i}.0.shortcut": f"stages.{i}.0.downsample" for i in range(1, 5)},
    **{f"layer{i}": f"stages.{i}" for i in range(1, 5)},
    "fc": "head.linear",
    "linear": "head.linear",
}

PREACT_BODY = {"conv1": 0, "bn2": 1, "conv2": 3, "bn3": 4, "conv3": 6}
"""Where the layers of a pre-activation block stand in its ``body``."""

PREACT = {
    **{f"layer{i}.0.shortcut.0": f"stages.{i}.0.project" for i in range(1, 5)},
    **{
        f"layer{i}.{j}.{layer}": f"stages.{i}.{j}.body.{k}"
        for i in range(1, 5)
        for j in range(6)
        for layer, k in PREACT_BODY.items()
    },
    **{f"layer{i}": f"stages.{i}" for i in range(1, 5)},
    "linear": "head.linear",
}


def preact(variant: str) -> Mapping[str, str]:
    """Return the names of pre-activation ResNets. The stem of variant B has a BatchNorm (mixup-cifar10), that of A none
    (pytorch-cifar); ``bn`` stands before the pooling of C."""
    if variant == "B":
        return {"conv1": "stages.0.0", "bn1": "stages.0.1", **PREACT}
    return {"conv1": "stages.0", **({"bn": "head.norm.0"} if variant == "C" else {}), **PREACT}


DENSENET = {
    "features.conv0": "stages.0.0",
    "features.norm0": "stages.0.1",
    **{f"features.denseblock{i}": f"stages.{i}.0" for i in range(1, 5)},
    **{f"features.transition{i}": f"stages.{i}.1" for i in range(1, 4)},
    "features.norm5": "head.norm.0",
    "classifier": "head.linear",
}

MOBILENETV2_STAGES = ((0, 1), (1, 2), (2, 4), (4, 7), (7, 11), (11, 14), (14, 17), (17, 18))
"""Where the eight stages begin and end in torchvision's ``features``: a new one with every change of width."""

MOBILENETV2 = {
    **{f"features.{j}": f"stages.{i}.{j - a}" for i, (a, b) in enumerate(MOBILENETV2_STAGES) for j in range(a, b)},
    "features.18": "head.norm",
    "classifier.1": "head.linear",
}

VGG11 = {
    "features.0": "stages.0.0",
    "features.3": "stages.1.1",
    "features.6": "stages.2.1",
    "features.8": "stages.3.0",
    "features.11": "stages.4.1",
    "features.13": "stages.5.0",
    "features.16": "stages.6.1",
    "features.18": "stages.7.0",
    "classifier": "head.classifier",
}


def translate(name: str, table: Mapping[str, str]) -> str:
    """Return ``name`` as it is here; unchanged when ``table`` has no beginning of it.

    The published DenseNet weights still write ``norm.1`` where the modules have long been called ``norm1``.
    """
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)
    for theirs, ours in table.items():
        if name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    return name
