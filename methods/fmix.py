"""FMix: Harris, Marcu, Painter, Niranjan, Prügel-Bennett and Hare, FMix: Enhancing Mixed Sample Data Augmentation,
arXiv 2002.12047."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from catchup_bench.method import Ge, Gt, Mixup, beta


def released_spectrum(height: int, width: int, decay: float, gen: torch.Generator) -> Tensor:
    """The amplitudes of the released code: an index on the wrong axis leaves horizontal frequencies 0 and 1 only, and
    vertical ones without a sign."""
    k = torch.arange(width // 2 + 1, device=gen.device, dtype=torch.float64) / width
    normal = torch.randn(len(k), 2, 2, generator=gen, device=gen.device, dtype=torch.float64)
    lowest = 1 / max(height, width)
    real = normal[..., 0] / k.clamp(min=lowest)[:, None] ** decay
    imaginary = normal[..., 1] / (k**2 + 1 / height**2).sqrt().clamp(min=lowest)[:, None] ** decay
    return F.pad(torch.complex(real, imaginary), (0, width // 2 - 1, 0, height - len(k)))


def full_spectrum(height: int, width: int, decay: float, gen: torch.Generator) -> Tensor:
    """The amplitudes of the paper: complex normal numbers over the frequency, in cycles per pixel, to the power
    ``decay``."""
    x = torch.arange(width // 2 + 1, device=gen.device, dtype=torch.float64) / width
    y = torch.arange(height, device=gen.device, dtype=torch.float64)
    y = torch.where(2 * y >= height, y - height, y)[:, None] / height
    normal = torch.randn(height, len(x), 2, generator=gen, device=gen.device, dtype=torch.float64)
    frequency = (x**2 + y**2).sqrt().clamp(min=1 / max(height, width))
    return torch.complex(normal[..., 0], normal[..., 1]) / frequency**decay


def largest(grey: Tensor, lam: Tensor, up: Tensor) -> Tensor:
    """Mask of the share ``lam`` of largest values, of a whole number of pixels, rounded up where ``up`` is true."""
    rank = grey.flatten().argsort(descending=True, stable=True).argsort().view(grey.shape)
    count = lam * grey.numel()
    return rank < torch.where(up, count.ceil(), count.floor())


@dataclass(frozen=True, kw_only=True)
class FMix(Mixup):
    """The partner shows through a mask: the places where a random grey picture of low frequencies is darkest, as many
    as leave the share λ ~ Beta(α, α) of the pixels, one mask per batch.

    The released code draws other pictures than the paper describes: ``spectrum`` "released" is the code's, with which
    published results were made, "full" the paper's. α = 1 and ``decay`` 3 are the released settings (OpenMixup has
    α = 0.2 on CIFAR).
    """

    title = "FMix"
    paper = "arXiv 2002.12047"
    year = 2020
    level = "input"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {}

    layers: tuple[Literal[0]] = (0,)
    alpha: Annotated[float, Gt(0)] = 1.0
    decay: Annotated[float, Ge(0)] = 3.0
    spectrum: Literal["released", "full"] = "released"

    def mix_images(self, x: Tensor, perm: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        lam, size = beta(self.alpha, gen), x.shape[2:]
        draw = released_spectrum if self.spectrum == "released" else full_spectrum
        grey = torch.fft.irfft2(draw(size[0], size[1], self.decay, gen), s=size)
        mask = largest(grey, lam, torch.rand((), generator=gen, device=gen.device) < 0.5)
        return torch.where(mask, x, x[perm]), lam
