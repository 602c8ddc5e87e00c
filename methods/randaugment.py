"""RandAugment, a reference that mixes nothing: Cubuk, Zoph, Shlens and Le, RandAugment: Practical Automated Data
Augmentation with a Reduced Search Space, NeurIPS 2020, arXiv 1909.13719."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Ge, Le, Method, Network, one_hot, soft_loss

from . import _imageops as image
from ._bins import COUNT, FIRST, Strongest, apply_at
from ._chains import uniform, whole


@dataclass(frozen=True, kw_only=True)
class RandAugment(Method):
    """``operations`` random operations of 14 in a row on each image, all at strength ``magnitude`` of 30:
    torchvision's ``RandAugment`` with its defaults, each image by itself. They follow the crop and the flip.
    """

    title = "RandAugment (no mixup)"
    paper = "arXiv 1909.13719"
    year = 2020
    level = "input"
    relatives: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("brightness", "contrast", "saturate", "gaussian_blur", "defocus_blur")
    }

    operations: Annotated[int, Ge(0)] = 2
    magnitude: Annotated[int, Ge(0), Le(30)] = 9

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        with torch.no_grad():
            changed = self.augment(x, gen)
        return soft_loss(net(changed), one_hot(y, net.num_classes), self.criterion)

    def augment(self, x: Tensor, gen: torch.Generator) -> Tensor:
        """Images after their operations, in the memory format of ``x``."""
        n, (height, width) = len(x), x.shape[2:]
        strongest = Strongest(0.3, 150 / 331 * width, 150 / 331 * height, 30.0, 0.9, 4)
        u, step = image.to_bytes(x), torch.full((n,), self.magnitude, device=x.device)
        for _ in range(self.operations):
            kind = FIRST + whole(gen, COUNT, n)
            u = apply_at(u, kind, step, uniform(gen, n) <= 0.5, strongest)
        return torch.empty_like(x).copy_(u).div_(255)
