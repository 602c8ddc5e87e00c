"""GuidedMixup: Kang and Kim, GuidedMixup: An Efficient Mixup Strategy Guided by Saliency Maps, AAAI 2023,
arXiv 2306.16612."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from catchup_bench.method import Ge, Le, Network, mix_targets, permutation

from ._saliency import Mixed, SaliencyMixup, look

RADIUS, SIGMA = 3, 3.0
"""Of the Gaussian blur of saliency maps, in pixels."""

LARGEST = 128
"""Side to which larger images are shrunk before their spectral residual is taken."""


def blur(t: Tensor) -> Tensor:
    """7×7 Gaussian blur of B×H×W, borders mirrored; as sums of shifted maps, which no device rounds to TF32."""
    weights = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, device=t.device) / SIGMA).square())
    weights = weights / weights.sum()
    padded = F.pad(t[:, None], (RADIUS,) * 4, mode="reflect")[:, 0]
    rows = (padded.unfold(1, len(weights), 1) * weights).sum(3)
    return (rows.unfold(2, len(weights), 1) * weights).sum(3)


def spectral_residual(x: Tensor) -> Tensor:
    """Saliency B×H×W in fp32 of normalised images: what is left of the image when its log-amplitude spectrum loses
    its 3×3 mean (Hou and Zhang, CVPR 2007), blurred."""
    red, green, blue = x.float().split(1, 1)
    grey = 0.2989 * red + 0.587 * green + 0.114 * blue
    if large := x.shape[2] > LARGEST:
        grey = F.interpolate(grey, size=(LARGEST, LARGEST), mode="bilinear", antialias=True)
    spectrum = torch.fft.fft2(grey)
    amplitude = (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()
    residual = amplitude.log() - F.avg_pool2d(F.pad(amplitude.log(), (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    saliency = blur(torch.fft.ifft2(spectrum * (residual.exp() / amplitude)).abs()[:, 0])
    return F.interpolate(saliency[:, None], size=x.shape[2:], mode="bilinear")[:, 0] if large else saliency


def farthest_cycle(maps: Tensor) -> Tensor:
    """Partners (a permutation with one cycle) such that each map's partner is far from it in L2: from the farthest
    pair on, always to the farthest map not yet visited, and back to the first at the end."""
    count = len(maps)
    flat = maps.flatten(1)
    apart = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    apart = apart.masked_fill(torch.eye(count, dtype=torch.bool, device=maps.device), -1)
    place = apart.argmax().view(1) // count
    path, seen = [place], torch.zeros(count, dtype=torch.bool, device=maps.device)
    for _ in range(count - 1):
        seen = seen.scatter(0, place, True)
        place = apart.index_select(0, place)[0].masked_fill(seen, -2).argmax().view(1)
        path.append(place)
    cycle = torch.cat(path)
    return torch.empty_like(cycle).scatter(0, cycle, cycle.roll(-1))


@dataclass(frozen=True, kw_only=True)
class GuidedMixup(SaliencyMixup):
    """Weigh each image and its partner, pixel by pixel, by their saliency: x̃ = Mx + (1-M)x', M = s/(s+s'); the label
    by the mean of M. Partners are images whose salient regions lie apart.

    ``saliency`` is ``sr``, the spectral residual of the image, or ``ap``, the gradient of the loss in training mode.

    Defaults: ``prob`` is 0.5 for ``sr`` and 0.8 for ``ap``, which no ``prob`` means; ``clean_lam``, which concerns
      ``ap`` alone, is 1 on Tiny-ImageNet: the released code.
    Deviations: the released CIFAR code pairs at random, because a wrong name is passed to its pairing function:
      ``official``; the paper, and the authors' fine-grained code, pair as above. Cross-entropy, where it has binary
      cross-entropy on the softmax: ``criterion`` = ``bce``.
    Pitfalls: pairing goes from image to image, so its time grows with the batch. ``ap`` updates BatchNorm's running
      statistics twice a step.
    """

    title = "GuidedMixup"
    paper = "arXiv 2306.16612"
    year = 2023
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {"tinyimagenet": {"clean_lam": 1.0}}

    prob: Annotated[float, Ge(0), Le(1)] | None = None
    saliency: Literal["sr", "ap"] = "sr"
    official: bool = False

    @property
    def chance(self) -> float:
        usual = 0.5 if self.saliency == "sr" else 0.8
        return usual if self.prob is None else self.prob

    def look(self, net: Network, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.saliency == "ap":
            return look(net, x, y, self.clean_weight(net), frozen=False)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return spectral_residual((x.float() - net.mean) / net.std), torch.zeros((), device=x.device)

    def mix(self, x: Tensor, target: Tensor, saliency: Tensor, plan: str, gen: torch.Generator) -> Mixed:
        share = blur(saliency)
        share = share / share.sum((1, 2), keepdim=True).clamp_min(1e-30)
        perm = permutation(len(x), gen) if self.official else farthest_cycle(share)
        mask = proportion(share, share[perm])
        mixed = torch.lerp(x[perm].float(), x.float(), mask[:, None]).to(x.dtype)
        return mixed, mix_targets(target, perm, mask.mean((1, 2)))


def proportion(own: Tensor, other: Tensor) -> Tensor:
    """own/(own + other), ½ where both are 0."""
    total = own + other
    return torch.where(total > 0, own / total, 0.5)
