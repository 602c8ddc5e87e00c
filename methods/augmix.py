"""AugMix: Hendrycks, Mu, Cubuk, Zoph, Gilmer and Lakshminarayanan, AugMix: A Simple Data Processing Method to Improve
Robustness and Uncertainty, ICLR 2020, arXiv 1912.02781."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from catchup_bench.method import Ge, Lt, Method, Network, one_hot, soft_loss

from ._chains import NINE, THIRTEEN, consistency, views


@dataclass(frozen=True, kw_only=True)
class AugMix(Method):
    """Each image is blended with a mixture of three chains of one to three random operations, and with ``jsd`` the
    predictions for it and for two such views have to agree: CE on the image itself and ``weight`` times the
    Jensen-Shannon divergence. Without ``jsd`` the loss is the CE on one view.

    Severity 3 on CIFAR and 1 on ImageNet are the released settings; 3 up to 64 px and 1 above is a proposal. Shifts go
    by the image's side, for which the released file holds a constant. ``all_ops`` adds colour, contrast, brightness
    and sharpness, which the authors leave out as relatives of the corruptions of the test.
    """

    title = "AugMix"
    paper = "arXiv 1912.02781"
    year = 2020
    level = "input"
    passes = "1 forward, 1 backward, of 3 views (1 without jsd)"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"severity": 1.0} for name in ("cub", "cars", "aircraft", "imagenet")
    }
    # what the authors' augmentations.py leaves out of the operations, as it overlaps with the test
    relatives: ClassVar[dict[str, tuple[str, ...]]] = {
        "all_ops": ("brightness", "contrast", "saturate", "gaussian_blur", "defocus_blur")
    }

    severity: Annotated[float, Ge(0.1), Lt(10)] = 3.0
    jsd: bool = True
    weight: Annotated[float, Ge(0)] = 12.0
    all_ops: bool = False

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target, kinds = one_hot(y, net.num_classes), THIRTEEN if self.all_ops else NINE
        if not self.jsd:
            return soft_loss(net(views(x, 1, kinds, self.severity, gen)[0]), target, self.criterion)
        logits = net(torch.cat((x, *views(x, 2, kinds, self.severity, gen)))).chunk(3)
        return soft_loss(logits[0], target, self.criterion) + self.weight * consistency(logits)
