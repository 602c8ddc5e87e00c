"""The landscape of the loss: how curved it is where training ended (Figures 3 and 7 of the Catch-up Mix paper, which
follow Yao et al., PyHessian, 2020, arXiv 1912.07145)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import RunFailed
from ..records.record import Outcome
from . import ConditionResult, Context, Suite, correct
from ._curvature import Surface, random_direction, spectrum, trace
from ._fixed_images import digest_of_both, some_test_images, training_images
from ._values import pack, same, unpack

EXTENT = {"eigen": 0.5, "random": 1.0}
"""How far planes reach to each side: in PyHessian's curves, and in Li et al. for filter-normalised directions."""
TEST_IMAGES = 1000


@dataclass(frozen=True, kw_only=True)
class Landscape(Suite):
    """Of the mean cross-entropy in nats on ``images`` training images, without augmentation or mixing and in eval mode,
    as a function of all parameters; classes have equal shares among the images, which are fixed.

    ``landscape-eigen``: the two largest eigenvalues of its Hessian, and the loss on a grid of ``points``×``points``
    that reaches 0.5 along both unit eigenvectors to each side (rows go along the first); the curve along the first one
    on 1,000 test images. ``landscape-trace``: the trace by Hutchinson's estimator on ``probes`` random signs, with its
    standard error. ``landscape-random``, the control: a plane of two random directions, filter-normalised as in Li et
    al. (NeurIPS 2018, arXiv 1712.09913). Eigenvalues change with the scale of weights that a normalisation follows,
    which leaves the function as it is; filter-normalised planes do not.

    Of a plane, ``centre`` is the loss of the network, ``sharpness`` the highest loss and ``mean_rise`` the mean one
    above it, ``doubling_radius`` the distance along the first direction at which the loss is twice the centre's, or
    null when that lies outside. The bits are those of ``clean`` on the test images.
    """

    about = "Hessian eigenvalues and trace, the loss on a plane of eigenvectors and on a random one"
    cost = "3,402 forward and about 150 double backward of 256 images"

    images: int = 256
    points: int = 41
    probes: int = 100

    def __post_init__(self) -> None:
        for field, least in (("images", 1), ("points", 3), ("probes", 2)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} = {getattr(self, field)} is not allowed: it takes {least} or more")
        if self.points % 2 == 0:
            raise ValueError(f"points = {self.points} is not allowed: it takes an odd number, with one in the middle")

    def conditions(self) -> list[str]:
        return [f"landscape-{kind}{self.suffix(kind)}" for kind in ("eigen", "trace", "random")]

    def suffix(self, kind: str) -> str:
        """Return the ending of the condition's name: another protocol has another name, so that no outcome replaces
        another's."""
        own = ("r", self.probes, 100) if kind == "trace" else ("p", self.points, 41)
        return "".join(f"-{m}{value}" for m, value, usual in (("n", self.images, 256), own) if value != usual)

    def passes(self, condition: str) -> float:
        return (4 * self.probes if _kind(condition) == "trace" else self.points**2) * self.images / 10_000

    def work(self, condition: str, test_images: int) -> float:
        return 10_000 * self.passes(condition)

    def protocol(self, condition: str) -> dict[str, Any]:
        own = {"probes": self.probes} if _kind(condition) == "trace" else {"points": self.points}
        return {"version": self.version, "kind": _kind(condition), "images": self.images, **own}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {key: p[key] for p in protocols for key in ("images", "points", "probes") if key in p}

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Compare what is stated of a plane with its grid."""
        if outcome.protocol.get("kind") == "trace":
            return []
        try:
            points = int(outcome.protocol["points"])
            again = described(unpack(outcome.values["grid"]).reshape(points, points), outcome.values["extent"])
            stated = [(key, number, outcome.values[key]) for key, number in again.items()]
        except (KeyError, TypeError, ValueError) as err:
            return [f"its grid is damaged: {type(err).__name__} {err}"]
        return [f"{key} is stated as {b}, its grid gives {a}" for key, a, b in stated if not same(a, b)]

    def images_digest(self, context: Context, condition: str) -> str:
        """Return the SHA-256 of the digests of the test images and of the training images."""
        return digest_of_both(context.images, training_images(context, self.images, "landscape.images"))

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        learned = training_images(context, self.images, "landscape.images")
        surface = Surface(context.net, learned, context.batch_size, context.device)
        tested, stated = some_test_images(context, TEST_IMAGES)
        held = Surface(context.net, tested, context.batch_size, context.device)
        bits = correct(replace(context, images=tested))
        for condition in conditions:
            kind = _kind(condition)
            if kind == "trace":
                estimate, error = trace(surface, self.probes)
                values: dict[str, Any] = {"trace": estimate, "trace_error": error}
            elif kind == "eigen":
                values = self.of_eigenvectors(surface, held)
            else:
                first, second = (random_direction(surface, number) for number in range(2))
                values = self.of_plane(surface, first, second, EXTENT[kind])
            yield condition, ConditionResult(bits, values | stated)

    def of_eigenvectors(self, surface: Surface, held: Surface) -> dict[str, Any]:
        gradient = surface.gradient()
        top = spectrum(surface, gradient)
        first, second = top.vectors
        along = steps(self.points, EXTENT["eigen"]).tolist()
        curve = torch.stack([held.value(held.origin + a * first) for a in along])
        return self.of_plane(surface, first, second, EXTENT["eigen"]) | {
            "eigenvalues": list(top.values),
            "residuals": list(top.residuals),
            "products": top.products,
            "gradient_norm": float(gradient.norm()),
            "test_curve": pack(curve.cpu().numpy()),
        }

    def of_plane(self, surface: Surface, first: Tensor, second: Tensor, extent: float) -> dict[str, Any]:
        """Return the grid, and what describes it."""
        grid = surface.plane(first, second, steps(self.points, extent)).cpu().numpy().astype(np.float32)
        if not np.isfinite(grid).all():
            raise RunFailed("landscape: the loss is not finite everywhere on the plane")
        return {"extent": extent, "grid": pack(grid), **described(grid, extent)}

    def summary(self) -> dict[str, list[str]]:
        """Return nothing: the error is that of ``clean``."""
        return {}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        eigen, traced, control = (outcomes[condition].values for condition in self.conditions())
        numbers = {
            "λ₁ of the Hessian": eigen["eigenvalues"][0],
            "λ₂": eigen["eigenvalues"][1],
            "trace": traced["trace"],
            "trace, standard error": traced["trace_error"],
        }
        for name, values in (("eigenvectors", eigen), ("random plane", control)):
            numbers |= {f"sharpness, {name}, nats": values["sharpness"], f"mean rise, {name}": values["mean_rise"]}
            if values["doubling_radius"] is not None:
                numbers[f"radius of twice the loss, {name}"] = values["doubling_radius"]
        return numbers


def steps(points: int, extent: float) -> Tensor:
    """Return ``points`` numbers from -``extent`` to ``extent`` in float64; the middle one is exactly 0."""
    half = (points - 1) // 2
    return torch.arange(-half, half + 1, dtype=torch.float64) * extent / half


def described(grid: npt.NDArray[np.float32], extent: float) -> dict[str, float | None]:
    """Return the numbers of a plane whose rows go along the first direction."""
    losses, half = grid.astype(np.float64), len(grid) // 2
    centre = float(losses[half, half])
    crossings = []
    for side in (losses[half:, half], losses[half::-1, half]):
        beyond = np.flatnonzero(side >= 2 * centre)
        if len(beyond):
            i = max(1, int(beyond[0]))
            part = (2 * centre - side[i - 1]) / (side[i] - side[i - 1]) if side[i] > side[i - 1] else 0.0
            crossings.append(float((i - 1 + part) * extent / half))
    return {
        "centre": centre,
        "sharpness": float(losses.max() - centre),
        "mean_rise": float(losses.mean() - centre),
        "doubling_radius": min(crossings, default=None),
    }


def _kind(condition: str) -> str:
    return condition.split("-")[1]
