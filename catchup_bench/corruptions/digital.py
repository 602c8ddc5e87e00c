"""Pixelation and JPEG compression."""

import io
import warnings
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .cells import Draws
from .pixels import batch_first, batch_last
from .severity import Parameters

FIXED_POINT_BITS = 22  # of Pillow's resampling weights


def pixelate(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Box-filter down to int(size x c) and up again, in Pillow's integers: each pass rounds to a byte."""
    n, height, width, channels = x.shape
    y = batch_last(x).view(height, width, channels * n)
    small = _resize(_resize(y, 1, int(width * c[0])), 0, int(height * c[0]))
    return batch_first(_resize(_resize(small, 1, width), 0, height).view(height, width, channels, n))


def _resize(x: Tensor, axis: int, size: int) -> Tensor:
    places, weights = _box(x.shape[axis], size, x.device)
    if len(places) == 1:  # every output pixel has one source
        return x.index_select(axis, places[0])
    broadcast = [-1 if k == axis else 1 for k in range(x.dim())]
    total = torch.tensor(1 << (FIXED_POINT_BITS - 1), dtype=torch.int32, device=x.device)
    for place, weight in zip(places, weights, strict=True):
        total = x.index_select(axis, place).int().mul_(weight.view(broadcast)).add_(total)
    return (total >> FIXED_POINT_BITS).to(torch.uint8)


@cache
def _box(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(taps, target) source positions and int32 fixed-point weights of a box filter."""
    scale = source / target
    support = max(scale, 1.0) / 2
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), source)
    places = first[:, None] + np.arange((last - first).max())
    distance = (places - centre[:, None] + 0.5) / max(scale, 1.0)
    inside = (distance > -0.5) & (distance <= 0.5) & (places < last[:, None])
    weights = np.floor(inside / inside.sum(axis=1, keepdims=True) * (1 << FIXED_POINT_BITS) + 0.5).astype(np.int32)
    order = np.argsort(~inside, axis=1, kind="stable")[:, : inside.sum(axis=1).max()]
    places, weights = (np.take_along_axis(a, order, axis=1).T for a in (np.minimum(places, source - 1), weights))
    return torch.tensor(places, device=device), torch.tensor(weights, device=device)


def jpeg_compression(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """Through libjpeg at quality c with 4:2:0 chroma, on the CPU: GPU codecs give other bytes."""
    return _through_jpeg(x.cpu(), int(c[0])).to(x.device)


def _through_jpeg(x: Tensor, quality: int) -> Tensor:
    """torchvision's codec is deprecated since 0.29 but several times faster than Pillow's; the bytes are the same."""
    try:
        from torchvision.io import decode_jpeg, encode_jpeg
    except ImportError:
        return torch.stack([_through_pillow(image, quality) for image in x])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        decoded = decode_jpeg(encode_jpeg(list(x.permute(0, 3, 1, 2).contiguous()), quality=quality))
    return torch.stack(decoded).permute(0, 2, 3, 1).contiguous()


def _through_pillow(image: Tensor, quality: int) -> Tensor:
    from PIL import Image

    with io.BytesIO() as buffer:
        Image.fromarray(image.numpy()).save(buffer, "JPEG", quality=quality)
        return torch.from_numpy(np.array(Image.open(buffer)))
