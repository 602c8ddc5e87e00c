"""PixMix: Hendrycks, Zou, Mazeika, Tang, Li, Song and Steinhardt, PixMix: Dreamlike Pictures Comprehensively Improve
Safety Measures, CVPR 2022, arXiv 2112.05135."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Lt, Method, Network, one_hot, soft_loss

from . import _imageops as image
from ._chains import NINE, THIRTEEN, one_operation, uniform, whole
from ._pictures import MixingSet, add, draw_coefficients, mixing_set, multiply


@dataclass(frozen=True, kw_only=True)
class PixMix(Method):
    """Each image, or one of AugMix's operations on it, is mixed up to ``rounds`` times with a picture of a mixing set
    or with another operation on itself, by sums or products; the label is its own.

    The published mixing set of fractals and feature visualisations is a download; here it is Julia sets made on the
    spot, ``pictures`` of them. ``rounds`` (the authors' k) 4, ``beta`` 3 and severity 3 are the released settings,
    fewer pictures above 64 px a proposal, as these take longer to make. ``all_ops`` adds colour, contrast, brightness
    and sharpness, as the authors' own command does, although AugMix leaves them out as relatives of the test's
    corruptions.
    """

    title = "PixMix (procedural pictures)"
    paper = "arXiv 2112.05135"
    year = 2022
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"pictures": 128} for name in ("cub", "cars", "aircraft", "imagenet")
    }
    relatives: ClassVar[dict[str, tuple[str, ...]]] = {
        "all_ops": ("brightness", "contrast", "saturate", "gaussian_blur", "defocus_blur")
    }

    rounds: Annotated[int, Ge(0)] = 4
    beta: Annotated[float, Gt(0)] = 3.0
    severity: Annotated[float, Ge(0.1), Lt(10)] = 3.0
    all_ops: bool = False
    pictures: Annotated[int, Ge(1)] = 1024

    def bind(self, net: Network) -> Self:
        net.extra = MixingSet(self.pictures)
        return self

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            mixed = self.mix(x, mixing_set(net).crops(x, gen), gen)
        return soft_loss(net(mixed), one_hot(y, net.num_classes), self.criterion)

    def mix(self, x: Tensor, picture: Tensor, gen: torch.Generator) -> Tensor:
        """Mixed images, in the shape and memory format of ``x``; ``picture`` is uint8 of the same shape."""
        n, k = len(x), self.rounds
        copies = image.to_bytes(x).repeat(k + 1, 1, 1, 1)
        changed = one_operation(copies, THIRTEEN if self.all_ops else NINE, self.severity, gen).view(k + 1, *x.shape)
        changed, other = changed.float() / 255, picture.float() / 255

        def per_image(value: Tensor) -> Tensor:
            return value[..., None, None, None]

        coins = per_image(uniform(gen, k + 1, n) < 0.5)
        sums, count = per_image(uniform(gen, k, n) < 0.5), per_image(whole(gen, k + 1, n))
        a, b = map(per_image, draw_coefficients(self.beta, gen, k, n))
        m = torch.where(coins[k], changed[k], x.float())
        for r in range(k):
            s = torch.where(coins[r], changed[r], other)
            mixed = torch.where(sums[r], add(m, s, a[r], b[r]), multiply(m, s, a[r], b[r])).clamp(0, 1)
            m = torch.where(r < count, mixed, m)
        return torch.empty_like(x).copy_(m)
