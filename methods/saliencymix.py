"""SaliencyMix: Uddin, Monira, Shin, Chung and Bae, SaliencyMix: A Saliency Guided Data Augmentation Strategy for Better
Regularization, ICLR 2021, arXiv 2006.01791."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from catchup_bench.method import Gt, Mixup, beta, inside

from .cutmix import paste

SCALES = (12, 24, 28, 48, 56, 112)
"""Reach in pixels of the surrounds: Montabone and Soto, Image and Vision Computing 2010, as in OpenCV."""


def fine_grained(x: Tensor) -> Tensor:
    """Fine-grained static saliency of images in [0,1], B×H×W in 0 to 1: by how much the smoothed grey value is above
    or below its surround's, summed over the scales, each of the two relative to its maximum in the image."""
    with torch.autocast(x.device.type, enabled=False):
        red, green, blue = x.float().unbind(1)
        grey = smooth(smooth(0.299 * red + 0.587 * green + 0.114 * blue))
        sums = F.pad(grey, (1, 0, 1, 0)).cumsum(1).cumsum(2)
        contrast = [grey - surround(grey, sums, reach) for reach in SCALES]
        above, below = (sum(((sign * c).clamp_min(0) for c in contrast), torch.zeros_like(grey)) for sign in (1, -1))
        return (relative(above) + relative(below)) / 2


def smooth(grey: Tensor) -> Tensor:
    """Binomial 3×3 smoothing of B×H×W, borders mirrored."""
    padded = F.pad(grey[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4


def surround(grey: Tensor, sums: Tensor, reach: int) -> Tensor:
    """Mean of the pixels within ``reach`` (window of 2·reach, cut off at the border), without the pixel itself, from
    the integral image ``sums`` B×(H+1)×(W+1)."""
    _, height, width = grey.shape
    rows, columns = (torch.arange(size, device=grey.device) for size in (height, width))
    top, left = ((t - reach + 1).clamp_min(0) for t in (rows, columns))
    bottom, right = (rows + reach + 1).clamp_max(height), (columns + reach + 1).clamp_max(width)
    low, high = sums.index_select(1, top), sums.index_select(1, bottom)
    total = (high - low).index_select(2, right) - (high - low).index_select(2, left)
    area = (bottom - top)[:, None] * (right - left)
    return (total - grey) / (area - 1).clamp_min(1)


def relative(t: Tensor) -> Tensor:
    """Each image of B×H×W divided by its maximum."""
    return t / t.amax((1, 2), keepdim=True).clamp_min(1e-12)


def boxes_around_peaks(saliency: Tensor, lam: Tensor) -> Tensor:
    """B×H×W masks, true in a box around the most salient pixel, with sides √(1-λ) of the image's, cut off at the
    border."""
    height, width = saliency.shape[1:]
    peak = saliency.flatten(1).argmax(1)[:, None]
    side = (1 - lam.double()).clamp_min(0).sqrt()
    rows = inside((peak // width + 0.5) / height, side, height)
    return rows[:, :, None] & inside((peak % width + 0.5) / width, side, width)[:, None]


@dataclass(frozen=True, kw_only=True)
class SaliencyMix(Mixup):
    """Mix as CutMix, with each box around the most salient pixel of the partner: λ ~ Beta(α, α) per batch, corrected
    per image to the share of pixels kept.

    Defaults: α = 1 and ``prob`` 0.5 on CIFAR, 1 elsewhere: the README of the released code.
    Deviations: this is the method as the paper describes it. The released code computes one map per batch, and reads
      float32 images as bytes, which leaves little of their content in the map; ``official`` stands for it with one box
      per batch around a uniform centre, that is, CutMix.
    Pitfalls: published numbers, also those of other papers and of OpenMixup, are of the released code: compare them
      with ``official``.
    """

    title = "SaliencyMix"
    paper = "arXiv 2006.01791"
    year = 2021
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"cifar10": {"prob": 0.5}, "cifar100": {"prob": 0.5}}

    layers: tuple[Literal[0]] = (0,)
    alpha: Annotated[float, Gt(0)] = 1.0
    official: bool = False

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, gen)
        return paste(x, perm, lam, gen) if self.official else paste_salient(x, perm, fine_grained(x), lam)


def paste_salient(x: Tensor, perm: Tensor, saliency: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    """The partner's box around its own peak of ``saliency`` (B×H×W, of ``x``) on each image; λ of each image (B)."""
    mask = boxes_around_peaks(saliency[perm], lam)
    return torch.where(mask[:, None], x[perm], x), 1 - mask.double().mean((1, 2))
