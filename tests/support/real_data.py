"""Parts of the real datasets, from the folder that CATCHUP_BENCH_SHARED_DATA names, in their official layouts."""

import io
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import layouts
from tests.support.layouts import Item


def arrays(name: str) -> Any:
    """The arrays of a file; skips where there is none."""
    path = Path(os.environ.get("CATCHUP_BENCH_SHARED_DATA", "")) / name
    if not path.is_file():
        pytest.skip(f"{name} is not in the folder CATCHUP_BENCH_SHARED_DATA")
    return np.load(path)


def names(name: str) -> Any:
    return json.loads((Path(os.environ["CATCHUP_BENCH_SHARED_DATA"]) / name).read_text(encoding="utf-8"))


def items(found: Any, file_names: list[str], boxes: Any = None, every: int = 1) -> list[Item]:
    """The encoded pictures as they are, of every ``every``-th image."""
    blob, offsets = found["blob"].tobytes(), found["offsets"].tolist()
    return [
        Item(
            file_names[i],
            blob[offsets[i] : offsets[i + 1]],
            int(found["labels"][i]),
            tuple(boxes[i].tolist()) if boxes is not None else (0.0,) * 4,
        )
        for i in range(0, len(file_names), every)
    ]


def tiny(root: Path, every: int = 1) -> Path:
    """50 of the 200 classes, original bytes; ``every``-th training image."""
    parts = [arrays(f"tinyimagenet50_{p}.npz") for p in ("train_0", "train_1", "val")]
    wnids = names("tinyimagenet50_classes.json")["wnids"]
    *train, val = (
        items(p, [Path(str(n)).name for n in p["names"]], p["boxes"], e)
        for p, e in zip(parts, (every, every, 1), strict=True)
    )
    return layouts.tiny(root, wnids, [i for part in train for i in part], val)


def cub(root: Path) -> Path:
    """The first 10 of the 200 classes, with the official split and boxes, at a shorter side of 256."""
    found = arrays("cub10.npz")
    every = items(found, [Path(str(n)).name for n in found["names"]], found["boxes_xywh"])
    inside = found["is_train"].astype(bool)
    classes = names("cub10_classes.json")["class_names"]
    train, test = ([i for i, used in zip(every, inside, strict=True) if used == wanted] for wanted in (True, False))
    return layouts.cub(root, classes, train, test)


def cars(root: Path) -> Path:
    """25 of the 196 classes, cut to their boxes; fold 3 of the official training part stands for the test part."""
    found = arrays("cars25_crops.npz")
    every = items(found, [Path(str(n)).name for n in found["names"]])
    train, test = (
        [i for i, fold in zip(every, found["fold"], strict=True) if (fold == 3) == held] for held in (False, True)
    )
    return layouts.cars(root, names("cars25_classes.json")["class_names"], train, test)


def fashion(root: Path) -> Path:
    """20,000 of the 70,000 images, in a split that is not the official one."""
    found = arrays("fashionmnist20k.npz")
    blob, offsets = found["blob"].tobytes(), found["offsets"].tolist()
    strips = [np.asarray(Image.open(io.BytesIO(blob[a:b])).convert("L")) for a, b in pairwise(offsets)]
    x, y, inside = np.concatenate(strips).reshape(-1, 28, 28), found["labels"], found["is_train"].astype(bool)
    return layouts.fashion(root, (x[inside], y[inside]), (x[~inside], y[~inside]))
