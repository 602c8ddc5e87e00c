"""PRIME: Modas, Rade, Ortiz-Jiménez, Moosavi-Dezfooli and Frossard, PRIME: A Few Primitives Can Boost Robustness to
Common Corruptions, ECCV 2022, arXiv 2112.13547."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from catchup_bench.method import Ge, Method, Network, one_hot, soft_loss

from ._chains import DEPTH, WIDTH, consistency, dirichlet, mixture, uniform, whole

FREQUENCIES = 100


def draw_whole(low: int, high: int, gen: torch.Generator, calls: int) -> Tensor:
    """Uniform whole numbers from ``low`` to ``high``, float64, one per call."""
    return (low + whole(gen, high - low + 1, calls)).double()


def draw_arcsine(gen: torch.Generator, calls: int) -> Tensor:
    """Draws from Beta(½, ½), float64, one per call."""
    return (math.pi / 2 * uniform(gen, calls)).sin() ** 2


def recolour(x: Tensor, gen: torch.Generator) -> Tensor:
    """Each channel of images (calls×B×3×H×W in [0,1]) through a curve of its own: c + √T Σ_k g_k sin(πkc), clipped; the
    number of terms and T are one draw per call."""
    calls = len(x)
    terms, strength = draw_whole(1, FREQUENCIES, gen, calls), 0.01 * uniform(gen, calls)
    g = torch.randn(FREQUENCIES, *x.shape[:3], generator=gen, device=gen.device)
    k = torch.arange(1, FREQUENCIES + 1, device=x.device)
    g = g * (k[:, None] <= terms)[:, :, None, None] * strength.sqrt().float()[:, None, None]
    return (x + sine_series(g[..., None, None], math.pi * x)).clamp(0, 1)


def sine_series(g: Tensor, theta: Tensor) -> Tensor:
    """Σ_k g_k sin(kθ) for coefficients g (k from 1 along the first axis), by Clenshaw's recurrence."""
    double, ahead, after = 2 * theta.cos(), torch.zeros_like(theta), torch.zeros_like(theta)
    for coefficient in g.flip(0):
        ahead, after = torch.addcmul(coefficient - after, double, ahead), ahead
    return ahead * theta.sin()


def refilter(x: Tensor, gen: torch.Generator, official: bool) -> Tensor:
    """Each image (calls×B×3×H×W) convolved with a random 3×3 kernel about its pixel, black outside, clipped; the size
    of the random part is one draw per call. ``official``: about the pixel below to the right."""
    calls, n, _, height, width = x.shape
    size = 4 * uniform(gen, calls).float()[:, None, None]
    kernel = size * torch.randn(calls, n, 9, generator=gen, device=gen.device)
    at = 8 if official else 4
    kernel = kernel + (torch.arange(9, device=x.device) == at)
    padded, out = F.pad(x, (1, 1, 1, 1)), torch.zeros_like(x)
    for i in range(9):
        row, col = divmod(i, 3)
        part = padded[..., row : row + height, col : col + width]
        out = torch.addcmul(out, kernel[..., i, None, None, None], part)
    return out.clamp(0, 1)


