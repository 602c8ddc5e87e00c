"""Elastic transform: a small random affine map, then a smooth random displacement."""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .cells import Draws
from .pixels import interleave
from .severity import Parameters


def elastic_transform(x: Tensor, c: Parameters, draws: Draws) -> Tensor:
    """c is (alpha, sigma, jitter) in pixels. float32 between the steps, as published."""
    alpha, sigma, jitter = c
    height, width = x.shape[1:3]
    y = x.permute(0, 3, 1, 2).contiguous().float().div_(255)
    y = _sample(y, *_affine_grid(draws.uniform(-jitter, jitter, 3, 2), height, width), corners=True)
    if alpha:
        fields = draws.uniform(-1, 1, 2, height, width)
        dx, dy = displacement(fields, alpha, sigma).unbind(1)
        rows = torch.arange(height, device=x.device)[:, None]
        y = _sample(y, dx + torch.arange(width, device=x.device), dy + rows, corners=False)
    return interleave(y.clamp_(0, 1).mul_(255).to(torch.uint8).movedim(1, 0))


def displacement(fields: Tensor, alpha: float, sigma: float) -> Tensor:
    """(n, 2, H, W) noise, smoothed with mirrored borders and scaled, rounded to float32; returned as float64."""
    down, across = (_smoothing(size, sigma, fields.device) for size in fields.shape[2:])
    return (down @ fields @ across.T).mul_(alpha).float().double()


@cache
def _smoothing(size: int, sigma: float, device: torch.device) -> Tensor:
    """(size, size): a Gaussian cut at 3 sigma."""
    from scipy.ndimage import gaussian_filter1d

    matrix = gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect", truncate=3.0)
    return torch.from_numpy(np.ascontiguousarray(matrix)).to(device)


def triangle(height: int, width: int) -> npt.NDArray[np.float64]:
    """The three points (3, 2) whose jitter defines the affine map: the centre plus or minus a third of the side."""
    centre, third = np.array([height // 2, width // 2], dtype=np.float64), min(height, width) // 3
    return centre + third * np.array([[1, 1], [1, -1], [-1, -1]])


def _affine_grid(jitter: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where each output pixel comes from: x and y, (n, H, W)."""
    inverse = torch.from_numpy(inverse_affine(jitter.cpu().numpy(), height, width)).to(jitter.device)
    columns = torch.arange(width, device=jitter.device, dtype=torch.float64)
    rows = torch.arange(height, device=jitter.device, dtype=torch.float64)[:, None]
    a, b, offset = (inverse[:, k, :, None, None] for k in range(3))
    x, y = (columns * a + rows * b + offset).unbind(1)
    return x, y


def inverse_affine(jitter: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """(n, 3, 2): what takes the jittered triangle (rounded to float32, as published) back to the fixed one."""
    fixed = triangle(height, width)
    moved = (fixed.astype(np.float32) + jitter.astype(np.float32)).astype(np.float64)
    corners = np.concatenate([moved, np.ones_like(moved[..., :1])], axis=-1)
    return np.linalg.solve(corners, np.broadcast_to(fixed, moved.shape))


def _sample(image: Tensor, x: Tensor, y: Tensor, *, corners: bool) -> Tensor:
    """Bilinear values of float32 (n, C, H, W) at pixel positions, computed in float64.

    Beyond the border the image is mirrored: about the outermost pixels (``corners``) or about their outer edges.
    """
    grid = torch.empty(*x.shape, 2, dtype=torch.float64, device=x.device)
    for k, position in enumerate((x, y)):
        size = x.shape[2 - k]
        if corners:
            torch.mul(position, 2 / (size - 1), out=grid[..., k]).sub_(1)
        else:
            torch.mul(position, 2 / size, out=grid[..., k]).add_(1 / size - 1)
    sampled = torch.nn.functional.grid_sample(
        image.double(), grid, mode="bilinear", padding_mode="reflection", align_corners=corners
    )
    return sampled.float()
