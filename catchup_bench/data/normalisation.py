"""Constants of normalisation by name, for recipes and for external weights: mean and standard deviation per channel of
images in [0,1]."""

from collections.abc import Sequence

from ..errors import UsageError, pick
from .table import CIFAR_MEAN, CIFAR_STD, IMAGENET_MEAN, IMAGENET_STD, Colour, Dataset

CONSTANTS: dict[str, tuple[Colour, Colour]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "cifar10": (CIFAR_MEAN, CIFAR_STD),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "half": ((0.5,) * 3, (0.5,) * 3),
    "none": ((0.0,) * 3, (1.0,) * 3),
}
"""``cifar100`` is over all pixels of its training images; ``half`` brings [0,1] to [-1,1]."""

OF_DATASET = "dataset"
"""The name of the constants in the dataset's own entry."""


def named_constants(name: str, dataset: Dataset) -> tuple[Colour, Colour]:
    """Return the mean and standard deviation called ``name``. Raises :class:`UsageError` for an unknown name."""
    if name == OF_DATASET:
        return dataset.mean, dataset.std
    return CONSTANTS[pick("normalisation", name, CONSTANTS)]


def parse_constants(text: str, dataset: Dataset | None) -> tuple[Colour, Colour]:
    """Return the constants that ``text`` stands for: a name, or numbers with commas between, which are the mean and the
    standard deviation of all channels, or three means and then three standard deviations. Without a ``dataset``, it has
    no constants.

    Raises :class:`UsageError` for anything else, and as :func:`check_constants`.
    """
    if text in CONSTANTS:
        return CONSTANTS[text]
    if text == OF_DATASET and dataset is not None:
        return dataset.mean, dataset.std
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 2:
        values = [values[0]] * 3 + [values[1]] * 3
    if len(values) != 6:
        names = [*([] if dataset is None else [OF_DATASET]), *CONSTANTS]
        raise UsageError(
            f"--normalise {text}: it takes {', '.join(names)}, or a mean and a standard deviation with a comma "
            "between, or three of each"
        )
    return check_constants(values[:3], values[3:], f"--normalise {text}")


def check_constants(mean: Sequence[float], std: Sequence[float], where: str) -> tuple[Colour, Colour]:
    """Return ``mean`` and ``std``. Raises :class:`UsageError` unless there are three of each, the means in [0,1] and
    the standard deviations above 0 and at most 1, as they are of images in [0,1]."""
    if len(mean) != 3 or len(std) != 3:
        raise UsageError(f"{where} has {len(mean)} means and {len(std)} standard deviations; three of each are needed")
    if not (all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std)):  # false of NaN
        raise UsageError(
            f"{where}: means lie in 0 to 1 and standard deviations above 0, at most 1, since images are in [0,1]; "
            "divide constants of images in 0 to 255 by 255"
        )
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def constants_text(mean: Sequence[float], std: Sequence[float]) -> str:
    """Return the constants in one line, such as ``mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225``."""
    return f"mean {', '.join(f'{v:.4g}' for v in mean)}; std {', '.join(f'{v:.4g}' for v in std)}"
