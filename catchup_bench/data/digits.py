"""The handwritten digits that scikit-learn carries."""

import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch

from ..data_sources import Split
from ..errors import UsageError
from .images import Images


def load_digits(split: Split, folder: Path) -> Images:
    """scikit-learn's 1,797 handwritten digits (UCI Optical Recognition of Handwritten Digits), 8×8 pixels of 17
    grey levels, each pixel shown as 2×2, grey as RGB. 100 of each class train, the other 797 test, fixed by hash.

    The table is read from where scikit-learn keeps it; importing the library for it would take seconds.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UsageError("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
    with gzip.open(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz") as f:
        table = np.loadtxt(f, delimiter=",", dtype=np.int64)
    grey = torch.from_numpy((table[:, :64] * 255 + 8) // 16).to(torch.uint8).view(-1, 8, 8, 1)
    x = grey.repeat_interleave(2, 1).repeat_interleave(2, 2).expand(-1, -1, -1, 3).contiguous()
    everything = Images(x, torch.from_numpy(table[:, 64].copy()), torch.arange(len(table)))
    rows = [r for label in range(10) for r in _first_by_hash(everything, label, 100)]
    inside = torch.zeros(len(table), dtype=torch.bool)
    inside[rows] = True
    part = everything.take((inside if split == "train" else ~inside).nonzero()[:, 0])
    return Images(part.x, part.y, torch.arange(len(part)))


def _first_by_hash(images: Images, label: int, count: int) -> list[int]:
    rows: list[int] = (images.y == label).nonzero()[:, 0].tolist()
    return sorted(rows, key=lambda i: hashlib.sha256(f"digits-split/{i}".encode()).digest())[:count]
