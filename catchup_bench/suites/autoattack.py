"""AutoAttack (Croce and Hein, ICML 2020, arXiv 2003.01690), its standard version, through pyautoattack."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from ..data import Images
from ..data.batches import to_unit
from . import ConditionResult, Context, Suite, balanced
from ._gradient_masking import ZERO_SHARE, check_eps

DEFAULT_EPS = {"Linf": 4.0, "L2": 0.5}


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Suite):
    """APGD-CE, then targeted APGD, targeted FAB and Square, each on what withstood those before: the worst of four.

    ``eps`` is in 1/255 for l∞ (4 if not said) and in pixels of [0,1] for l2 (0.5). ``images`` test images at most, the
    same of every class; 0 for all. Nine target classes, or all wrong ones of fewer than ten; below four classes
    targeted APGD, whose loss needs four, is left out. The library draws for whole batches, whose size is therefore
    fixed here. Its own warnings (a random or dynamic network, probabilities instead of logits, Square finding more
    than 0.2 points beyond the gradient attacks) are kept and make the outcome suspicious.
    """

    about = "worst case over APGD-CE, APGD-T, FAB-T and Square, l∞ or l2 (pyautoattack)"
    cost = "101 forward, 100 backward, and up to 8,600 forward and 1,800 backward for each image that withstands"

    norm: Literal["Linf", "L2"] = "Linf"
    eps: float | None = None
    images: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.norm not in DEFAULT_EPS:
            raise ValueError(f"norm = {self.norm!r} is not allowed: it takes {' or '.join(DEFAULT_EPS)}")
        largest = 255 if self.norm == "Linf" else math.inf
        if not isinstance(self.radius, int | float) or not 0 <= self.radius <= largest or math.isinf(self.radius):
            unit = "0 to 255, in 1/255 of the pixel range" if self.norm == "Linf" else "0 up, in pixels of [0,1]"
            raise ValueError(f"eps = {self.eps} is not allowed: for {self.norm} it takes a number from {unit}")
        if self.norm == "Linf":
            check_eps([self.radius])
        if self.images < 0:
            raise ValueError(f"images = {self.images} is not allowed: it takes 0 (all) or more")

    @property
    def radius(self) -> float:
        return DEFAULT_EPS[self.norm] if self.eps is None else self.eps

    def conditions(self) -> list[str]:
        """Return one name, another for every other protocol."""
        marks = ((f"-n{self.images}", self.images), (f"-seed{self.seed}", self.seed))
        return [f"autoattack-{self.norm.lower()}-{self.radius:g}" + "".join(mark for mark, on in marks if on)]

    def passes(self, condition: str) -> float:
        """Return the number of passes as if few images withstood the first of the four attacks."""
        return 400

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, **asdict(self), "eps": float(self.radius)}

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        count = self.images if self.images < len(context.images) else 0
        images = balanced(context, count, "autoattack.images")
        stated = {"index": images.index.tolist()} if count else {}
        for condition in conditions:
            attacked = self.attack(context, images)
            yield condition, ConditionResult(attacked.bits, {**attacked.values, **stated})

    def attack(self, context: Context, images: Images) -> ConditionResult:
        # contiguous, since the library takes views that channels_last does not allow
        x = to_unit(images.x).contiguous()
        attack = self.attacker(context, x)
        devices = [context.device] if context.device.type == "cuda" else []
        with collected_warnings() as notes, torch.random.fork_rng(devices):
            _, predicted = attack.run_standard_evaluation(x, images.y, batch_size=batch_size(images))
        values: dict[str, Any] = {"attacks": attack.attacks_to_run, "target_classes": attack.fab.n_target_classes}
        if notes:
            values["warnings"] = list(dict.fromkeys(notes))
        if suspicious := [note for note in values.get("warnings", []) if serious(note, len(images))]:
            values["suspicious"] = suspicious
        return ConditionResult(predicted.cpu() == images.y, values)

    def attacker(self, context: Context, x: torch.Tensor) -> Any:
        """Return the library's object, set to the network's number of classes."""
        from pyautoattack import AutoAttack as Library

        eps = self.radius / 255 if self.norm == "Linf" else self.radius
        attack = Library(context.net, norm=self.norm, eps=eps, seed=self.seed, device=context.device)
        with torch.inference_mode():
            classes = context.net(x[:1].to(context.device)).shape[1]
        attack.fab.n_target_classes = attack.apgd_targeted.n_target_classes = min(9, classes - 1)
        if classes < 4:
            attack.attacks_to_run.remove("apgd-t")
        return attack


def batch_size(images: Images) -> int:
    """Return the batch size: the authors' 250 at 32 px, fewer of larger images, whatever fits the device."""
    pixels = images.x.shape[1] * images.x.shape[2]
    return max(8, min(250, 250 * 32 * 32 // pixels))


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the warnings that the library logs, without the file that they refer to."""
    notes: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: notes.append(record.getMessage().split(" See ")[0])  # type: ignore[method-assign]
    logger = logging.getLogger("auto-attack")
    was, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield notes
    finally:
        logger.removeHandler(handler)
        logger.propagate = was


def serious(note: str, n: int) -> bool:
    """Return whether a warning makes the outcome suspicious; a few points without a gradient do not."""
    words = note.split()
    return "zero gradient" not in note or int(words[2]) > ZERO_SHARE * n
