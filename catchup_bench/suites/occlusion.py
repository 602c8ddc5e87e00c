"""Random patch drop: accuracy as ever more of an image is covered (Naseer et al., NeurIPS 2021, arXiv 2105.10497)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import UsageError
from ..seeds import per_image
from ..system.hardware import to_device
from . import Context, Suite, correct


@dataclass(frozen=True, kw_only=True)
class Occlusion(Suite):
    """Of ``grid``×``grid`` patches of an image, ``share`` percent are covered by ``fill``, the training mean colour or
    black; as many whole patches as come nearest, a half counting up.

    Which ones is drawn per image and fixed by ``seed``; what a share covers, a larger one covers too. 8×8 patches are
    of 4 px in images of 32 px; 14×14 is the grid of OpenMixup's script for 224 px.
    """

    about = "10 to 90 % of the image covered, in random patches"
    cost = "9 forward"

    share: tuple[float, ...] = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
    grid: int = 8
    fill: Literal["mean", "black"] = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.share or not all(0 <= share <= 100 for share in self.share):
            raise ValueError(f"share = {self.share} is not allowed: it takes percentages from 0 to 100")
        if not 1 <= self.grid <= 224:
            raise ValueError(f"grid = {self.grid} is not allowed: it takes 1 to 224 patches a side")
        if self.fill not in ("mean", "black"):
            raise ValueError(f"fill = {self.fill!r} is not allowed: it takes mean or black")

    def conditions(self) -> list[str]:
        return [f"occlusion-{share:g}{self.suffix}" for share in self.share]

    @property
    def suffix(self) -> str:
        """Return the ending of the condition's name: another protocol has another name, so that no outcome replaces
        another's."""
        marks = (("black", self.fill == "black"), (f"g{self.grid}", self.grid != 8), (f"seed{self.seed}", self.seed))
        return "".join(f"-{mark}" for mark, on in marks if on)

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, **asdict(self), "share": self.covered(condition)}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return super().options_of(protocols) | {"share": sorted({p["share"] for p in protocols})}

    def covered(self, condition: str) -> float:
        return float(condition.removeprefix("occlusion-").removesuffix(self.suffix))

    def summary(self) -> dict[str, list[str]]:
        return super().summary() | {f"occlusion{self.suffix}, mean": self.conditions()}

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        size = min(context.images.x.shape[1:3])
        if size < self.grid:
            raise UsageError(
                f"occlusion.grid = {self.grid}: the images of {context.dataset} have only {size} px a side"
            )
        mean = context.mean if self.fill == "mean" else (0.0, 0.0, 0.0)
        colour = torch.tensor(mean, device=context.device).view(1, 3, 1, 1)
        for condition in conditions:
            count = int(self.grid**2 * self.covered(condition) / 100 + 0.5)

            def cover(x: Tensor, y: Tensor, index: Tensor, count: int = count) -> Tensor:
                hidden = self.ranks(context.key, index) < count
                return colour.where(patches(to_device(hidden, x.device), *x.shape[2:]), x)

            yield condition, correct(context, cover)

    def ranks(self, key: str, index: Tensor) -> Tensor:
        """Return the place of every patch in the order in which an image's patches are covered, B×grid×grid."""
        of = ("occlusion-v1", key, self.grid, self.seed)
        chances = torch.from_numpy(per_image(lambda rng, n: rng.random((n, self.grid**2)), index.tolist(), *of))
        return chances.argsort(1).argsort(1).unflatten(1, (self.grid, self.grid))


def patches(hidden: Tensor, height: int, width: int) -> Tensor:
    """Return B×1×height×width pixels of B×grid×grid patches, which differ by at most a pixel in size."""
    grid = hidden.shape[1]
    rows, columns = (torch.arange(n, device=hidden.device) * grid // n for n in (height, width))
    return hidden[:, None, rows[:, None], columns]
