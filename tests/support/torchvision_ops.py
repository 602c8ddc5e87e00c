"""torchvision's TrivialAugmentWide and RandAugment for one picture, with the choices given from outside."""

from typing import Any

import torch
from torch import Tensor

from .pillow_ops import to_pil, to_tensor

NAMES = ("Identity", "Color", "Contrast", "Brightness", "Sharpness", "AutoContrast", "Equalize", "Posterize", "Rotate")
NAMES += ("Solarize", "ShearX", "ShearY", "TranslateX", "TranslateY")
"""torchvision's names in the order of the operations' numbers, from -1."""


def apply(transform: Any, u: Tensor, kind: int, step: int, negative: bool) -> Tensor:
    """A uint8 3×H×W image after operation ``kind`` of a torchvision transform, through its PIL path."""
    name = NAMES[kind + 1]
    magnitudes, signed = transform._AUGMENTATION_SPACE[name]
    every = magnitudes(31, *u.shape[1:])
    magnitude = 0.0 if every is None else float(every[step]) * (-1 if signed and negative else 1)
    done = transform._apply_image_or_video_transform(
        to_pil(u), name, magnitude, interpolation=transform.interpolation, fill=transform._fill
    )
    return to_tensor(done)


def unit(u: Tensor) -> Tensor:
    """Bytes as [0,1] numbers."""
    return u.to(torch.float32) / 255
