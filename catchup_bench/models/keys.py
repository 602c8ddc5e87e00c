"""torchvision's names of the weights of the networks that are regrouped here, by the beginnings that change."""

import re
from collections.abc import Mapping

RESNET = {
    "conv1": "stages.0.0",
    "bn1": "stages.0.1",
    **{f"layer{i}": f"stages.{i}" for i in range(1, 5)},
    "fc": "head.linear",
}

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
    """``name`` as it is here; unchanged when ``table`` has no beginning of it.

    The published DenseNet weights still write ``norm.1`` where the modules have long been called ``norm1``.
    """
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)
    for theirs, ours in table.items():
        if name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    return name
