"""Where the datasets come from and what the whole of each is; read without torch and without the data."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import UsageError, pick

Split = Literal["train", "test"]
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test", "validation", "valid", "val", "dev"),
}
"""What a split may be called where people name it; the first that has labels is taken."""


@dataclass(frozen=True)
class Source:
    """``needs`` are paths below the data folder. ``counts`` are the official numbers of images, ``classes`` of
    classes. ``obtain`` says where the files come from, ``fetched`` whether ``data fetch`` brings them (or unpacks
    the archives that lie there), ``grouped`` whether what is needed may also lie one folder deeper, in that of its
    archive."""

    needs: tuple[str, ...]
    counts: dict[Split, int]
    classes: int
    homepage: str
    licence: str
    size: str
    obtain: str
    fetched: bool = True
    grouped: bool = False


IMAGENET_TERMS = "non-commercial research and education (the terms of ImageNet)"

CIFAR_C = "CC BY 4.0"

CORRUPTED = ("labels.npy", "gaussian_noise.npy", "saturate.npy")

CORRUPTION_ARCHIVES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""Archive of ImageNet-C → the folders in it."""

SOURCES = {
    "digits": Source(
        needs=(),
        counts={"train": 1000, "test": 797},
        classes=10,
        homepage="https://archive.ics.uci.edu/dataset/80",
        licence="CC BY 4.0",
        size="embedded",
        obtain="scikit-learn carries them",
        fetched=False,
    ),
    "cifar100": Source(
        needs=("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"),
        counts={"train": 50_000, "test": 10_000},
        classes=100,
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by its authors",
        size="161 MiB",
        obtain="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    ),
    "cifar10": Source(
        needs=(
            "cifar-10-batches-py/data_batch_1",
            "cifar-10-batches-py/test_batch",
            "cifar-10-batches-py/batches.meta",
        ),
        counts={"train": 50_000, "test": 10_000},
        classes=10,
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by its authors",
        size="163 MiB",
        obtain="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    "tinyimagenet": Source(
        needs=tuple(f"tiny-imagenet-200/{p}" for p in ("wnids.txt", "train", "val/images", "val/val_annotations.txt")),
        counts={"train": 100_000, "test": 10_000},
        classes=200,
        homepage="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        licence=IMAGENET_TERMS,
        size="237 MiB",
        obtain="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ),
    "cub": Source(
        needs=tuple(
            f"CUB_200_2011/{p}"
            for p in ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
        ),
        counts={"train": 5994, "test": 5794},
        classes=200,
        homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        licence="none stated in the archive; its authors ask for a citation",
        size="1.1 GiB",
        obtain="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    ),
    "cars": Source(
        needs=tuple(
            f"stanford_cars/{p}"
            for p in (
                "devkit/cars_meta.mat",
                "devkit/cars_train_annos.mat",
                "cars_test_annos_withlabels.mat",
                "cars_train",
                "cars_test",
            )
        ),
        counts={"train": 8144, "test": 8041},
        classes=196,
        homepage="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (no longer served)",
        licence="none stated by its authors",
        size="1.8 GiB",
        obtain="no official address is left: https://github.com/pytorch/vision/issues/7545 says where copies are and "
        "how to arrange them",
        fetched=False,
    ),
    "aircraft": Source(
        needs=tuple(
            f"fgvc-aircraft-2013b/data/{p}"
            for p in ("images", "variants.txt", "images_variant_trainval.txt", "images_variant_test.txt")
        ),
        counts={"train": 6667, "test": 3333},
        classes=100,
        homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        licence="non-commercial research only; the photographers keep the copyright",
        size="2.6 GiB",
        obtain="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
    ),
    "imagenet": Source(
        needs=("imagenet/train", "imagenet/val"),
        counts={"train": 1_281_167, "test": 50_000},
        classes=1000,
        homepage="https://image-net.org/download.php",
        licence=IMAGENET_TERMS,
        size="144 GiB",
        obtain="after registration at https://image-net.org: put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
        "ILSVRC2012_devkit_t12.tar.gz into the folder imagenet, and data fetch unpacks them",
    ),
    "imagenet-o": Source(
        needs=("imagenet-o",),
        counts={"test": 2000},
        classes=200,
        homepage="https://github.com/hendrycks/natural-adv-examples",
        licence=IMAGENET_TERMS,
        size="2,000 images",
        obtain="https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
    ),
    "imagenet-a": Source(
        needs=("imagenet-a",),
        counts={"test": 7500},
        classes=200,
        homepage="https://github.com/hendrycks/natural-adv-examples",
        licence=IMAGENET_TERMS,
        size="7,500 images",
        obtain="https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
    ),
    "imagenet-r": Source(
        needs=("imagenet-r",),
        counts={"test": 30_000},
        classes=200,
        homepage="https://github.com/hendrycks/imagenet-r",
        licence=IMAGENET_TERMS,
        size="30,000 images",
        obtain="https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
    ),
    "imagenet-sketch": Source(
        needs=("sketch",),
        counts={"test": 50_889},
        classes=1000,
        homepage="https://github.com/HaohanWang/ImageNet-Sketch",
        licence=IMAGENET_TERMS,
        size="50,889 images, 7.1 GiB",
        obtain="ImageNet-Sketch.zip behind the links on https://github.com/HaohanWang/ImageNet-Sketch (its SHA-256 in "
        "TensorFlow Datasets: 4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed), unpacked as "
        "sketch/<wnid>",
        fetched=False,
    ),
    "imagenet-v2": Source(
        needs=("imagenetv2-matched-frequency-format-val",),
        counts={"test": 10_000},
        classes=1000,
        homepage="https://github.com/modestyachts/ImageNetV2",
        licence=IMAGENET_TERMS,
        size="10,000 images, 1.2 GiB",
        obtain="https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
    ),
    "cifar10.1": Source(
        needs=("cifar10.1/cifar10.1_v6_data.npy", "cifar10.1/cifar10.1_v6_labels.npy"),
        counts={"test": 2000},
        classes=10,
        homepage="https://github.com/modestyachts/CIFAR-10.1",
        licence="MIT",
        size="6 MiB",
        obtain="https://github.com/modestyachts/CIFAR-10.1, folder datasets, the two files of version 6",
    ),
    "fashionmnist": Source(
        needs=tuple(
            f"FashionMNIST/raw/{a}-{b}-ubyte" for a in ("train", "t10k") for b in ("images-idx3", "labels-idx1")
        ),
        counts={"train": 60_000, "test": 10_000},
        classes=10,
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        size="30 MiB",
        obtain="through torchvision, from the authors' mirror",
    ),
    "cifar10-c": Source(
        needs=tuple(f"CIFAR-10-C/{p}" for p in CORRUPTED),
        counts={"test": 50_000},
        classes=10,
        homepage="https://zenodo.org/records/2535967",
        licence=CIFAR_C,
        size="2.7 GiB",
        obtain="https://zenodo.org/records/2535967, through robustbench",
    ),
    "cifar100-c": Source(
        needs=tuple(f"CIFAR-100-C/{p}" for p in CORRUPTED),
        counts={"test": 50_000},
        classes=100,
        homepage="https://zenodo.org/records/3555552",
        licence=CIFAR_C,
        size="2.7 GiB",
        obtain="https://zenodo.org/records/3555552, through robustbench",
    ),
    "imagenet-c": Source(
        needs=tuple(f"ImageNet-C/{name}" for names in CORRUPTION_ARCHIVES.values() for name in names),
        counts={"test": 50_000},
        classes=1000,
        homepage="https://zenodo.org/records/2235448",
        licence=f"{CIFAR_C}, of images under {IMAGENET_TERMS}",
        size="five archives, about 62 GB",
        obtain="https://zenodo.org/records/2235448: " + ", ".join(f"{name}.tar" for name in CORRUPTION_ARCHIVES),
        grouped=True,
    ),
    "tinyimagenet-c": Source(
        needs=tuple(f"Tiny-ImageNet-C/{name}" for names in CORRUPTION_ARCHIVES.values() for name in names),
        counts={"test": 10_000},
        classes=200,
        homepage="https://zenodo.org/records/2536630",
        licence=f"that of its record; the images are under {IMAGENET_TERMS}",
        size="two archives, of which the first has 1.7 GiB",
        obtain="https://zenodo.org/records/8206060, Tiny-ImageNet-C.tar and Tiny-ImageNet-C-extra.tar: a copy by "
        "others of its authors' repaired files, as frost has 1,000 classes in their own record "
        "(https://github.com/hendrycks/robustness/issues/60)",
        grouped=True,
    ),
    "frost": Source(
        needs=tuple(f"frost/{p}" for p in ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")),
        counts={},
        classes=0,
        homepage="https://github.com/hendrycks/robustness",
        licence="Apache 2.0",
        size="2 MiB",
        obtain="https://github.com/hendrycks/robustness, folder ImageNet-C/create_c",
    ),
}
"""Name → source, of datasets and of what the corruption suite can use."""


GENERIC = ("folder:", "hf:")
"""How names of datasets begin that are not in the table."""

HELD_OUT = "heldout:"
"""How the name of a dataset begins whose test images are a part of the training images of the one named after it."""

HELD_OUT_SHARE = 0.2
"""Of the training images of each class, the share that is held out."""

FOLDER_OPTIONS: dict[str, tuple[str, ...]] = {"untested": ("allowed",)}
"""Options of a ``folder:``: classes without test pictures are an error unless they are allowed."""


def parse(text: str, prefix: str, known: dict[str, tuple[str, ...]]) -> tuple[str, dict[str, str]]:
    """Return the path or name in ``text`` and its options: ``PATH?key=value&key=value``.

    ``known`` are the keys and their allowed values, any where there are none. A folder that is really called so wins.
    Raises :class:`UsageError` for another key or value.
    """
    name, mark, query = text.partition("?")
    if not mark or Path(text).exists():
        return text, {}
    options = dict(part.partition("=")[::2] for part in query.split("&"))
    for key, value in options.items():
        pick(f"option of {prefix}{name}", key, known)
        if known[key] or not value:
            pick(f"{key} of {prefix}{name}", value, known[key] or ("the name of a column",))
    return name, options


def default_folder() -> Path:
    """Return the folder of the data when ``--data-dir`` is not given."""
    return Path(os.environ.get("CATCHUP_BENCH_DATA") or Path.home() / ".cache" / "catchup-bench" / "data")


def missing(name: str, data_dir: Path) -> list[str]:
    """Return the paths of a source that are not there."""
    source = SOURCES[name]
    lost = [data_dir / p for p in source.needs if not (data_dir / p).exists()]
    if source.grouped:
        lost = [path for path in lost if not any(path.parent.glob(f"*/{path.name}"))]
    return [str(path) for path in lost]


def where(name: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Return where a dataset is expected, whether it is there and where it comes from, as printed or given as
    JSON."""
    data_dir = data_dir or default_folder()
    if name.startswith(HELD_OUT):
        whole = where(name.removeprefix(HELD_OUT), data_dir)
        if "images" in whole:
            held = round(HELD_OUT_SHARE * whole["images"].get("train", 0))
            whole["images"] = {"train": whole["images"].get("train", 0) - held, "test": held}
        return whole | {"dataset": name}
    if name.startswith("folder:"):
        path = Path(parse(name.removeprefix("folder:"), "folder:", FOLDER_OPTIONS)[0])
        lost = [
            str(path / split)
            for split, spellings in SPLIT_NAMES.items()
            if not any((path / spelling).is_dir() for spelling in spellings)
        ]
        return {"dataset": name, "folder": str(path), "present": not lost, "missing": lost}
    if name.startswith("hf:"):
        raise UsageError(
            f"{name} is located by the datasets library: a hub name in that library's cache, or a local folder"
        )
    source = SOURCES[pick("dataset", name, SOURCES)]
    top = Path(*Path(source.needs[0]).parts[:1]) if source.needs else Path()
    lost = missing(name, data_dir)
    return {
        "dataset": name,
        "folder": str(data_dir / top) if source.needs else "embedded",
        "present": not lost,
        "missing": lost,
        "images": dict(source.counts),
        "classes": source.classes,
        "homepage": source.homepage,
        "licence": source.licence,
        "size": source.size,
        "obtain": source.obtain,
        "fetched by": f"catchup-bench data fetch {name}" if source.fetched else None,
    }


def absent(name: str, data_dir: Path) -> UsageError | None:
    """Return the error that says what of a dataset is missing and how to get it; ``None`` when its parts are there."""
    lost = missing(name, data_dir)
    if not lost:
        return None
    source = SOURCES[name]
    by_command = source.fetched and name != "imagenet"
    get = f"run: catchup-bench data fetch {name} --data-dir {data_dir}" if by_command else source.obtain
    return UsageError(f"no {name} in {data_dir}: {lost[0]} is missing. To get it, {get}; or give the right --data-dir")
