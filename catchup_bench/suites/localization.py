"""Weakly supervised localisation: does a network look at the object? (Table 7 of the Catch-up Mix paper)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import data
from ..data.batches import batches
from ..data.images import Located
from ..errors import UsageError
from ..records.record import Outcome
from . import ConditionResult, Context, Suite, fetch
from ._components import components
from ._fixed_images import digest_of_both, stratified
from ._linear_head import linear_head, output_and_logits, pooled_maps
from ._values import pack, unpack

SWEPT = np.arange(1000) / 1000
HELD_OUT = 6
"""One in six images chooses the thresholds and is not scored."""
IOU = {"max50": 0.5, "v2-30": 0.3, "v2-50": 0.5, "v2-70": 0.7}


@dataclass(frozen=True, kw_only=True)
class Localization(Suite):
    """Class activation maps (Zhou et al., CVPR 2016, arXiv 1512.04150) of the true class against boxes: the last maps
    weighted by its row of the linear layer, enlarged (bicubic), scaled to 0..1 per image. Images are whole, resized and
    not cropped. Maps without differences are zeros, and wrong.

    The paper's protocol: the largest 8-connected component above ``threshold`` gives a tight box, right where its
    intersection over union with the true box is at least 0.5 (``localization-known``, "GT-known Loc"), and where the
    network names the class, too (``-top1``, "Top-1 Loc"); ``-class`` is top-1 on these images.

    A fixed threshold confounds maps with their calibration. In the protocol of Choe et al. (CVPR 2020, arXiv
    2001.07437), which for this reason chooses it on held-out images, ``-max50`` is MaxBoxAcc, and the mean of
    ``-v2-30``, ``-v2-50`` and ``-v2-70``, which count an image where the box of any component overlaps by 30, 50 and
    70 %, is MaxBoxAccV2. Thresholds 0, 0.001, … are tried on one in six test images, fixed by hash, each class with an
    equal share, and the others are scored. Their box of a component is its pixels', the largest has most pixels.
    """

    about = "class activation maps against boxes: GT-known and Top-1 Loc, MaxBoxAcc, MaxBoxAccV2"
    cost = "1 forward"

    threshold: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold = {self.threshold} is not allowed: it takes 0 to below 1")

    def resolve(self, dataset: str, data_dir: Path) -> Self:
        with_boxes(dataset)
        return self

    def conditions(self) -> list[str]:
        fixed = "" if self.threshold == 0.2 else f"-t{self.threshold:g}"
        own = [f"localization-known{fixed}", f"localization-top1{fixed}", "localization-class"]
        return own + [f"localization-{kind}" for kind in IOU]

    def protocol(self, condition: str) -> dict[str, Any]:
        kind = _kind(condition)
        given = {"threshold": self.threshold} if kind in ("known", "top1") else {}
        return {"version": self.version, "kind": kind, **given}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        given = [p["threshold"] for p in protocols if "threshold" in p]
        return {"threshold": given[0]} if given else {}

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Compare the stored overlaps with the bits."""
        if outcome.protocol.get("kind") != "known":
            return []
        try:
            right = unpack(outcome.values["iou"]) >= 0.5
            if np.array_equal(right, outcome.array()):
                return []
        except (KeyError, TypeError, ValueError) as err:
            return [f"its overlaps are damaged: {type(err).__name__} {err}"]
        return [f"{int(right.sum())} of its overlaps reach 0.5, its bits say {outcome.correct}"]

    def images_digest(self, context: Context, condition: str) -> str:
        """Return the SHA-256 of the digests of the test images and of the whole images that boxes belong to."""
        return digest_of_both(context.images, with_boxes(context.dataset)("test", context.data_dir).images)

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        located = with_boxes(context.dataset)("test", context.data_dir)
        right, maps = self.maps(context, located)
        kinds = {condition: _kind(condition) for condition in conditions}
        everything = torch.arange(len(right))
        largest, _ = sweep(maps, located, everything, np.array([self.threshold]))
        overlap = largest[:, 0].astype(np.float32)
        known = torch.from_numpy(overlap >= 0.5)
        bits = {"known": known, "top1": known & right, "class": right}
        for condition in [c for c, kind in kinds.items() if kind in bits]:
            kind = kinds[condition]
            yield condition, ConditionResult(bits[kind], {"iou": pack(overlap)} if kind == "known" else {})
        chosen = {condition: kind for condition, kind in kinds.items() if kind in IOU}
        if not chosen:
            return
        y, index = located.images.y, located.images.index
        held = stratified(y, index, len(right) // HELD_OUT, f"{context.key}/boxes")
        if not len(held):
            raise UsageError(f"{context.dataset} has {len(right)} test images: too few to hold some out")
        scored = everything[~torch.isin(everything, held)]
        tried = sweep(maps, located, held, SWEPT)
        hits = {kind: (tried[_any(kind)] >= IOU[kind]).sum(0) for kind in chosen.values()}
        best = {kind: int(counts.argmax()) for kind, counts in hits.items()}
        levels = sorted(set(best.values()))
        localized = sweep(maps, located, scored, SWEPT[levels])
        for condition, kind in chosen.items():
            level = best[kind]
            values = {
                "threshold": float(SWEPT[level]),
                "held_out": len(held),
                "held_out_right": int(hits[kind][level]),
                "index": index[scored].tolist(),
            }
            yield (
                condition,
                ConditionResult(torch.from_numpy(localized[_any(kind)][:, levels.index(level)] >= IOU[kind]), values),
            )

    def maps(self, context: Context, located: Located) -> tuple[Tensor, Tensor]:
        """Return whether each image is classified rightly, and the activation map of its class, N×h×w."""
        first = next(batches(located.images, 2, context.device))[0]
        head = linear_head(context.net, first)
        last = pooled_maps(context.net, head, first)
        right, activations = [], []
        with torch.inference_mode():
            for x, y, _ in batches(located.images, context.batch_size, context.device):
                features, logits = output_and_logits(context.net, last, x)
                right.append(logits.argmax(1) == y)
                activations.append(torch.einsum("bchw,bc->bhw", features, head.weight[y]))
        return fetch(right), fetch(activations)

    def summary(self) -> dict[str, list[str]]:
        v2 = {"localization, MaxBoxAccV2": [c for c in self.conditions() if _any(_kind(c))]}
        return {c: [c] for c in self.conditions() if not _any(_kind(c))} | v2


def with_boxes(dataset: str) -> Any:
    """Return what reads the images of ``dataset`` with their boxes. Raises :class:`UsageError` where it has none."""
    located = data.get(dataset).located
    if located is None:
        known = ", ".join(name for name, entry in data.DATASETS.items() if entry.located)
        raise UsageError(f"localization needs boxes, which {dataset} has not: evaluate it on one of: {known}")
    return located


def each(maps: Tensor, size: tuple[int, int]) -> Iterator[npt.NDArray[np.float64]]:
    """Yield activation maps at ``size``, from 0 to 1; a few at a time are enlarged."""
    for part in maps.split(64):
        yield from normalised(F.interpolate(part[:, None].float(), size, mode="bicubic")[:, 0]).double().numpy()


def normalised(maps: Tensor) -> Tensor:
    """Return B×H×W maps scaled to 0..1 each; zeros for one without differences or with a value that is no number."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    scaled = (maps - low) / (high - low)
    usable = torch.isfinite(maps).all(2, keepdim=True).all(1, keepdim=True) & (high > low)
    return scaled.where(usable, 0)


def sweep(maps: Tensor, located: Located, rows: Tensor, thresholds: npt.NDArray[np.float64]) -> list[Any]:
    """Return the overlaps (rows×thresholds) of the largest component, and the best of any."""
    height, width = located.images.x.shape[1:3]
    pairs = zip(each(maps[rows], (height, width)), located.boxes[rows], strict=True)
    both = [overlaps(m, box, thresholds) for m, box in pairs]
    return [np.stack([one[k] for one in both]) for k in range(2)]


def overlaps(
    values: npt.NDArray[np.float64], box: Tensor, thresholds: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the intersection over union with ``box`` at every threshold, of the largest component and the best of any;
    0 where there is none."""
    true = box.double().numpy()
    largest, best = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    for i, (sizes, boxes) in enumerate(components(values, thresholds)):
        if len(sizes):
            each_iou = iou(boxes.astype(np.float64), true)
            largest[i], best[i] = each_iou[sizes.argmax()], each_iou.max()
    return largest, best


def iou(boxes: npt.NDArray[np.float64], box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the intersection over union of half-open boxes (C×4: left, top, right, bottom) with one; 0 for one without
    an area."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = sides.clip(0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1) + (box[2:] - box[:2]).clip(0).prod() - shared
    return np.divide(shared, union, out=np.zeros(len(boxes)), where=union > 0)


def _kind(condition: str) -> str:
    return condition.removeprefix("localization-").split("-t")[0]


def _any(kind: str) -> bool:
    """Return whether every component counts, and not the largest alone."""
    return kind.startswith("v2")
