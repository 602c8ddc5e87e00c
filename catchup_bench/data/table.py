"""The table of datasets: what a run needs to know of each, without torch; its reader is imported when it reads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data_sources import Split, default_folder

if TYPE_CHECKING:
    from .images import Files, Images, Located

Colour = tuple[float, float, float]

CIFAR_MEAN: Colour = (0.4914, 0.4822, 0.4465)

CIFAR_STD: Colour = (0.2023, 0.1994, 0.2010)
"""The constants of CIFAR-10, also used on CIFAR-100 in the released code of mixup, CutMix and AlignMixup."""

IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)

IMAGENET_STD: Colour = (0.229, 0.224, 0.225)
"""The constants of ImageNet, also those of the fine-grained protocols."""


@dataclass(frozen=True)
class Dataset:
    """An entry of the table, with the ``name`` that it was asked for by. ``load(split, folder)`` reads it; ``mean`` and
    ``std`` are those of the training protocol, in [0,1] units. ``classes(folder)`` counts the classes of a part of the
    dataset, where only a part may be on the disk; ``num_classes`` are those of the whole. ``class_names(folder)`` are
    the names of the labels, where two datasets share them. ``located(split, folder)`` reads whole images, resized and
    not cropped, with the boxes of their objects, where the dataset has any."""

    load: "Callable[[Split, Path], Images | Files]"
    num_classes: int
    size: int
    mean: Colour
    std: Colour
    recipe: str
    model: str
    width: int
    about: str
    fetch: Callable[[Path], object] | None = None
    classes: Callable[[Path], int] | None = None
    class_names: Callable[[Path], list[str]] | None = None
    located: "Callable[[Split, Path], Located] | None" = None
    splits: tuple[Split, ...] = ("train", "test")
    name: str = ""

    def count_classes(self, folder: Path | None = None) -> int:
        """Return the number of classes in the files that are there: the dataset's, or fewer where only a part of it
        is."""
        return self.num_classes if self.classes is None else self.classes(folder or default_folder())


def lazily(function: str, *args: Any) -> Callable[..., Any]:
    """Return ``file.function`` of this folder with its first arguments, to be imported when it is called."""
    file, _, name = function.partition(".")
    return partial(_call, file, name, args)


def _call(file: str, function: str, args: tuple[Any, ...], *more: Any) -> Any:
    return getattr(import_module(f".{file}", __package__), function)(*args, *more)


def cifar(name: str, num_classes: int) -> Dataset:
    return Dataset(
        load=lazily("cifar.load_cifar", name),
        fetch=lazily("cifar.fetch_cifar", name),
        num_classes=num_classes,
        size=32,
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
        recipe="cifar100-quick",
        model="preactresnet18",
        width=64,
        about="50,000 training and 10,000 test images of 32 px (Krizhevsky, 2009)",
    )


def shifted(name: str, num_classes: int, about: str, fetched: bool = True) -> Dataset:
    return Dataset(
        load=lazily("shifted.load_folders", name),
        fetch=lazily("shifted.fetch_archive", name) if fetched else None,
        class_names=lazily("shifted.classes_of_folders", name),
        num_classes=num_classes,
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe="imagenet-quick",
        model="resnet50",
        width=64,
        about=f"{about}, 224 px, for the suite shift",
        splits=("test",),
    )


DATASETS = {
    "digits": Dataset(
        load=lazily("digits.load_digits"),
        num_classes=10,
        size=16,
        mean=(0.3053,) * 3,
        std=(0.3754,) * 3,
        recipe="digits",
        model="preactresnet10",
        width=16,
        about="1,000 training and 797 test images of handwritten digits, embedded; nothing to fetch",
    ),
    "cifar100": cifar("CIFAR100", 100),
    "cifar10": replace(cifar("CIFAR10", 10), class_names=lazily("shifted.classes_of_cifar10")),
    "tinyimagenet": Dataset(
        load=lazily("tiny.load_tiny"),
        fetch=lazily("tiny.fetch_tiny"),
        num_classes=200,
        classes=lazily("tiny.class_count"),
        class_names=lazily("tiny.class_names"),
        size=64,
        mean=CIFAR_MEAN,  # as in the released code of AlignMixup
        std=CIFAR_STD,
        recipe="tinyimagenet-quick",
        model="preactresnet18",
        width=64,
        about="100,000 training and 10,000 validation images of 64 px, the latter as the test set",
    ),
    "cub": Dataset(
        load=lazily("cub.load_cub"),
        located=lazily("cub.located"),
        fetch=lazily("cub.fetch_cub"),
        num_classes=200,
        classes=lazily("cub.class_count"),
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe="finegrained-quick",
        model="resnet18",
        width=64,
        about="5,994 training and 5,794 test images of 200 birds, 224 px (Wah et al., 2011)",
    ),
    "cars": Dataset(
        load=lazily("cars.load_cars"),
        num_classes=196,
        classes=lazily("cars.class_count"),
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe="finegrained-quick",
        model="resnet18",
        width=64,
        about="8,144 training and 8,041 test images of 196 cars, 224 px (Krause et al., 2013)",
    ),
    "aircraft": Dataset(
        load=lazily("aircraft.load_aircraft"),
        fetch=lazily("aircraft.fetch_aircraft"),
        num_classes=100,
        classes=lazily("aircraft.class_count"),
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe="finegrained-quick",
        model="resnet18",
        width=64,
        about="6,667 training and 3,333 test images of 100 aircraft, 224 px (Maji et al., 2013)",
    ),
    "imagenet": Dataset(
        load=lazily("imagenet.load_imagenet"),
        fetch=lazily("imagenet.unpack_imagenet"),
        num_classes=1000,
        classes=lazily("imagenet.class_count"),
        class_names=lazily("imagenet.classes"),
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe="imagenet-quick",
        model="resnet50",
        width=64,
        about="1,281,167 training and 50,000 validation images of 1,000 classes, 224 px (Russakovsky et al., 2015)",
    ),
    "imagenet-o": Dataset(
        load=lazily("imagenet.load_imagenet_o"),
        fetch=lazily("imagenet.fetch_imagenet_o"),
        num_classes=200,
        class_names=lazily("imagenet.classes_o"),
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe="imagenet-quick",
        model="resnet50",
        width=64,
        about="2,000 images of no class of ImageNet, 224 px, for the suite ood (Hendrycks et al., 2021)",
        splits=("test",),
    ),
    "imagenet-a": shifted("imagenet-a", 200, "7,500 images that a ResNet-50 gets wrong (Hendrycks et al., 2021)"),
    "imagenet-r": shifted(
        "imagenet-r", 200, "30,000 drawings, sculptures and other renditions (Hendrycks et al., 2021)"
    ),
    "imagenet-sketch": shifted("imagenet-sketch", 1000, "50,889 sketches (Wang et al., 2019)", fetched=False),
    "imagenet-v2": replace(
        shifted(
            "imagenet-v2", 1000, "10,000 images chosen as ImageNet's were, by matched frequency (Recht et al., 2019)"
        ),
        load=lazily("shifted.load_v2"),
        class_names=lazily("shifted.classes_v2"),
    ),
    "cifar10.1": replace(
        cifar("CIFAR10", 10),
        load=lazily("shifted.load_cifar101"),
        class_names=lazily("shifted.classes_of_cifar10"),
        fetch=lazily("shifted.fetch_cifar101"),
        about="2,000 images chosen as CIFAR-10's were, v6, for the suite shift (Recht et al., 2018)",
        splits=("test",),
    ),
    "fashionmnist": Dataset(
        load=lazily("fashion.load_fashion"),
        fetch=lazily("fashion.fetch_fashion"),
        num_classes=10,
        size=32,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        recipe="cifar100-quick",
        model="preactresnet18",
        width=64,
        about="60,000 training and 10,000 test images of clothes, grey, 28 px in 32 (Xiao et al., 2017)",
    ),
}

PREFIXES: dict[str, Callable[[str], Dataset]] = {
    "hf:": lazily("hub.hub_dataset"),
    "folder:": lazily("folder.folder_dataset"),
    "heldout:": lazily("heldout.heldout_dataset"),
    "openood:": lazily("openood.openood_dataset"),
}
"""``hf:NAME`` is any image-classification dataset of the Hugging Face hub, ``folder:PATH`` any folder of images; both
take options, as ``hf:NAME?label=COLUMN``. ``heldout:NAME`` is a dataset with a fifth of its training images in the
place of the test images. ``openood:DATASET/SET`` is one of OpenOOD's lists."""
