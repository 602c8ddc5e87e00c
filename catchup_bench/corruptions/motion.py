"""Motion blur as ImageMagick 6 (Q16) computes it, for a batch in which each image has its own direction."""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .cells import Draws
from .severity import Parameters


def motion_blur(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """c is (radius, sigma); the direction is uniform on (-45, 45) degrees."""
    return streak(x, int(c[0]), c[1], draws.uniform(-45, 45))


def streak(x: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Bytes (n, H, W, C) smeared one-sidedly along ``degrees`` (n,); edges replicated.

    The sum is rounded to 16 bits and then truncated to 8, as ImageMagick does.
    """
    n, height, width, channels = x.shape
    weights = streak_weights(radius, sigma)
    reach = len(weights) - 1
    left, right = (x[:, :, k, None].expand(-1, -1, reach, -1) for k in (0, -1))
    wide = torch.cat([left, x, right], dim=2).float()
    windows = wide.view(-1).unfold(0, width * channels, 1)  # every run of one row's length; index_select copies runs
    total = torch.zeros(n * height, width * channels, device=x.device)
    dy, dx = steps(degrees.cpu().numpy(), reach)
    rows = np.clip(np.arange(height) + dy[..., None], 0, height - 1) + np.arange(n)[:, None] * height
    starts = torch.from_numpy((rows * (width + 2 * reach) + reach + dx[..., None]) * channels).to(x.device)
    for weight, start in zip(weights, starts.view(reach + 1, -1), strict=True):
        total += windows.index_select(0, start).mul_(weight)
    levels = total.mul_(257).add_(0.5).floor_()
    return levels.div_(257).to(torch.uint8).view(x.shape)


@cache
def streak_weights(radius: int, sigma: float) -> list[float]:
    """Half a Gaussian on 0..2 radius, normalised; the last weights are dropped where all of them are below 1e-9."""
    weights = np.exp(-(np.arange(2 * radius + 1.0) ** 2) / (2 * sigma**2))
    return [float(w) for w in weights / weights.sum() if w > 1e-9]


def steps(degrees: npt.NDArray[np.float64], reach: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(dy, dx) of samples 0..reach, each (reach + 1, n), in whole pixels."""
    radians = np.deg2rad(degrees)
    i = np.arange(reach + 1)[:, None]
    dy, dx = (np.ceil(i * f(radians) - 0.5).astype(np.int64) for f in (np.sin, np.cos))
    return dy, dx
