"""SUMix: Qin, Jin, Zhu, Liao, El-Yacoubi and Gao, SUMix: Mixup with Semantic and Uncertain Information, ECCV 2024,
arXiv 2407.07805."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench.method import Ge, Method, Network, mix_targets, one_hot, partners, permutation, soft_loss

from ._bases import AT_INPUT, make_base
from ._head import classifier, classify, pooled_map


def unit(p: Tensor) -> Tensor:
    """Rows (B×K) divided by their Euclidean norm."""
    return p / p.square().sum(1, keepdim=True).sqrt()


def differences(own: Tensor, mixed: Tensor, other: Tensor) -> Tensor:
    """How far the prediction for each mixed image is from that for one of its two (both B×K), class by class: a unit
    vector times the batch's size. The class of the ``other`` image (length B) is left out of the prediction."""
    left = own * (torch.arange(own.shape[1], device=own.device) != other[:, None])
    return len(own) * unit((mixed - left).softmax(1))


def share(own: Tensor, other: Tensor, y: Tensor, partner: Tensor, lam: Tensor) -> Tensor:
    """Weights of the images' own labels (B): ``lam`` adjusted by how near the mixed image comes to either of the two,
    of which these are the :func:`differences`."""
    a, b = ((-d.gather(1, label[:, None])[:, 0]).exp() for d, label in ((own, y), (other, partner)))
    return lam * a / (lam * a + (1 - lam) * b)


@dataclass(frozen=True, kw_only=True)
class SUMix(Method):
    """Another mixup of images (``base``, with its ``alpha``) whose label weights come from the network: λ of each image
    depends on how far the prediction for the mixed image is from those for its two parts, which takes a second pass.

    A second linear head adds a term with weight ``gamma``. ``official`` gives all images of a batch the mean of their
    weights, as the released code does. γ = 0.5 and α = 0.2 (1 for ResizeMix) are the released settings.
    """

    title = "SUMix"
    paper = "arXiv 2407.07805"
    year = 2024
    level = "input"
    passes = "2 forward, 2 backward, and a second head"

    base: str = "cutmix"
    alpha: float = 0.2
    gamma: Annotated[float, Ge(0)] = 0.5
    official: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        make_base(self.base, self.alpha, self.criterion, AT_INPUT)

    def bind(self, net: Network) -> Self:
        net.extra = nn.Linear(classifier(net).in_features, net.num_classes)
        return self

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        perm = permutation(len(x), gen)
        mixed, lam = make_base(self.base, self.alpha, self.criterion, AT_INPUT).mix_images(x, perm, gen)
        (clean, doubt), (logits, mixed_doubt) = predictions(net, x), predictions(net, mixed)
        partner, lam = y[perm], lam.float()
        with torch.no_grad():
            p, q = clean.softmax(1), logits.softmax(1)
            own, other = differences(p, q, partner), differences(p[perm], q, y)
            weight = share(own, other, y, partner, lam)
            if self.official:
                weight = weight.mean()
        target = mix_targets(one_hot(y, net.num_classes), perm, weight)
        terms = [
            F.cross_entropy((-(u + mixed_doubt + d)).exp(), label, reduction="none")
            for u, d, label in ((doubt, own, y), (partners(doubt, perm), other, partner))
        ]
        uncertain = (lam * terms[0] + (1 - lam) * terms[1]).mean()
        return soft_loss(logits, target, self.criterion) + self.gamma * uncertain


def predictions(net: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and unit vectors of the second head's softmax, both B×K in fp32."""
    assert isinstance(net.extra, nn.Linear), "bind the method to the network first"
    h = pooled_map(net, x)
    with torch.autocast(x.device.type, enabled=False):
        doubt = unit(net.extra(h.float().mean((2, 3))).softmax(1))
    return classify(net, h).float(), doubt
