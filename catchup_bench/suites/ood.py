"""Out-of-distribution detection: do the outputs tell images of another dataset from the test images?

Conventions of the authors of ImageNet-O (Hendrycks et al., CVPR 2021, arXiv 1907.07174): the other dataset is the
positive class, the score grows with strangeness, average precision is step-wise.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import data
from ..data import Images
from ..data.batches import batches
from ..data.openood import PREFIX, is_near, names_for
from ..errors import UsageError, pick
from ..records.record import Outcome
from ..system.hardware import to_device
from . import ConditionResult, Context, Suite, fetch
from ._values import Array, pack, same, unpack

RECALL = 0.95
IMAGENET_O = "imagenet-o"

OPENOOD = "openood"
"""Stands for the near and far sets of OpenOOD."""

PRINTED = {
    "cifar100": {
        "msp": ("cross-entropy and MSP", 80.27, 77.76),
        "energy": ("cross-entropy and EBO", 80.91, 79.77),
        "max_logit": ("cross-entropy and MLS", 81.05, 79.67),
    }
}
"""AUROC in percent over near and far sets, means of three seeds (zjysteven/OpenOOD, results/cifar100.csv)."""

FIGURES = {"auroc": "AUROC", "aupr_out": "AUPR-out", "fpr95_closest": "FPR95"}


@dataclass(frozen=True, kw_only=True)
class OOD(Suite):
    """Test images against those of the dataset ``out``, or of several, separated by commas, by four scores: the
    negative maximum softmax probability (``msp``, the primary one), the negative largest logit, the energy and the
    entropy, all from one fp32 pass.

    ``inside`` says which test images stand for the known: ``all``, or ``shared``, those of classes that ``out`` has
    too, by name, as the authors of ImageNet-O take the 10,000 ImageNet images of its 200 classes. Then ``msp`` is, for
    both sets, over the logits of the shared classes alone, as theirs; the other scores are over all logits. ``auto`` is
    ``shared`` for ImageNet-O. ``out = openood`` stands for the near and far sets of OpenOOD v1.5 for CIFAR-10 and
    CIFAR-100, by its lists; their known images are those of its list, too (``inside = listed``). Images of another size
    are resized to that of the test images (bilinear, antialiased, not rounded to 8 bits). The scores themselves are
    kept, so that every metric can be computed again. The bits are those of ``clean``.
    """

    about = "test images against other datasets': AUROC, AUPR, FPR95 of four scores; needs --ood NAME"
    cost = "1 forward of both test sets"

    out: str = ""
    inside: Literal["auto", "all", "shared", "listed"] = "auto"

    def __post_init__(self) -> None:
        if not self.out:
            raise UsageError("ood: which images are out of distribution? Name their dataset: --ood NAME")
        for name in self.outs:
            if name != OPENOOD and not name.startswith(tuple(data.PREFIXES)):
                pick("dataset", name, [*data.DATASETS, OPENOOD])
        if len(set(self.outs)) < len(self.outs):
            raise UsageError(f"ood.out = {self.out} names a dataset twice")
        pick("ood.inside", self.inside, ("auto", "all", "shared", "listed"))

    @property
    def outs(self) -> tuple[str, ...]:
        """Return the names of the other datasets."""
        return tuple(name.strip() for name in self.out.split(","))

    def known(self, out: str) -> str:
        """Return which test images are the known ones beside ``out``: all, shared or listed."""
        if self.inside != "auto":
            return self.inside
        return "shared" if out == IMAGENET_O else "listed" if out.startswith(PREFIX) else "all"

    def resolve(self, dataset: str, data_dir: Any) -> Self:
        if dataset in self.outs:
            raise UsageError(f"ood.out = {self.out} is the dataset of the model itself: name another with --ood")
        if OPENOOD not in self.outs:
            return self
        names = [n for name in self.outs for n in (names_for(dataset) if name == OPENOOD else (name,))]
        return replace(self, out=",".join(names))

    def conditions(self) -> list[str]:
        return [self.condition(out) for out in self.outs]

    def condition(self, out: str) -> str:
        known = self.known(out)
        return "ood-" + re.sub(r"[^A-Za-z0-9_.]+", "-", out) + (f"-{known}" if known != "all" else "")

    def passes(self, condition: str) -> float:
        return 2

    def protocol(self, condition: str) -> dict[str, Any]:
        out = next(out for out in self.outs if self.condition(out) == condition)
        kept = {"version": self.version, "out": out, "resize": "bilinear, antialiased, to the test images' size"}
        known = self.known(out)
        return kept | ({"version": 2, "inside": known} if known != "all" else {})

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {"out": ",".join(protocol["out"] for protocol in protocols)}
        inside = {protocol.get("inside", "all") for protocol in protocols}
        suite = cls(**known)
        if any(suite.known(p["out"]) != p.get("inside", "all") for p in protocols):
            known["inside"] = inside.pop()
        return known

    @classmethod
    def contradictions(cls, outcome: Outcome) -> list[str]:
        """Compare every metric, and the numbers of images, with what the stored scores give."""
        try:
            again = stated_by(outcome.values["scores"])
            stated = {key: outcome.values[key] for key in again}
            pairs = list(_pairs("", again, stated))
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            return [f"its scores or metrics are damaged: {type(err).__name__} {err}"]
        return [f"{name} is stated as {b}, its scores give {a}" for name, a, b in pairs if not same(a, b)]

    def images_digest(self, context: Context, condition: str) -> str:
        """Return the SHA-256 of the digests of both test sets."""
        out = next(out for out in self.outs if self.condition(out) == condition)
        outside = data.load(out, "test", context.data_dir)
        return hashlib.sha256(f"{self.inner(context, out).digest()} {outside.digest()}".encode()).hexdigest()

    def inner(self, context: Context, out: str) -> Images:
        """Return the known test images beside ``out``, before classes are left out."""
        if self.known(out) != "listed":
            return context.images
        return data.load(f"{PREFIX}{context.dataset}/{context.dataset}", "test", context.data_dir)

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        scored: dict[str, tuple[Tensor, dict[str, Array]]] = {}
        for out in [out for out in self.outs if self.condition(out) in conditions]:
            outside = data.load(out, "test", context.data_dir)
            shared, known = self.shared(context, out), self.known(out)
            if shared is not None or known not in scored:  # of all and of listed images the scores are the same
                scored[known] = score(context, self.inner(context, out), shared)
            bits, inner = scored[known]
            _, outer = score(context, outside, shared)
            rows = slice(None) if shared is None else torch.isin(context.images.y, shared).numpy()
            packed = {name: {"in": pack(inner[name][rows]), "out": pack(outer[name])} for name in inner}
            values = {"positive": "out", "out_size": list(outside.x.shape[1:3]), "scores": packed, **stated_by(packed)}
            yield self.condition(out), ConditionResult(bits, values)

    def shared(self, context: Context, out: str) -> Tensor | None:
        """Return the labels of the classes that ``out`` has too, None unless only these are known. Raises
        :class:`UsageError` when the classes of the two have no common names, or no test image is of one."""
        if self.known(out) != "shared":
            return None
        names_of = [data.get(name).class_names for name in (context.dataset, out)]
        if None in names_of:
            raise UsageError(f"ood.inside = shared: {context.dataset} and {out} have no common names of classes")
        here, there = ([] if of is None else of(context.data_dir) for of in names_of)
        wanted = set(there)
        labels = torch.tensor([i for i, name in enumerate(here) if name in wanted], dtype=torch.int64)
        if not torch.isin(context.images.y, labels).any():
            raise UsageError(f"ood.inside = shared: no test image of {context.dataset} is of a class of {out}")
        return labels

    def summary(self) -> dict[str, list[str]]:
        """Return nothing: the error is that of ``clean``."""
        return {}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        rows: dict[str, float] = {}
        for condition in self.conditions():
            primary = outcomes[condition].values["metrics"]["msp"]
            rows |= {f"{condition} {label}, %": primary[key] for key, label in FIGURES.items()}
        return rows | self.openood_figures(outcomes)

    def openood_figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        """Return the mean AUROC over near and over far sets, by score, each beside the printed one, where all sets of
        OpenOOD for a dataset are there."""
        rows: dict[str, float] = {}
        for dataset, printed in PRINTED.items():
            names = names_for(dataset)
            if not set(names) <= set(self.outs):
                continue
            for kind, near in (("near", True), ("far", False)):
                sets = [self.condition(name) for name in names if is_near(name) == near]
                for score_name, (title, *values) in printed.items():
                    ours = [outcomes[c].values["metrics"][score_name]["auroc"] for c in sets]
                    rows[f"{kind}-OOD AUROC, {score_name}, %"] = sum(ours) / len(ours)
                    row = f"  OpenOOD v1.5 prints for {title}, ResNet-18, {kind}"
                    rows[row] = values[0] if near else values[1]
        return rows


def score(context: Context, images: Images, shared: Tensor | None = None) -> tuple[Tensor, dict[str, Array]]:
    """Return whether each image is classified rightly, and its scores, with ``msp`` over the classes ``shared``
    alone."""
    size = context.images.x.shape[1:3]
    columns = None if shared is None else to_device(shared, context.device)
    right, parts = [], []
    for x, y, _ in batches(images, context.batch_size, context.device):
        if x.shape[2:] != size:
            x = F.interpolate(x, tuple(size), mode="bilinear", antialias=True)
        logits = context.forward(x)
        right.append(logits.argmax(1) == y)
        parts.append(strangeness(logits, columns))
    scores = {name: fetch([part[name] for part in parts]).numpy() for name in parts[0]}
    return fetch(right), scores


def strangeness(logits: Tensor, shared: Tensor | None = None) -> dict[str, Tensor]:
    """Return float32 scores that grow with strangeness; ``msp`` knows no class but those ``shared``, as if the network
    had no other output. Raises :class:`UsageError` for half precision: it ties the scores of confident images."""
    if logits.dtype != torch.float32:
        raise UsageError(f"out-of-distribution scores need a model with float32 outputs; these are {logits.dtype}")
    log_p = logits.log_softmax(1)
    return {
        "msp": -(logits if shared is None else logits[:, shared]).softmax(1).amax(1),
        "max_logit": -logits.amax(1),
        "energy": -logits.logsumexp(1),
        "entropy": -(log_p.exp() * log_p).sum(1),
    }


def metrics(inside: npt.NDArray[Any], outside: npt.NDArray[Any]) -> dict[str, float]:
    """Compute the metrics in percent, for scores that grow with strangeness; they are compared in float64.

    FPR95 is the share of ``inside`` that is flagged at the threshold whose recall of ``outside`` is the closest to
    0.95, ties as in the code of ImageNet-O's authors, or the first that is at least 0.95, as in OpenOOD.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    if min(inside.dtype.itemsize, outside.dtype.itemsize) < 4:
        raise ValueError("scores in half precision tie: give float32 or float64")
    strange = np.concatenate([inside, outside]).astype(np.float64)
    is_out = np.repeat([0, 1], [len(inside), len(outside)])
    flagged, recall, _ = roc_curve(is_out, strange, drop_intermediate=False)
    down = slice(int(np.argmax(recall == 1)), None, -1)  # from full recall downwards, so that ties go to the higher
    shares = {
        "auroc": roc_auc_score(is_out, strange),
        "aupr_out": average_precision_score(is_out, strange),
        "aupr_in": average_precision_score(1 - is_out, -strange),
        "fpr95_closest": flagged[down][np.argmin(np.abs(recall[down] - RECALL))],
        "fpr95_at_least": flagged[np.argmax(recall >= RECALL)],
    }
    return {name: 100 * float(value) for name, value in shares.items()}


def metrics_of(packed: dict[str, dict[str, str]]) -> dict[str, dict[str, float]]:
    """Compute the metrics of an outcome from its stored scores, whether new or read from a record."""
    return {name: metrics(unpack(sides["in"]), unpack(sides["out"])) for name, sides in packed.items()}


def stated_by(packed: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return what an outcome states that follows from its stored scores."""
    sizes = {(len(unpack(sides["in"])), len(unpack(sides["out"]))) for sides in packed.values()}
    if len(sizes) != 1:
        raise ValueError("the scores are of different numbers of images")
    ((n_in, n_out),) = sizes
    return {"n_in": n_in, "n_out": n_out, "out_share": n_out / (n_out + n_in), "metrics": metrics_of(packed)}


def _pairs(name: str, again: Any, stated: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, a, b) of the numbers under the same keys of two nested dictionaries."""
    if not isinstance(again, dict):
        yield name, again, stated
        return
    if again.keys() != stated.keys():
        raise ValueError(f"{name or 'it'} has {', '.join(sorted(again.keys() ^ stated.keys()))} on one side only")
    for key in again:
        yield from _pairs(f"{name} {key}".strip(), again[key], stated[key])
