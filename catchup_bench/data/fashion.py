"""Fashion-MNIST, through torchvision: grey as RGB, 28 px with a border of 2 black ones, as the pictures have."""

from pathlib import Path

import torch.nn.functional as F

from ..data_sources import Split, absent
from ..errors import UsageError
from .images import Images, as_images


def load_fashion(split: Split, folder: Path) -> Images:
    """Xiao et al., 2017. Raises :class:`UsageError` when files are missing or damaged."""
    from torchvision.datasets import FashionMNIST

    if (error := absent("fashionmnist", folder)) is not None:
        raise error
    try:
        raw = FashionMNIST(str(folder), train=split == "train", download=False)
        grey, labels = raw.data, raw.targets
        if grey.shape != (len(labels), 28, 28):
            raise ValueError(f"images of shape {tuple(grey.shape)} and {len(labels)} labels")
    except (RuntimeError, ValueError, TypeError, AssertionError, OSError, IndexError) as err:
        raise UsageError(
            f"the {split} files in {folder / 'FashionMNIST' / 'raw'} are damaged ({str(err) or type(err).__name__}): "
            "delete them and fetch them again"
        ) from None
    x = F.pad(grey, (2, 2, 2, 2))[..., None].expand(-1, -1, -1, 3).contiguous()
    return as_images(x, labels.tolist(), 10, "fashionmnist")


def fetch_fashion(folder: Path) -> None:
    """Download through torchvision, which checks the MD5 before it unpacks."""
    from torchvision.datasets import FashionMNIST

    FashionMNIST(str(folder), download=True)
