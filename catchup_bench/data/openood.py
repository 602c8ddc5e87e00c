"""The image lists of OpenOOD (Zhang et al., OpenOOD v1.5, 2023, arXiv 2306.09301): which images of which sets are known
and which are out of distribution, for networks of CIFAR-10 and CIFAR-100.

In the data folder, ``openood/benchmark_imglist/<dataset>/test_<set>.txt`` lists what lies below
``openood/images_classic``, as its download script arranges them.
"""

from pathlib import Path

from ..errors import UsageError, pick
from .decode import Pixels, decoded
from .images import Files, Images
from .listing import lines
from .table import CIFAR_MEAN, CIFAR_STD, Dataset

NEAR = {"cifar10": ("cifar100", "tin"), "cifar100": ("cifar10", "tin")}
"""Dataset of a network → its near sets."""

FAR = ("mnist", "svhn", "texture", "places365")
"""The far sets of both."""

PREFIX = "openood:"

TOP = "openood"


def names_for(dataset: str) -> tuple[str, ...]:
    """Return the names of the near and far sets for networks of ``dataset``. Raises :class:`UsageError` for one that
    OpenOOD has no lists for."""
    near = NEAR[pick("dataset of OpenOOD's lists", dataset, NEAR)]
    return tuple(f"{PREFIX}{dataset}/{name}" for name in (*near, *FAR))


def is_near(name: str) -> bool:
    """Return whether a name of :func:`names_for` is of a near set."""
    dataset, _, part = name.removeprefix(PREFIX).partition("/")
    return part in NEAR.get(dataset, ())


def openood_dataset(name: str) -> Dataset:
    """Return the table's entry of ``<dataset>/<set>``, a list of test images. Those of the dataset itself have labels;
    all others have none, and 0 stands for it."""
    dataset, _, part = name.partition("/")
    pick("dataset of OpenOOD's lists", dataset, NEAR)
    pick(f"set of OpenOOD for {dataset}", part, [dataset, *NEAR[dataset], *FAR])
    return Dataset(
        load=lambda split, folder: load_list(dataset, part, folder),
        num_classes={"cifar10": 10, "cifar100": 100}[dataset] if part == dataset else 1,
        size=32,
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
        recipe="cifar100-quick",
        model="resnet18",
        width=64,
        about=f"OpenOOD's list of {part} for {dataset}",
        splits=("test",),
    )


def load_list(dataset: str, part: str, folder: Path) -> Images:
    """Load the images of a list. Raises :class:`UsageError` when the list, or an image, is not there."""
    top = folder / TOP
    path = top / "benchmark_imglist" / dataset / f"test_{part}.txt"
    if not path.is_file():
        raise UsageError(
            f"no {path}: OpenOOD's script (https://github.com/Jingkang50/OpenOOD, scripts/download) brings the "
            f"lists and images; they must lie in {top}"
        )
    names, labels = [], []
    for line in lines(path):
        name, _, label = line.partition(" ")
        if Path(name).is_absolute() or ".." in Path(name).parts or not label.strip().removeprefix("-").isdecimal():
            raise UsageError(f"{path}: {line[:80]!r} is not the path of an image and its label")
        names.append(name)
        labels.append(max(0, int(label)))
    return decoded(Files.of(top / "images_classic", names, labels, 32), fitted)


def fitted(picture: object, size: int) -> Pixels:
    """Resize the shorter side to ``size`` and crop the middle."""
    import numpy as np
    from torchvision.transforms.v2 import functional as F

    return np.asarray(F.center_crop(F.resize(picture, [size]), [size, size]))
