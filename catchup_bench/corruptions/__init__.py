"""The 19 corruptions of CIFAR-C, Tiny-ImageNet-C and ImageNet-C, in batches, on a CPU or a GPU.

    noisy = corrupt(images, "gaussian_noise", 3, indices=range(len(images)), dataset="cifar100")

Images are uint8 (n, H, W, 3). What happens to an image depends on the name, severity and seed, on the dataset's
name and the image's index, never on the batch around it.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..errors import UsageError, pick
from . import blur, colour, digital, elastic, glass, motion, noise, severity, spatter, weather
from .cells import Draws, cells
from .severity import Parameters
from .textures import Source, Textures, procedural

__all__ = ["COMMON", "EXTRA", "GROUPS", "NAMES", "SEVERITIES", "Textures", "corrupt", "frost_source", "parameters"]

Corruption = Callable[[Tensor, Parameters, Draws], Tensor]

SEVERITIES = (1, 2, 3, 4, 5)

PROTOCOL = "corruption-v1"

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": glass.glass_blur,
    "motion_blur": motion.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "elastic_transform": elastic.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter.spatter,
    "saturate": colour.saturate,
}

NAMES = tuple(_FUNCTIONS)

GROUPS = {
    group: tuple(name for name in NAMES if severity.tables()["corruptions"][name]["group"] == group)
    for group in ("noise", "blur", "weather", "digital", "extra")
}

EXTRA = GROUPS["extra"]

COMMON = tuple(name for name in NAMES if name not in EXTRA)


def corrupt(
    images: Tensor,
    name: str,
    severity: int,
    *,
    indices: Sequence[int],
    dataset: str,
    seed: int = 0,
    textures: Textures | None = None,
) -> Tensor:
    """Corrupted copies of ``images``, uint8 (n, H, W, 3), on the same device.

    ``indices`` are the images' places in their test set. ``textures`` are the frost pictures; None takes the
    procedural ones, which make a different corruption: say which (``frost_source``) beside any result.
    """
    _check_images(images, indices)
    strength = parameters(name, min(images.shape[1:3]))[_checked_severity(severity) - 1]
    apply = _FUNCTIONS[name]
    if name == "frost":
        apply = partial(apply, textures=textures or procedural())
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    height, width = images.shape[1:3]
    for where, draws in cells(indices, height, width, images.device, PROTOCOL, dataset, name, severity, seed):
        result[where] = apply(images[where].contiguous(), strength, draws)
    return result


def parameters(name: str, size: int) -> tuple[Parameters, ...]:
    """The parameters of severities 1 to 5 for images whose shorter side has ``size`` pixels."""
    pick("corruption", name, NAMES)
    return severity.parameters(name, size)


def frost_source(textures: Textures | None) -> Source:
    """Which pictures ``corrupt`` uses for frost when it is given ``textures``."""
    return "procedural" if textures is None else textures.source


def _checked_severity(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in SEVERITIES:
        raise UsageError(f"severity {value!r} is not one of 1, 2, 3, 4, 5")
    return value


def _check_images(images: Tensor, indices: Sequence[int]) -> None:
    if images.dtype != torch.uint8:
        raise UsageError(f"images must be uint8 in 0..255, not {images.dtype}")
    if images.dim() != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < 2:
        raise UsageError(f"images must have the shape (n, height, width, 3), not {tuple(images.shape)}")
    if len(indices) != len(images):
        raise UsageError(f"{len(indices)} indices for {len(images)} images")
    if len(indices) and min(indices) < 0:
        raise UsageError("an image index is negative")
