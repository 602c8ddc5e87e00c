"""SnapMix: Huang, Wang and Tao, SnapMix: Semantically Proportional Mixing for Augmenting Fine-grained Data,
AAAI 2021, arXiv 2012.04846."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench.method import Gt, Mixup, Network, beta, one_hot, permutation, soft_loss, without_gradients

from ._head import classifier, pooled_map
from ._regions import Box, cover, draw_box, move_into


class Weights(NamedTuple):
    """Weights (length B, fp32) of a mixed image's own label and of its partner's; they need not sum to 1."""

    own: Tensor
    partner: Tensor


def semantic_percent_map(h: Tensor, linear: nn.Linear, y: Tensor, size: tuple[int, int]) -> Tensor:
    """Class activation map of the label, up-sampled to ``size``, shifted to a minimum of 0 and scaled to a sum of 1
    (Eq. 1 and 2): B×H×W fp32, NaN where the map is flat. The bias would go out again with the minimum."""
    with torch.autocast(h.device.type, enabled=False):
        cam = torch.einsum("bchw,bc->bhw", h.float().relu(), linear.weight[y].float())
        cam = F.interpolate(cam[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        cam = cam - cam.amin((1, 2), keepdim=True)
        return cam / cam.sum((1, 2), keepdim=True)


def inner_share(spm: Tensor, box: Box) -> Tensor:
    """The part of each map's sum that lies in ``box``, length B."""
    return torch.where(box.mask, spm, 0).sum((1, 2)) / (spm.sum((1, 2)) + 1e-8)


def label_weights(spm: Tensor, y: Tensor, perm: Tensor, box: Box, donor: Box) -> Weights:
    """What is left of the image's own semantics, and what came from the partner's (Eq. 4).

    A pair of one class puts the sum of both on either label; a flat map counts by area; nothing pasted is (1, 0).
    """
    own, partner = 1 - inner_share(spm, box), inner_share(spm[perm], donor)
    both, same = own + partner, y == y[perm]
    own, partner = torch.where(same, both, own), torch.where(same, both, partner)
    area = box.share.float()
    own, partner = torch.where(own.isnan(), 1 - area, own), torch.where(partner.isnan(), area, partner)
    pasted = (area > 0) & (donor.share > 0)
    return Weights(torch.where(pasted, own, 1), torch.where(pasted, partner, 0))


def paste_region(x: Tensor, perm: Tensor, box: Box, donor: Box) -> Tensor:
    """The partner's region ``donor``, resized to ``box``, over the image; unchanged if either is empty."""
    return cover(x, move_into(x[perm], donor, box), box.mask & (donor.share > 0))


@contextmanager
def batch_statistics(net: Network) -> Iterator[None]:
    """BatchNorm layers normalise by the batch, as in training, and leave their running statistics alone."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for m in norms:
        m.track_running_stats = False
    try:
        yield
    finally:
        for m in norms:
            m.track_running_stats = True


@dataclass(frozen=True, kw_only=True)
class SnapMix(Mixup):
    """Resize a box of the partner, at a place and of a size of its own, into a box of the image; weigh either label by
    what its class activation map says the region meant.

    λ, λ' ~ Beta(α, α) give the two boxes, one pair per batch. The maps come from a forward pass of the clean batch
    without gradients.

    Defaults: α = 5 on the fine-grained sets with ``prob`` 1 is the released fine-tuning setting, and what the Catch-up
      Mix group's fine-grained code names; training from scratch in the released README takes 1 with 0.5.
    Deviations: none; as in the released code the pass is in training mode and counts for BatchNorm's running
      statistics, unless ``bn_once``.
    Pitfalls: a network must end in global average pooling and one linear layer. The weights of an image's two labels
      need not sum to 1, so losses cannot be compared with other methods'.
    """

    title = "SnapMix"
    paper = "arXiv 2012.04846"
    year = 2021
    level = "input"
    passes = "2 forward, 1 backward"
    weights_sum_to_one = False
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"alpha": 5.0} for name in ("cub", "cars", "aircraft", "imagenet")
    }

    layers: tuple[Literal[0]] = (0,)
    criterion: Annotated[Literal["ce"], "the weights of a row need not sum to 1"] = "ce"
    alpha: Annotated[float, Gt(0)] = 1.0
    bn_once: bool = False

    def bind(self, net: Network) -> Self:
        classifier(net)
        return super().bind(net)

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: int | None, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        if plan is None:
            return soft_loss(net(x), target, self.criterion)
        perm = permutation(len(x), gen)
        box, donor = (draw_box(1 - beta(self.alpha, gen), x.shape[2], x.shape[3], gen) for _ in range(2))
        weights = label_weights(self.activation(net, x, y), y, perm, box, donor)
        target = weights.own[:, None] * target + weights.partner[:, None] * target[perm]
        return soft_loss(net(paste_region(x, perm, box, donor)), target, self.criterion)

    def activation(self, net: Network, x: Tensor, y: Tensor) -> Tensor:
        """Semantic percent maps (B×H×W) of the clean batch."""
        with without_gradients(), batch_statistics(net) if self.bn_once else nullcontext():
            h = pooled_map(net, x)
            return semantic_percent_map(h, classifier(net), y, (x.shape[2], x.shape[3]))
