"""Out-of-distribution detection: do the outputs tell images of another dataset from the test images?

Conventions of the authors of ImageNet-O (Hendrycks et al., CVPR 2021, arXiv 1907.07174): the other dataset is the
positive class, the score grows with strangeness, average precision is step-wise.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import data
from ..data import Images
from ..data.batches import batches
from ..errors import UsageError, pick
from ..records.record import Outcome
from ..system.hardware import to_device
from . import ConditionResult, Context, Suite, fetch
from ._values import Array, pack, same, unpack

RECALL = 0.95
IMAGENET_O = "imagenet-o"

FIGURES = {"auroc": "AUROC", "aupr_out": "AUPR-out", "fpr95_closest": "FPR95"}


@dataclass(frozen=True, kw_only=True)
class OOD(Suite):
    """Test images against those of the dataset ``out``, by four scores: the negative maximum softmax probability
    (``msp``, the primary one), the negative largest logit, the energy and the entropy, all from one fp32 pass.

    ``inside`` says which test images stand for the known: ``all``, or ``shared``, those of classes that ``out`` has
    too, by name, as the authors of ImageNet-O take the 10,000 ImageNet images of its 200 classes. Then ``msp`` is, for
    both sets, over the logits of the shared classes alone, as theirs; the other scores are over all logits. ``auto`` is
    ``shared`` for ImageNet-O. Images of another size are resized to that of the test images (bilinear, antialiased, not
    rounded to 8 bits). The scores themselves are kept, so that every metric can be computed again. The bits are those
    of ``clean``.
    """

    about = "test images against another dataset's: AUROC, AUPR, FPR95 of four scores; needs --ood NAME"
    cost = "1 forward of both test sets"

    out: str = ""
    inside: Literal["auto", "all", "shared"] = "auto"

    def __post_init__(self) -> None:
        if not self.out:
            raise UsageError("ood: which images are out of distribution? Name their dataset: --ood NAME")
        if not self.out.startswith(tuple(data.PREFIXES)):
            pick("dataset", self.out, data.DATASETS)
        pick("ood.inside", self.inside, ("auto", "all", "shared"))

    @property
    def only_shared(self) -> bool:
        """Return whether only the classes that both datasets have are known."""
        return self.inside == "shared" or (self.inside == "auto" and self.out == IMAGENET_O)

    def resolve(self, dataset: str, data_dir: Any) -> Self:
        if dataset == self.out:
            raise UsageError(f"ood.out = {self.out} is the dataset of the model itself: name another with --ood")
        return self

    def conditions(self) -> list[str]:
        return ["ood-" + re.sub(r"[^A-Za-z0-9_.]+", "-", self.out) + "-shared" * self.only_shared]

    def passes(self, condition: str) -> float:
        return 2

    def protocol(self, condition: str) -> dict[str, Any]:
        kept = {"version": self.version, "out": self.out, "resize": "bilinear, antialiased, to the test images' size"}
        return kept | ({"version": 2, "inside": "shared"} if self.only_shared else {})

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {key: protocols[0][key] for key in ("out", "inside") if key in protocols[0]}
        return {"inside": "all"} | known if known.get("out") == IMAGENET_O else known

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
        outside = data.load(self.out, "test", context.data_dir)
        return hashlib.sha256(f"{context.images.digest()} {outside.digest()}".encode()).hexdigest()

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        outside = data.load(self.out, "test", context.data_dir)
        shared = self.shared(context)
        bits, inner = score(context, context.images, shared)
        _, outer = score(context, outside, shared)
        rows = slice(None) if shared is None else torch.isin(context.images.y, shared).numpy()
        packed = {name: {"in": pack(inner[name][rows]), "out": pack(outer[name])} for name in inner}
        values = {"positive": "out", "out_size": list(outside.x.shape[1:3]), "scores": packed, **stated_by(packed)}
        for condition in conditions:
            yield condition, ConditionResult(bits, values)

    def shared(self, context: Context) -> Tensor | None:
        """Return the labels of the classes that ``out`` has too, None for ``all``. Raises :class:`UsageError` when the
        classes of the two have no common names, or no test image is of one."""
        if not self.only_shared:
            return None
        names_of = [data.get(name).class_names for name in (context.dataset, self.out)]
        if None in names_of:
            raise UsageError(f"ood.inside = shared: {context.dataset} and {self.out} have no common names of classes")
        here, there = ([] if of is None else of(context.data_dir) for of in names_of)
        wanted = set(there)
        labels = torch.tensor([i for i, name in enumerate(here) if name in wanted], dtype=torch.int64)
        if not torch.isin(context.images.y, labels).any():
            raise UsageError(f"ood.inside = shared: no test image of {context.dataset} is of a class of {self.out}")
        return labels

    def summary(self) -> dict[str, list[str]]:
        """Return nothing: the error is that of ``clean``."""
        return {}

    def figures(self, outcomes: dict[str, Outcome]) -> dict[str, float]:
        condition = self.conditions()[0]
        primary = outcomes[condition].values["metrics"]["msp"]
        return {f"{condition} {label}, %": primary[key] for key, label in FIGURES.items()}


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
