"""How activations and gradients of filters develop during training (Figure 1b of the Catch-up Mix paper)."""

import copy
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Images
from ..data.batches import batches
from ..errors import UsageError
from ..models import StagedNet
from ..records.record import Outcome
from ..runs.checkpoint import load_weights, read_weights
from . import ConditionResult, Context, Suite, correct, fetch
from ._fixed_images import digest_of_both, training_images
from ._values import pack, pack_counts, same, unpack, unpack_counts

Array = npt.NDArray[np.float64]
BINS = 100
RANGES = {"activation": (-4.0, 4.0), "gradient": (-12.0, 4.0)}
"""Decimal logarithms of the norms at the ends of the histogram's axes; norms beyond count in the first or last bin."""
QUANTILES = (1, 5, 25, 50, 75, 95, 99)
STARVED = 1e-6


@dataclass(frozen=True, kw_only=True)
class Dynamics(Suite):
    """Norms of the maps A_c of every channel c behind a stage, and of the gradients ∂L/∂A_c of the image's own
    cross-entropy L, in eval mode and without mixing, on ``images`` training images (all where there are fewer), at
    every epoch whose weights were kept: those of ``recipe.snapshots``, and the last.

    ``stage`` 3 is the third of residual blocks. For each epoch there are the joint ``histogram`` of images and channels
    over decimal logarithms (100×100, activations along the first axis), the quantiles of both norms, the means per
    channel and what follows from these: Spearman's correlation of both, the Gini coefficient of the activation norms
    (0: all channels alike, near 1: few filters do everything) and the percentage of ``starved`` channels, whose mean
    gradient norm is below 1e-6. The bits are those of ``clean``.
    """

    about = "activation and gradient norms per filter at the epochs of recipe.snapshots"
    cost = "1 forward, 1 backward of 2,000 images per epoch"

    images: int = 2000
    stage: int = 3

    def __post_init__(self) -> None:
        for field, least in (("images", 1), ("stage", 0)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} = {getattr(self, field)} is not allowed: it takes {least} or more")

    def conditions(self) -> list[str]:
        marks = (("n", self.images, 2000), ("s", self.stage, 3))
        return ["dynamics" + "".join(f"-{mark}{value}" for mark, value, usual in marks if value != usual)]

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Compare the scalars of every epoch with its means per channel, and with the sum of its histogram."""
        problems = []
        try:
            for epoch, values in outcome.values["epochs"].items():
                means = {kind: unpack(values["channel_means"][kind]).astype(np.float64) for kind in RANGES}
                again = described(means["activation"], means["gradient"])
                counted = int(unpack_counts(values["histogram"], BINS**2).sum())
                wanted = len(means["activation"]) * outcome.values["images"]
                if counted != wanted:
                    problems.append(f"epoch {epoch}: its histogram is of {counted} maps, not of {wanted}")
                for key, number in again.items():
                    if not same(number, values[key]):
                        problems.append(f"epoch {epoch}: {key} is stated as {values[key]}, its means give {number}")
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as err:
            return [f"its norms are damaged: {type(err).__name__} {err}"]
        return problems

    def images_digest(self, context: Context, condition: str) -> str:
        """Return the SHA-256 of the digests of the test images and of the training images."""
        return digest_of_both(context.images, training_images(context, self.images))

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        if not context.snapshots:
            raise UsageError(
                "dynamics needs weights of several epochs, and none were kept: train the run anew (delete its folder "
                'first) with --set "recipe.snapshots=[0.2, 0.4, 0.6, 0.8]"'
            )
        if not isinstance(context.net, StagedNet) or self.stage >= len(context.net.stages):
            stages = len(context.net.stages) if isinstance(context.net, StagedNet) else 0
            raise UsageError(f"dynamics.stage = {self.stage}: the network has {stages} stages, counted from 0")
        images = training_images(context, self.images)
        net = copy.deepcopy(context.net)
        epochs = {}
        for epoch, path in sorted(context.snapshots.items()):
            load_weights(net, read_weights(path)[0], path)
            epochs[str(epoch)] = of_norms(*norms(net, self.stage, images, context))
        values = {"images": len(images), "ranges": {k: list(v) for k, v in RANGES.items()}, "epochs": epochs}
        bits = correct(context)
        for condition in conditions:
            yield condition, ConditionResult(bits, values)

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, **asdict(self), "bins": BINS}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {key: protocols[0][key] for key in ("images", "stage")}

    def summary(self) -> dict[str, list[str]]:
        """Return nothing: the error is that of ``clean``."""
        return {}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        epochs = outcomes[self.conditions()[0]].values["epochs"]
        labels = {
            "gini": "Gini of activation norms",
            "spearman": "Spearman of activation and gradient norms",
            "starved": "starved channels, %",
            "median_gradient": "median gradient norm",
        }
        return {
            f"{label}, epoch {epoch}": epochs[epoch][key]
            for key, label in labels.items()
            for epoch in sorted(epochs, key=int)
            if epochs[epoch][key] is not None
        }


def norms(net: StagedNet, stage: int, images: Images, context: Context) -> tuple[Array, Array]:
    """Return the norms of maps and of gradients, images×channels each."""
    maps, gradients = [], []
    for x, y, _ in batches(images, context.batch_size, context.device):
        with torch.no_grad():
            features: Tensor = net(x, stop=stage + 1)
        features.requires_grad_()
        # the sum: with the mean, gradients would depend on the size of the batch
        loss = F.cross_entropy(net(features * 1, start=stage + 1), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, features)
        maps.append(features.detach().flatten(2).norm(dim=2))
        gradients.append(gradient.flatten(2).norm(dim=2))
    return fetch(maps).double().numpy(), fetch(gradients).double().numpy()


def of_norms(maps: Array, gradients: Array) -> dict[str, Any]:
    """Return what is stored of one epoch."""
    both = dict(zip(RANGES, (maps, gradients), strict=True))
    means = {kind: norms.mean(0).astype(np.float32) for kind, norms in both.items()}
    return {
        "histogram": pack_counts(histogram(maps, gradients)),
        "quantiles": {kind: np.percentile(norms, QUANTILES).tolist() for kind, norms in both.items()},
        "median_gradient": float(np.median(gradients)),
        "channel_means": {kind: pack(norms) for kind, norms in means.items()},
        **described(*(norms.astype(np.float64) for norms in means.values())),
    }


def histogram(maps: Array, gradients: Array) -> npt.NDArray[np.int64]:
    """Return how many images and channels fall into each bin, 100×100: activations by gradients."""
    places = []
    for norms, (low, high) in zip((maps, gradients), RANGES.values(), strict=True):
        logs = np.log10(np.maximum(norms, 10.0 ** (low - 1)))
        places.append(np.clip(np.floor((logs - low) / (high - low) * BINS), 0, BINS - 1).astype(np.int64))
    return np.bincount((places[0] * BINS + places[1]).ravel(), minlength=BINS**2).reshape(BINS, BINS)


def described(activation: Array, gradient: Array) -> dict[str, float | None]:
    """Return the scalars of the means per channel; no correlation where one of both does not vary."""
    from scipy.stats import spearmanr

    varies = len(activation) > 1 and min(np.ptp(activation), np.ptp(gradient)) > 0
    return {
        "spearman": float(spearmanr(activation, gradient).statistic) if varies else None,
        "gini": gini(activation),
        "starved": 100 * float((gradient < STARVED).mean()),
    }


def gini(values: Array) -> float:
    """Return the Gini coefficient of numbers that are not negative: 0 for equal ones, 1 - 1/n where one has all."""
    total, n = float(values.sum()), len(values)
    if total == 0:
        return 0.0
    return float((np.sort(values) * (2 * np.arange(1, n + 1) - n - 1)).sum() / (n * total))
