"""The Fourier heat map: which frequencies of noise make a network err? (Yin et al., NeurIPS 2019, arXiv 1906.08988)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import data
from ..data.batches import batches
from ..errors import UsageError
from ..records.record import Outcome
from ..seeds import per_image
from ..system.hardware import to_device
from . import ConditionResult, Context, Suite, fetch
from ._fixed_images import some_test_images


@dataclass(frozen=True, kw_only=True)
class Frequency(Suite):
    """Images with a plane wave of one frequency (i, j) added, i periods from top to bottom and j from left to right,
    its sign drawn per image and channel, and clipped to [0,1].

    ``amplitude`` is the root mean square of the wave in a channel, in [0,1] units: 0.125 is a norm of 4 in 32×32
    pixels. A condition is a ring, all (i, j) whose larger one is ±r, up to ``radius`` or what the size of the images
    allows: with 15 the heat map is 31×31. Of (i, j) and (-i, -j), the same wave, one is evaluated. It takes ``images``
    test images, classes having equal shares; 0, or more than there are, is all. The bits are of the images that are
    right under every wave of the ring; beside them stand the ``waves`` and how many images each makes ``wrong``.
    """

    about = "Fourier heat map: errors under plane waves of every frequency, ring by ring, on 1,000 images"
    cost = "1 forward per wave: 481, 113 for images of 16 px"

    amplitude: float = 0.125
    radius: int = 15
    images: int = 1000

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amplitude) and 0 <= self.amplitude <= 1):
            raise ValueError(f"amplitude = {self.amplitude} is not allowed: it takes a number from 0 to 1")
        for field in ("radius", "images"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} = {getattr(self, field)} is not allowed: it takes 0 or more")

    def resolve(self, dataset: str, data_dir: Path) -> Self:
        return replace(self, radius=min(self.radius, largest(data.get(dataset).size)))

    def conditions(self) -> list[str]:
        return [f"frequency-{self.amplitude:g}-{ring}{self.suffix}" for ring in range(self.radius + 1)]

    @property
    def suffix(self) -> str:
        return "" if self.images == 1000 else f"-n{self.images}"

    def ring(self, condition: str) -> int:
        return int(condition.removesuffix(self.suffix).rsplit("-", 1)[1])

    def passes(self, condition: str) -> float:
        return len(waves(self.ring(condition)))

    def protocol(self, condition: str) -> dict[str, Any]:
        kept = {k: v for k, v in asdict(self).items() if k != "radius"}
        return {"version": self.version, **kept, "ring": self.ring(condition)}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        kept = {key: protocols[0][key] for key in ("amplitude", "images")}
        return kept | {"radius": max(p["ring"] for p in protocols)}

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Compare the counts of the waves with the bits: an image that is right under all is wrong under none."""
        try:
            shown, wrong = outcome.values["waves"], outcome.values["wrong"]
            if shown != [list(w) for w in waves(outcome.protocol["ring"])] or len(wrong) != len(shown):
                return ["its waves are not those of the ring"]
            if not all(type(w) is int and 0 <= w <= outcome.n for w in wrong):
                return ["its counts are not of its images"]
            missed = outcome.n - outcome.correct
            if not max(wrong) <= missed <= sum(wrong):
                return [f"{missed} images are wrong under some wave, its counts are from {max(wrong)} to {sum(wrong)}"]
        except (KeyError, TypeError, ValueError) as err:
            return [f"its counts are damaged: {type(err).__name__} {err}"]
        return []

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        size = min(context.images.x.shape[1:3])
        if self.radius > largest(size):
            raise UsageError(
                f"frequency.radius = {self.radius}: images of {size} px hold waves of at most {largest(size)} periods"
            )
        images, stated = some_test_images(context, self.images)
        for condition in conditions:
            ring = waves(self.ring(condition))
            parts = []
            for x, y, index in batches(images, context.batch_size, context.device):
                signs = to_device(self.signs(context.key, self.ring(condition), index), x.device)
                parts.append(
                    torch.stack(
                        [
                            context.forward((x + wave(w, self.amplitude, x) * signs[:, k]).clamp(0, 1)).argmax(1) == y
                            for k, w in enumerate(ring)
                        ]
                    )
                )
            right = fetch(parts, 1)
            values = {"waves": [list(w) for w in ring], "wrong": (~right).sum(1).tolist()}
            yield condition, ConditionResult(right.all(0), values | stated)

    def signs(self, key: str, ring: int, index: Tensor) -> Tensor:
        """Return ±1 for every image, wave and channel: B×waves×3×1×1."""
        shape = (len(waves(ring)), 3, 1, 1)
        chances = per_image(lambda rng, n: rng.random((n, *shape)), index.tolist(), "frequency-v1", key, ring)
        return torch.from_numpy(np.where(chances < 0.5, -1, 1).astype(np.float32))

    def summary(self) -> dict[str, list[str]]:
        """Return nothing: what a single wave does is in the figures."""
        return {}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        """Return mean errors over waves, of the whole map and of its inner and outer half, and the largest."""
        shares = {
            self.ring(c): [100 * wrong / outcomes[c].n for wrong in outcomes[c].values["wrong"]]
            for c in self.conditions()
        }
        parts = {
            f"waves of up to {self.radius} periods, mean error, %": range(self.radius + 1),
            f"waves of up to {self.radius // 2} periods": range(self.radius // 2 + 1),
            f"waves of {self.radius // 2 + 1} to {self.radius} periods": range(self.radius // 2 + 1, self.radius + 1),
        }
        by_part = {name: [e for r in rings for e in shares[r]] for name, rings in parts.items()}
        worst = max(e for ring in shares.values() for e in ring)
        return {name: float(np.mean(errors)) for name, errors in by_part.items() if errors} | {"worst wave": worst}


def largest(size: int) -> int:
    """Return the most periods that ``size`` pixels hold, below half the sampling rate."""
    return (size - 1) // 2


def waves(ring: int) -> list[tuple[int, int]]:
    """Return the (i, j) with max(|i|, |j|) = ``ring``, one of each pair of opposites."""
    every = [(i, j) for i in range(ring + 1) for j in range(-ring, ring + 1) if max(i, abs(j)) == ring]
    return [(i, j) for i, j in every if i > 0 or j >= 0]


def wave(frequency: tuple[int, int], amplitude: float, x: Tensor) -> Tensor:
    """Return H×W values whose root mean square is ``amplitude`` and whose spectrum is that of ±``frequency`` alone."""
    height, width = x.shape[2:]
    rows, columns = (torch.arange(n, device=x.device, dtype=torch.float64) / n for n in (height, width))
    phase = frequency[0] * rows[:, None] + frequency[1] * columns
    peak = amplitude * (math.sqrt(2) if frequency != (0, 0) else 1.0)
    return (peak * torch.cos(2 * math.pi * phase)).float()


def heat_map(outcomes: Mapping[str, Outcome]) -> npt.NDArray[np.float64]:
    """Return the errors in percent, (2R+1)×(2R+1) with frequency (0, 0) in the middle, of all rings up to R."""
    by_ring = {o.protocol["ring"]: o for o in outcomes.values()}
    radius = max(by_ring)
    errors = np.full((2 * radius + 1, 2 * radius + 1), np.nan)
    for o in by_ring.values():
        for (i, j), wrong in zip(o.values["waves"], o.values["wrong"], strict=True):
            errors[radius + i, radius + j] = errors[radius - i, radius - j] = 100 * wrong / o.n
    return errors
