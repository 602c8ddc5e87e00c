"""The noise of Noisy Feature Mixup."""

import torch
from torch import Tensor


def level(gen: torch.Generator) -> Tensor:
    """One draw from Beta(2, 5) as a 0-d tensor, float32."""
    counts = 2 + 3 * torch.arange(2, device=gen.device, dtype=torch.float64)
    return torch._sample_dirichlet(counts, generator=gen)[0].float()


def add_noise(
    h: Tensor,
    additive: float,
    multiplicative: float,
    gen: torch.Generator,
    centre: Tensor | float = 0.0,
    scale: Tensor | float = 1.0,
    quiet: float = 0.0,
) -> Tensor:
    """ξ_m ⊙ h + ξ_a for features, or for images as (h - centre)/scale, in fp32, in the dtype of ``h``.

    ξ_a is normal and ξ_m uniform about 1, for every element anew; how strong they are is ``additive`` and
    ``multiplicative`` times one draw each from Beta(2, 5). Either is left out of an element with probability ``quiet``.
    """

    def spared(noise: Tensor) -> Tensor:
        if not quiet:
            return noise
        return torch.where(torch.rand(h.shape, generator=gen, device=h.device) < quiet, 0.0, noise)

    added = additive * level(gen) * spared(torch.randn(h.shape, generator=gen, device=h.device))
    factor = multiplicative * level(gen) * spared(2 * torch.rand(h.shape, generator=gen, device=h.device) - 1)
    wide = h.float()
    return (wide + (wide - centre) * factor + added * scale).to(h.dtype)
