"""TrivialAugment (wide), a reference that mixes nothing: Müller and Hutter, TrivialAugment: Tuning-free Yet
State-of-the-Art Data Augmentation, ICCV 2021, arXiv 2103.10158."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Ge, Method, Network, one_hot, soft_loss

from . import _imageops as image
from ._bins import BINS, COUNT, FIRST, Strongest, apply_at
from ._chains import uniform, whole


@dataclass(frozen=True, kw_only=True)
class TrivialAugment(Method):
    """One random operation of 14 on each image, at a random strength: torchvision's ``TrivialAugmentWide`` with its
    defaults, each image by itself.

    The operations follow the crop and the flip, where the authors' code has them before. ``shift`` is the longest
    shift in pixels, 32 at any size in torchvision; one side of the image on the digits, as on CIFAR, is a proposal.
    """

    title = "TrivialAugment (no mixup)"
    paper = "arXiv 2103.10158"
    year = 2021
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"digits": {"shift": 16.0}}
    relatives: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("brightness", "contrast", "saturate", "gaussian_blur", "defocus_blur")
    }

    shift: Annotated[float, Ge(0), "pixels"] = 32.0

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        with torch.no_grad():
            changed = self.augment(x, gen)
        return soft_loss(net(changed), one_hot(y, net.num_classes), self.criterion)

    def augment(self, x: Tensor, gen: torch.Generator) -> Tensor:
        """Images after one operation each, in the memory format of ``x``."""
        n, strongest = len(x), Strongest(0.99, self.shift, self.shift, 135.0, 0.99, 6)
        kind, step = FIRST + whole(gen, COUNT, n), whole(gen, BINS, n)
        u = apply_at(image.to_bytes(x), kind, step, uniform(gen, n) <= 0.5, strongest)
        return torch.empty_like(x).copy_(u).div_(255)
