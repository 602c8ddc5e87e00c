"""The ten corruptions of ImageNet-C-bar (Mintun, Kirillov and Xie, NeurIPS 2021, arXiv 2102.11273), in batches, on a
CPU or a GPU: five of CIFAR-10-C-bar with amounts for 224 px, and five others.

This is a package of its own so that what is stored of CIFAR-10-C-bar stays valid when this changes (see
:func:`catchup_bench.system.cache.code_digest`). Images and random numbers are as in :mod:`catchup_bench.corruptions`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...corruptions.cells import cells
from ...errors import UsageError, pick
from .. import SEVERITIES, Corruption, noise, occlusion
from . import caustic, perlin, waves

PROTOCOL = "corruption-bar-imagenet-v1"

_FUNCTIONS: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "blue_noise_sample": (noise.blue_noise_sample, (0.8, 1.6, 2.4, 4.0, 5.6)),
    "brownish_noise": (noise.brownish_noise, (1.0, 2.0, 3.0, 4.0, 5.0)),
    "caustic_refraction": (caustic.caustic_refraction, (2.35, 3.2, 4.9, 6.6, 9.15)),
    "checkerboard_cutout": (occlusion.checkerboard_cutout, (2.0, 3.0, 4.0, 5.0, 6.0)),
    "cocentric_sine_waves": (waves.cocentric_sine_waves, (3.0, 5.0, 8.0, 9.0, 10.0)),
    "inverse_sparkles": (occlusion.inverse_sparkles, (1.0, 2.0, 4.0, 9.0, 10.0)),
    "perlin_noise": (perlin.perlin_noise, (4.6, 5.2, 5.8, 7.6, 8.8)),
    "plasma_noise": (waves.plasma_noise, (4.75, 7.0, 8.5, 9.25, 10.0)),
    "single_frequency_greyscale": (waves.single_frequency_greyscale, (1.0, 1.5, 2.0, 4.5, 5.0)),
    "sparkles": (occlusion.sparkles, (1.0, 2.0, 3.0, 5.0, 6.0)),
}
"""Name, as in the published list (its spelling included) → function, and its amounts out of 10 at severities 1 to 5."""

NAMES = tuple(_FUNCTIONS)

SMALLEST, LARGEST = 12, 512
"""Sides of images in pixels. The amounts are published for 224 px; lengths follow the side."""


def corrupt(images: Tensor, name: str, severity: int, *, indices: Sequence[int], dataset: str, seed: int = 0) -> Tensor:
    """Return corrupted copies of ``images``, uint8 (n, S, S, 3), on the same device.

    ``indices`` are the images' places in their test set. Raises :class:`UsageError` for another name or severity, and
    for images that are not square or not of :data:`SMALLEST` to :data:`LARGEST` pixels.
    """
    apply, amounts = _FUNCTIONS[pick("corruption of ImageNet-C-bar", name, NAMES)]
    amount = amounts[SEVERITIES.index(int(pick("severity", str(severity), [str(s) for s in SEVERITIES])))]
    side = images.shape[2]
    if images.shape[1] != side or not SMALLEST <= side <= LARGEST:
        raise UsageError(
            f"the corruptions of ImageNet-C-bar take square images of {SMALLEST} to {LARGEST} px; these have "
            f"{images.shape[1]}×{side}"
        )
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    for where, draws in cells(indices, side, side, images.device, PROTOCOL, dataset, name, severity, seed):
        out[where] = apply(images[where].contiguous(), amount, draws)
    return out
