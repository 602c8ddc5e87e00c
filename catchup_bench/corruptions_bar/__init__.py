"""The ten corruptions of CIFAR-10-C-bar (Mintun, Kirillov and Xie, On Interaction Between Augmentations and Corruptions
in Natural Corruption Robustness, NeurIPS 2021, arXiv 2102.11273), in batches, on a CPU or a GPU.

They are perceptually far from those of CIFAR-C, so they check whether a method that trained on relatives of these is
robust to others as well. Images and random numbers are as in :mod:`catchup_bench.corruptions`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..corruptions.cells import Draws, cells
from ..errors import UsageError, pick
from . import noise, occlusion, warp

Corruption = Callable[[Tensor, float, Draws], Tensor]

PROTOCOL = "corruption-bar-v1"

SEVERITIES = (1, 2, 3, 4, 5)

_FUNCTIONS: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "blue_noise_sample": (noise.blue_noise_sample, (0.7, 1.4, 2.1, 3.5, 4.2)),
    "brownish_noise": (noise.brownish_noise, (2.5, 4.0, 5.5, 6.5, 7.0)),
    "checkerboard_cutout": (occlusion.checkerboard_cutout, (1.0, 2.0, 3.0, 4.0, 5.0)),
    "inverse_sparkles": (occlusion.inverse_sparkles, (1.0, 1.5, 2.5, 4.5, 5.0)),
    "sparkles": (occlusion.sparkles, (0.7, 3.5, 5.6, 6.3, 7.0)),
    "lines": (occlusion.lines, (0.5, 1.0, 1.5, 2.0, 2.5)),
    "pinch_and_twirl": (warp.pinch_and_twirl, (5.5, 6.0, 6.5, 8.5, 10.0)),
    "ripple": (warp.ripple, (5.5, 6.0, 6.5, 7.5, 8.0)),
    "circular_motion_blur": (warp.circular_motion_blur, (2.8, 3.6, 4.4, 5.2, 6.0)),
    "transverse_chromatic_abberation": (warp.transverse_chromatic_abberation, (1.0, 2.0, 5.0, 9.0, 10.0)),
}
"""Name, as in the published list (its spelling included) → function, and its amounts out of 10 at severities 1 to 5."""

NAMES = tuple(_FUNCTIONS)

SMALLEST, LARGEST = 12, 128
"""Sides of images in pixels. The amounts are published for 32 px; lengths follow the side."""


def corrupt(images: Tensor, name: str, severity: int, *, indices: Sequence[int], dataset: str, seed: int = 0) -> Tensor:
    """Return corrupted copies of ``images``, uint8 (n, S, S, 3), on the same device.

    ``indices`` are the images' places in their test set. Raises :class:`UsageError` for another name or severity, and
    for images that are not square or not of :data:`SMALLEST` to :data:`LARGEST` pixels.
    """
    apply, amounts = _FUNCTIONS[pick("corruption", name, NAMES)]
    pick("severity", str(severity), [str(s) for s in SEVERITIES])
    height, width = images.shape[1:3]
    if height != width or not SMALLEST <= height <= LARGEST:
        raise UsageError(
            f"corruption-bar takes square images of {SMALLEST} to {LARGEST} px, as those of CIFAR-10-C-bar; these have "
            f"{height}×{width}"
        )
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    for where, draws in cells(indices, height, width, images.device, PROTOCOL, dataset, name, severity, seed):
        result[where] = apply(images[where].contiguous(), amounts[severity - 1], draws)
    return result
