"""AdAutoMix: Qin, Jin, Jiang, El-Yacoubi and Gao, Adversarial AutoMixup, ICLR 2024, arXiv 2312.11954."""

import copy
from dataclasses import dataclass
from typing import Annotated, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench.method import Ge, Gt, Le, Method, Network, beta, frozen_statistics, one_hot, permutation, soft_loss

from ._head import classifier

IMAGES = 3
ADVERSARIAL, SIMILARITY = 0.3, 0.7
"""Weights of the generator's two terms in an adversarial step."""
CLEAN = 0.5
"""Weight of the loss on the images as they are, and of the one on their plain mixture."""
MARGIN = 0.03
"""So near to 0 or 1 the first share makes masks constant."""


class Generator(nn.Module):
    """Masks from the feature maps of three images (each B×C×h×w): B×3×h×w, not yet positive."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = max(channels // 2, 1)
        self.query, self.key = (nn.Conv2d(channels, self.width, 1) for _ in range(2))
        self.value = nn.Conv2d(channels, 1, 1)
        for name, p in self.named_parameters():
            nn.init.normal_(p, std=0.01 if name.endswith("weight") else 0.0)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Each position of an image attends to its own values by its likeness to the other images' positions."""
        with torch.autocast(maps[0].device.type, enabled=False):
            wide = [h.float() for h in maps]
            queries = [F.relu(self.query(h)).flatten(2) for h in wide]
            keys = [F.relu(self.key(h)).flatten(2) for h in wide]
            out = []
            for i, h in enumerate(wide):
                others = torch.stack([k for j, k in enumerate(keys) if j != i]).sum(0)
                attention = (queries[i].mT @ others / self.width**0.5).softmax(2)
                out.append(attention @ self.value(h).flatten(2).mT)
            return torch.cat(out, 2).mT.unflatten(2, maps[0].shape[2:])


class Company(nn.Module):
    """What is trained or follows beside the network: a slow copy of it (``teacher``), the second heads of both, and
    the generator of masks; ``steps`` counts them."""

    steps: Tensor

    def __init__(self, net: nn.Module, features: int, num_classes: int, channels: int) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(net).requires_grad_(False)
        self.head = nn.Linear(features, num_classes)
        self.teacher_head = copy.deepcopy(self.head).requires_grad_(False)
        self.generator = Generator(channels)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self, net: Network, momentum: float) -> None:
        """Move the slow parameters towards the network's; not the buffers, which have passes of their own."""
        own = [*(p for n, p in named_parameters(net)), *self.head.parameters()]
        slow = [*self.teacher.parameters(), *self.teacher_head.parameters()]
        for p, q in zip(slow, own, strict=True):
            p.lerp_(q, 1 - momentum)


def named_parameters(net: Network) -> list[tuple[str, nn.Parameter]]:
    """The network's own parameters, without those that a method keeps beside it."""
    assert isinstance(net, nn.Module)
    return [(n, p) for n, p in net.named_parameters() if not n.startswith("extra.")]


def company(net: Network) -> Company:
    """What ``bind`` attached."""
    assert isinstance(net.extra, Company), "bind the method to the network first"
    return net.extra


def draw_shares(alpha: float, gen: torch.Generator) -> Tensor:
    """Three draws from Beta(α, α) divided by their sum."""
    draws = torch.stack([beta(alpha, gen) for _ in range(IMAGES)])
    return (draws / draws.sum()).float()


@dataclass(frozen=True, kw_only=True)
class AdAutoMix(Method):
    """Three images are mixed by masks that a generator makes from the feature maps of a slow copy of the network. The
    network learns from the mixed images, from the images as they are and from their plain mixture; the generator, in
    turn, makes mixtures that the copy finds hard and ones that it finds easy.

    The network is what is evaluated here, and published results are those of the slow copy, which with the authors'
    learning rate is several points better. ``momentum`` of the copy is 0.999 throughout, where the code raises it from
    a tenth of the training on. In an adversarial step the mixture's prediction is moved away from those of its parts,
    as in the released code. A network of its own size is trained beside it: see ``passes``.
    """

    title = "AdAutoMix (the student)"
    paper = "arXiv 2312.11954"
    year = 2024
    level = "input"
    passes = "3 forward, 3 backward, and of a second network 2 forward, 1 backward"

    alpha: Annotated[float, Gt(0)] = 1.0
    momentum: Annotated[float, Ge(0), Le(1)] = 0.999

    def bind(self, net: Network) -> Self:
        head = classifier(net)
        with torch.no_grad(), frozen_statistics(net):
            maps = net(torch.zeros(1, 3, 32, 32, device=net.mean.device), stop=len(net.stages) - 1)
        assert isinstance(net, nn.Module)
        net.extra = Company(net, head.in_features, net.num_classes, maps.shape[1])
        return self

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        beside, target, last = company(net), one_hot(y, net.num_classes), len(net.stages) - 1
        teacher: Any = beside.teacher
        beside.follow(net, self.momentum)
        shares = draw_shares(self.alpha, gen)
        order, other_order = (torch.stack([permutation(len(x), gen) for _ in range(IMAGES)]) for _ in range(2))
        with torch.no_grad():
            maps = teacher(x, stop=last)
            alone = beside.teacher_head(vectors(teacher, maps, last)).float()
            constant = shares[:, None, None, None, None]
            near = (shares[0] <= MARGIN) | (shares[0] >= 1 - MARGIN)
            masks = torch.where(near, constant, make_masks(beside.generator, maps, other_order, x))

        hard = mixed(x, order, make_masks(beside.generator, maps, order, x))
        answer = beside.teacher_head(vectors(teacher, hard)).float()
        hardness = soft_loss(answer, mixed(target, order, shares), self.criterion)
        likeness = torch.stack([F.cosine_similarity(answer, alone[o]) for o in order]).mean(1)
        adversarial = SIMILARITY * (shares * likeness).sum() - ADVERSARIAL * hardness
        generator = torch.where(beside.steps % 2 == 0, adversarial, hardness)
        beside.steps.add_(1)

        label = mixed(target, other_order, shares)
        clean = soft_loss(net(x), target, self.criterion)
        plain, masked = (
            soft_loss(beside.head(vectors(net, mixed(x, other_order, weights))), label, self.criterion)
            for weights in (constant, masks)
        )
        return masked + CLEAN * clean + (1 - CLEAN) * plain + generator


def vectors(net: Network, h: Tensor, start: int = 0) -> Tensor:
    """Pooled features (B×D) of images, or of maps before stage ``start``."""
    h = net(h, start=start, stop=len(net.stages))
    norm = getattr(net.head, "norm", None)
    return (h if norm is None else norm(h)).mean((2, 3))


def make_masks(generator: nn.Module, maps: Tensor, order: Tensor, x: Tensor) -> Tensor:
    """The share of each of the three images maps[order[i]] at every pixel of ``x``: 3×B×1×H×W, sum 1, fp32."""
    out = generator([maps[o] for o in order])
    return F.interpolate(out, size=x.shape[2:], mode="bilinear").softmax(1).transpose(0, 1)[:, :, None]


def mixed(values: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """Σ_i values[order[i]]·weights[i], for images (in their memory format) or labels."""
    first, *others = (values[o] * w for o, w in zip(order, weights, strict=True))
    for other in others:
        first = first + other
    return first
