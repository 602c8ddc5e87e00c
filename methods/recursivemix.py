"""RecursiveMix: Yang, Li, Zhao, Song and Yang, RecursiveMix: Mixed Learning with History, NeurIPS 2022,
arXiv 2203.06844."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench.method import Ge, Le, Method, Network, one_hot, soft_loss

from ._head import classifier, classify, pooled_map
from ._regions import Box, cover, draw_box, shrink_into


class History(nn.Module):
    """The second head, and what the previous step left: mixed images, their targets and logits, row by row.

    ``valid`` says which rows hold something. None of it is saved: an epoch begins without history.
    """

    images: Tensor
    targets: Tensor
    logits: Tensor
    valid: Tensor

    def __init__(self, features: int, num_classes: int, own_head: bool) -> None:
        super().__init__()
        self.head = nn.Linear(features, num_classes) if own_head else None
        for name in ("images", "targets", "logits", "valid"):
            self.register_buffer(name, torch.empty(0), persistent=False)

    def forget(self) -> None:
        self.valid.zero_()

    def fit(self, x: Tensor, num_classes: int) -> None:
        """Room for a batch like ``x``; what there was is lost if there is not enough."""
        if len(self.images) >= len(x) and self.images.shape[1:] == x.shape[1:] and self.images.device == x.device:
            return
        self.images = torch.zeros_like(x)
        self.targets = x.new_zeros(len(x), num_classes, dtype=torch.float32)
        self.logits = torch.zeros_like(self.targets)
        self.valid = x.new_zeros(len(x), dtype=torch.bool)

    @torch.no_grad()
    def keep(self, images: Tensor, targets: Tensor, logits: Tensor) -> None:
        n = len(images)
        self.images[:n].copy_(images)
        self.targets[:n].copy_(targets)
        self.logits[:n].copy_(logits)
        self.valid.zero_()
        self.valid[:n].fill_(True)


def region_features(h: Tensor, box: Box) -> Tensor:
    """RoI-align of the box (given in image pixels) on the map ``h`` to one cell: B×C in fp32; 0 for an empty box."""
    from torchvision.ops import roi_align

    size = len(box.cols.mask)
    edges = torch.stack((box.cols.start, box.rows.start, box.cols.stop, box.rows.stop)).float()
    index = torch.arange(len(h), device=h.device, dtype=torch.float32)[:, None]
    boxes = torch.cat((index, edges.expand(len(h), 4)), dim=1)
    with torch.autocast(h.device.type, enabled=False):
        cells: Tensor = roi_align(h.float(), boxes, 1, h.shape[-1] / size, -1, aligned=True)
        return cells.flatten(1)


@dataclass(frozen=True, kw_only=True)
class RecursiveMix(Method):
    """Paste the previous step's mixed images, shrunk into a box, over the current ones (image i over image i), with
    their mixed targets; a second head has to say of that box what the network said of it one step ago.

    The box's share is uniform in (0, ``alpha``), λ is what it leaves of the image, and the consistency term weighs
    ``omega``·(1 - λ). The first batch of an epoch is plain. ``share_head`` reads the box with the network's own
    classifier.

    Defaults: α = 0.5, ω = 0.1 on CIFAR and 0.5 on ImageNet are the released settings; Tiny-ImageNet as CIFAR and the
      fine-grained sets as ImageNet are a proposal.
    Deviations: the precision is the recipe's, where the released code always runs under autocast.
    Pitfalls: a network must end in global average pooling and one linear layer; the second head is trained and not used
      in evaluation. A batch depends on the one before it, so the memory of one more batch is needed.
    """

    title = "RecursiveMix"
    paper = "arXiv 2203.06844"
    year = 2022
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"omega": 0.5} for name in ("cub", "cars", "aircraft", "imagenet")
    }

    alpha: Annotated[float, Ge(0), Le(1)] = 0.5
    omega: Annotated[float, Ge(0)] = 0.1
    share_head: bool = False

    def bind(self, net: Network) -> Self:
        net.extra = History(classifier(net).in_features, net.num_classes, not self.share_head)
        return self

    def start_epoch(self, net: Network) -> None:
        history(net).forget()

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        past, n = history(net), len(x)
        past.fit(x, net.num_classes)
        share = self.alpha * torch.rand((), generator=gen, device=gen.device, dtype=torch.float64)
        box = draw_box(share, x.shape[2], x.shape[3], gen)
        valid = past.valid[:n, None]
        mixed = cover(x, shrink_into(past.images[:n], box), valid[..., None, None] & box.mask)
        part = box.share.float() * valid
        target = (1 - part) * one_hot(y, net.num_classes) + part * past.targets[:n]
        h = pooled_map(net, mixed)
        logits = classify(net, h)
        again = (past.head or classifier(net))(region_features(h, box))
        distance = F.cross_entropy(again.float(), past.logits[:n].softmax(1), reduction="none")
        consistency = (part[:, 0] * distance).mean()
        past.keep(mixed, target, logits)
        return soft_loss(logits, target, self.criterion) + self.omega * consistency


def history(net: Network) -> History:
    """The state that ``bind`` attached."""
    assert isinstance(net.extra, History), "bind the method to the network first"
    return net.extra