def displacement(side: int, size: int, calls: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sine coefficients of a smooth random field (calls×size×size) and how far it moves pixels of an image of ``side``:
    the root of PRIME's temperature times the side, one per call, float64."""
    cut = (draw_arcsine(gen, calls) * (draw_whole(3, size, gen, calls) - 1) + 2).floor()
    low = 1 / (math.pi * side**2 * cut.log())
    high = torch.maximum(low, 4 / (math.pi**3 * cut**2 * cut.log()))
    strength = low + draw_arcsine(gen, calls) * (high - low)
    i = torch.arange(1, size + 1, device=gen.device, dtype=torch.float64)
    square = i[:, None] ** 2 + i**2
    return (square < (cut[:, None, None] + 0.5) ** 2) / square.sqrt(), strength.sqrt()


def reshape(x: Tensor, gen: torch.Generator) -> Tensor:
    """Images (calls×B×3×H×W) bent by a smooth random field, one per call, that keeps their border in place."""
    calls, n, channels, height, width = x.shape
    shape, strength = displacement(max(height, width), FREQUENCIES, calls, gen)
    fields = torch.randn(2, calls, FREQUENCIES, FREQUENCIES, generator=gen, device=gen.device).double() * shape
    down, along = (sines(size, gen.device) for size in (height, width))
    fields = strength[:, None, None] * (down.T @ fields @ along)
    rows, cols = (torch.arange(size, device=x.device, dtype=torch.float64) for size in (height, width))
    y = (rows[:, None] - height * fields[0]).clamp(0, height - 1)
    z = (cols - width * fields[1]).clamp(0, width - 1)
    top, left = y.floor(), z.floor()
    flat = x.reshape(calls, n * channels, height * width)

    def at(row: Tensor, col: Tensor) -> Tensor:
        where = (row.clamp(max=height - 1) * width + col.clamp(max=width - 1)).long().view(calls, 1, -1)
        return flat.gather(2, where.expand(-1, n * channels, -1))

    right, below = (v.float().view(calls, 1, -1) for v in (z - left, y - top))
    upper = torch.lerp(at(top, left), at(top, left + 1), right)
    lower = torch.lerp(at(top + 1, left), at(top + 1, left + 1), right)
    return torch.lerp(upper, lower, below).view(x.shape)


def sines(size: int, device: torch.device) -> Tensor:
    """sin(πkx) for k from 1 and ``size`` points x from 0 to 1, float64."""
    x = torch.linspace(0, 1, size, dtype=torch.float64, device=device)
    k = torch.arange(1, FREQUENCIES + 1, dtype=torch.float64, device=device)
    return (math.pi * k[:, None] * x).sin()


@dataclass(frozen=True, kw_only=True)
class Prime(Method):
    """AugMix's mixture of three chains, whose operations are random smooth curves of colour, random 3×3 filters and
    random smooth deformations; with ``jsd`` AugMix's loss, on the image and two views, without it the CE on one.

    How strong an operation is is one draw for all images and chains of a view's step. ``official`` builds the filters
    about a pixel off their centre, as the released code does, with which published results were made. No consistency
    on ImageNet and ``weight`` 12 elsewhere are the released settings.
    """

    title = "PRIME (no mixup)"
    paper = "arXiv 2112.13547"
    year = 2022
    level = "input"
    passes = "1 forward, 1 backward, of 3 views (1 without jsd)"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"imagenet": {"jsd": False}}
    relatives: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("brightness", "contrast", "saturate", "gaussian_blur", "defocus_blur", "elastic_transform")
    }

    jsd: bool = True
    weight: Annotated[float, Ge(0)] = 12.0
    official: bool = False

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            views = self.views(x, 2 if self.jsd else 1, gen)
        if not self.jsd:
            return soft_loss(net(views[0]), target, self.criterion)
        logits = net(torch.cat((x, *views))).chunk(3)
        return soft_loss(logits[0], target, self.criterion) + self.weight * consistency(logits)

    def views(self, x: Tensor, count: int, gen: torch.Generator) -> list[Tensor]:
        """``count`` views of the images, in the memory format of ``x``."""
        n = WIDTH * len(x)
        out, depth = x.float().repeat(WIDTH, 1, 1, 1).expand(count, -1, -1, -1, -1), 1 + whole(gen, DEPTH, count, n)
        for step in range(DEPTH):
            which = torch.where(step < depth, whole(gen, 3, count, n), -1)[..., None, None, None]
            changed = (recolour(out, gen), refilter(out, gen, self.official), reshape(out, gen))
            for primitive, other in enumerate(changed):
                out = torch.where(which == primitive, other, out)
        weights, share = dirichlet(gen, WIDTH, count, len(x)), uniform(gen, count, len(x))
        parts = out.view(count, WIDTH, *x.shape)
        return [mixture(x, parts[i], weights[:, i], share[i], top=1) for i in range(count)]
