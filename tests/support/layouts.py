"""Writes images in the official layouts of the datasets: made-up ones, and in real_data.py real ones."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat


class Item(NamedTuple):
    """An image file: its name, its bytes and its class (from 0)."""

    name: str
    content: bytes
    label: int
    box: tuple[float, ...] = (1.0, 1.0, 4.0, 4.0)


def jpeg(seed: int, width: int, height: int, mode: str = "RGB") -> bytes:
    """A smooth picture of its own colour."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    small.convert(mode).save(out, "JPEG", quality=95)
    return out.getvalue()


def items(classes: int, each: int, width: int, height: int, seed: int = 0) -> list[Item]:
    """``each`` made-up images per class, of slightly different sizes unless they are square."""
    found = []
    for label in range(classes):
        for i in range(each):
            n = seed + 100 * label + i
            more = 0 if width == height else 3 * i
            found.append(
                Item(f"c{label}_{seed + i}.JPEG", jpeg(n, width + more, height), label, (1.0, 2.0 + i, 5.0, 6.0))
            )
    return found


def put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def tiny(root: Path, wnids: Sequence[str], train: Sequence[Item], val: Sequence[Item]) -> Path:
    """``wnids`` sorted; the list on the disk is not, as in the official archive."""
    top = root / "tiny-imagenet-200"
    put(top / "wnids.txt", "\n".join(reversed(wnids)) + "\n")
    for item in train:
        put(top / "train" / wnids[item.label] / "images" / item.name, item.content)
    for item in val:
        put(top / "val" / "images" / item.name, item.content)
    lines = [f"{i.name}\t{wnids[i.label]}\t" + "\t".join(str(int(b)) for b in i.box) for i in val]
    put(top / "val" / "val_annotations.txt", "\n".join(lines) + "\n")
    return root


def cub(root: Path, classes: Sequence[str], train: Sequence[Item], test: Sequence[Item]) -> Path:
    top = root / "CUB_200_2011"
    put(top / "classes.txt", "".join(f"{i} {name}\n" for i, name in enumerate(classes, 1)))
    both = sorted([*((i, 1) for i in train), *((i, 0) for i in test)], key=lambda p: (p[0].label, p[0].name))
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for number, (item, used) in enumerate(both, 1):
        path = f"{classes[item.label]}/{item.name}"
        put(top / "images" / path, item.content)
        lists["images"].append(f"{number} {path}")
        lists["image_class_labels"].append(f"{number} {item.label + 1}")
        lists["train_test_split"].append(f"{number} {used}")
        lists["bounding_boxes"].append(f"{number} " + " ".join(f"{b:.1f}" for b in item.box))
    for name, lines in lists.items():
        put(top / f"{name}.txt", "\n".join(lines) + "\n")
    return root


def cars(root: Path, classes: Sequence[str], train: Sequence[Item], test: Sequence[Item]) -> Path:
    top = root / "stanford_cars"
    (top / "devkit").mkdir(parents=True)
    savemat(top / "devkit" / "cars_meta.mat", {"class_names": np.array([*classes], dtype=object)})
    for split, part, path in (
        ("train", train, "devkit/cars_train_annos.mat"),
        ("test", test, "cars_test_annos_withlabels.mat"),
    ):
        fields: Any = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
        rows = np.array([(1, i.label + 1, i.name) for i in part], dtype=fields)
        savemat(top / path, {"annotations": rows})
        for item in part:
            put(top / f"cars_{split}" / item.name, item.content)
    return root


def aircraft(root: Path, classes: Sequence[str], train: Sequence[Item], test: Sequence[Item]) -> Path:
    top = root / "fgvc-aircraft-2013b" / "data"
    put(top / "variants.txt", "\n".join(classes) + "\n")
    for split, part in (("trainval", train), ("test", test)):
        lines = [f"{Path(i.name).stem} {classes[i.label]}" for i in part]
        put(top / f"images_variant_{split}.txt", "\n".join(lines) + "\n")
        for item in part:
            put(top / "images" / f"{Path(item.name).stem}.jpg", item.content)
    return root


def folders(root: Path, classes: Sequence[str], **splits: Sequence[Item]) -> Path:
    """root/<split>/<class>/<file>."""
    for split, part in splits.items():
        for item in part:
            put(root / split / classes[item.label] / item.name, item.content)
    return root


def fashion(root: Path, train: tuple[Any, Any], test: tuple[Any, Any]) -> Path:
    """Each split is (uint8 N×28×28, labels)."""
    top = root / "FashionMNIST" / "raw"
    for name, (x, y) in (("train", train), ("t10k", test)):
        images = struct.pack(">HBBIII", 0, 8, 3, *x.shape) + np.ascontiguousarray(x, np.uint8).tobytes()
        labels = struct.pack(">HBBI", 0, 8, 1, len(y)) + np.asarray(y, np.uint8).tobytes()
        put(top / f"{name}-images-idx3-ubyte", images)
        put(top / f"{name}-labels-idx1-ubyte", labels)
    return root
