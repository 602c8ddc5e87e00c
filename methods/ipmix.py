"""IPMix: Huang, Bao, Zhang, Zhang, Tu, Wu and Yang, IPMix: Label-Preserving Data Augmentation Method for Training
Robust Classifiers, NeurIPS 2023, arXiv 2310.04780."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from catchup_bench.method import Ge, Gt, Lt, Method, Network, one_hot, soft_loss

from . import _imageops as image
from ._chains import WIDTH, Kinds, consistency, dirichlet, mixture, one_operation, uniform, whole
from ._pictures import MixingSet, add, draw_coefficients, mixing_set, multiply

TEN = Kinds(image.EQUALIZE, 10)
ADD, MULTIPLY, PIXELS, ELEMENTS = range(4)


class Patch(NamedTuple):
    """Where and how a picture comes into each of N images: a mask N×1×H×W, which of four ways (N), coefficients of
    sums and products (N), and which pixels (N×1×H×W) or values (N×3×H×W) stay when some are exchanged."""

    mask: Tensor
    way: Tensor
    a: Tensor
    b: Tensor
    pixels: Tensor
    elements: Tensor


def draw_patch(u: Tensor, beta: float, gen: torch.Generator) -> Patch:
    """A patch for each of the uint8 images: a square of an eighth, a quarter, a half or all of the side, or a rectangle
    within, at a uniform place."""
    (n, _, height, width), side = u.shape, min(u.shape[2:])
    full = side * (1 << whole(gen, 4, n)) // 8
    left, top = (draw_up_to(size - full, gen) for size in (width, height))
    square = uniform(gen, n) < 0.5
    wide, tall = (torch.where(square, full, 2 + draw_up_to(full - 2, gen)) for _ in range(2))
    rows, cols = inside(top, tall, height), inside(left, wide, width)
    way, (a, b) = whole(gen, 4, n), draw_coefficients(beta, gen, n)
    share = uniform(gen, n)[:, None, None, None]
    v = uniform(gen, *u.shape)
    return Patch((rows[:, :, None] & cols[:, None, :])[:, None], way, a, b, v[:, :1] < share, v < share)


def draw_up_to(most: Tensor, gen: torch.Generator) -> Tensor:
    """A uniform whole number from 0 to each of ``most`` (N)."""
    return (uniform(gen, len(most)) * (most.clamp(min=0) + 1)).long()


def inside(start: Tensor, length: Tensor, size: int) -> Tensor:
    """N×``size``: which pixels of an axis lie in each span."""
    pixels = torch.arange(size, device=start.device)
    return (pixels >= start[:, None]) & (pixels < (start + length)[:, None])


def put(u: Tensor, picture: Tensor, patch: Patch, wrap: bool) -> Tensor:
    """uint8 images with the picture (uint8, same shape) mixed into the patch. Sums and products are cut off to bytes,
    after clipping or, with ``wrap``, modulo 256."""
    m, s = u.float() / 255, picture.float() / 255
    way, a, b = (value[:, None, None, None] for value in (patch.way, patch.a, patch.b))
    value = torch.where(way == ADD, add(m, s, a, b), multiply(m, s, a, b))
    if wrap:
        value = (value * 255).trunc().clamp(-(2**62), 2**62).double().remainder(256)  # products may be infinite
    else:
        value = (value.clamp(0, 1) * 255).floor()
    own = torch.where(way == PIXELS, patch.pixels, patch.elements)
    mixed = torch.where(way >= PIXELS, torch.where(own, u, picture), value.to(torch.uint8))
    return torch.where(patch.mask, mixed, u)


@dataclass(frozen=True, kw_only=True)
class IPMix(Method):
    """AugMix with two kinds of chains, a coin each: up to ``depth`` operations on the image, or up to ``depth`` patches
    into which a picture of a mixing set is mixed by sums, products or exchange of pixels or values.

    With ``jsd`` the loss is AugMix's, on the image and two views, without it the CE on one view. The published mixing
    set is replaced by Julia sets made on the spot, ``pictures`` of them. ``depth`` (the authors' t) 3, ``beta`` 3,
    severity 3 and weight 12 are the released settings; patch sizes go by the image's side. ``official`` lets bytes
    wrap around where sums and products leave the range, as the released code does.
    """

    title = "IPMix (procedural pictures)"
    paper = "arXiv 2310.04780"
    year = 2023
    level = "input"
    passes = "1 forward, 1 backward, of 3 views (1 without jsd)"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"pictures": 128} for name in ("cub", "cars", "aircraft", "imagenet")
    }

    depth: Annotated[int, Ge(0)] = 3
    beta: Annotated[float, Gt(0)] = 3.0
    severity: Annotated[float, Ge(0.1), Lt(10)] = 3.0
    jsd: bool = True
    weight: Annotated[float, Ge(0)] = 12.0
    official: bool = False
    pictures: Annotated[int, Ge(1)] = 1024

    def bind(self, net: Network) -> Self:
        net.extra = MixingSet(self.pictures)
        return self

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            views = self.views(x, mixing_set(net).crops(x, gen), 2 if self.jsd else 1, gen)
        if not self.jsd:
            return soft_loss(net(views[0]), target, self.criterion)
        logits = net(torch.cat((x, *views))).chunk(3)
        return soft_loss(logits[0], target, self.criterion) + self.weight * consistency(logits)

    def views(self, x: Tensor, picture: Tensor, count: int, gen: torch.Generator) -> list[Tensor]:
        """``count`` views of the images, all with the same pictures (uint8, in the shape of ``x``)."""
        parts = self.chains(image.to_bytes(x), picture, count * WIDTH, gen).chunk(count)
        weights, share = dirichlet(gen, WIDTH, count, len(x)), uniform(gen, count, len(x))
        return [mixture(x, parts[i], weights[:, i], share[i]) for i in range(count)]

    def chains(self, u: Tensor, picture: Tensor, count: int, gen: torch.Generator) -> Tensor:
        """``count`` copies of uint8 images, each after a chain of its own: count×B×3×H×W."""
        n = count * len(u)
        out, pictures = u.repeat(count, 1, 1, 1), picture.repeat(count, 1, 1, 1)
        depth, operates = whole(gen, self.depth + 1, n), (uniform(gen, n) < 0.5)[:, None, None, None]
        for step in range(self.depth):
            operated = one_operation(out, TEN, self.severity, gen)
            pasted = put(out, pictures, draw_patch(out, self.beta, gen), self.official)
            out = torch.where((step < depth)[:, None, None, None], torch.where(operates, operated, pasted), out)
        return out.view(count, *u.shape)
