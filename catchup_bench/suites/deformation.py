"""Rotation, shear and zoom: the eight columns of Table 2 of the Catch-up Mix paper."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..seeds import per_image
from ..system.hardware import to_device
from . import Context, Suite, correct

RANGES = {
    "rotation-20": math.radians(20),
    "rotation-40": math.radians(40),
    "shear-28.6": 0.5,
    "shear-57.2": 1.0,
}
"""Largest angle in radians; shears of 0.5 and 1 rad are the table's 28.6° and 57.2°."""

ZOOMS = {"zoom-60": 0.6, "zoom-80": 0.8, "zoom-120": 1.2, "zoom-140": 1.4}


@dataclass(frozen=True, kw_only=True)
class Deformation(Suite):
    """Random rotation and shear, fixed zoom, as the code of Manifold Mixup (arXiv 1806.05236) computes them.

    Its matrices take (row, column) of the output to the input around N/2 + 0.5, one pixel off the centre; nearest
    neighbour; outside is ``fill``, the training mean colour or black. ``zoom`` = ``in`` reads 60 % as magnifying by
    1/0.6, as that code does; ``out`` is the opposite reading. One draw per image, fixed by ``seed``.
    """

    about = "rotation ±20°, ±40°, shear ±28.6°, ±57.2°, zoom 60, 80, 120, 140 %"
    cost = "8 forward"

    fill: Literal["mean", "black"] = "mean"
    zoom: Literal["in", "out"] = "in"
    seed: int = 0

    def __post_init__(self) -> None:
        for field, value, allowed in (("fill", self.fill, ("mean", "black")), ("zoom", self.zoom, ("in", "out"))):
            if value not in allowed:
                raise ValueError(f"{field} = {value!r} is not allowed: it takes {' or '.join(allowed)}")

    def conditions(self) -> list[str]:
        return [f"{name}{self.suffix}" for name in (*RANGES, *ZOOMS)]

    @property
    def suffix(self) -> str:
        """Return the ending of the condition's name: another protocol has another name, so that no outcome replaces
        another's."""
        marks = (("black", self.fill == "black"), ("out", self.zoom == "out"), (f"seed{self.seed}", self.seed != 0))
        return "".join(f"-{mark}" for mark, on in marks if on)

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        colour = torch.tensor(context.mean if self.fill == "mean" else (0.0,) * 3, device=context.device).view(
            1, 3, 1, 1
        )
        for condition in conditions:
            plain = condition.removesuffix(self.suffix)

            def deform(x: Tensor, y: Tensor, index: Tensor, name: str = plain) -> Tensor:
                return warp(x, self.matrices(name, context.key, index.tolist()), colour)

            yield condition, correct(context, deform)

    def matrices(self, name: str, key: str, index: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the matrices, N×2×2, from output to input coordinates."""
        if name in ZOOMS:
            factor = ZOOMS[name] if self.zoom == "in" else 1 / ZOOMS[name]
            return np.broadcast_to(np.eye(2) * factor, (len(index), 2, 2)).copy()
        of = ("deformation-v1", key, name, self.seed)
        angle = per_image(lambda rng, n: rng.uniform(-1, 1, n), index, *of) * RANGES[name]
        cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
        entries = (cos, -sin, sin, cos) if name.startswith("rotation") else (zero + 1, -sin, zero, cos)
        return np.stack(entries, 1).reshape(-1, 2, 2)


def warp(x: Tensor, matrices: npt.NDArray[np.float64], fill: Tensor) -> Tensor:
    """Return images B×3×H×W whose output pixel p is the input pixel nearest to Mp + (c - Mc), ``fill`` outside.

    Half-way coordinates round up, in float64: zooms by 0.8 and 1.2 meet exact halves, which other roundings move.
    """
    height, width = x.shape[2:]
    size = np.array([height, width])
    centre = size / 2 + 0.5
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2)
    offset = centre - matrices @ centre
    # in this order of additions, since sums that meet an exact half must round as SciPy's do
    coords = offset[:, None] + grid[:, :1] * matrices[:, None, :, 0] + grid[:, 1:] * matrices[:, None, :, 1]
    inside = ((coords >= 0) & (coords <= size - 1)).all(2)
    nearest = np.clip(np.floor(coords + 0.5).astype(np.int64), 0, size - 1)
    source = to_device(torch.from_numpy(nearest[..., 0] * width + nearest[..., 1]), x.device)
    moved = x.flatten(2).gather(2, source[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    return torch.where(to_device(torch.from_numpy(inside), x.device).view(-1, 1, height, width), moved, fill)
