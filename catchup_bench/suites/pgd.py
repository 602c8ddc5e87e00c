"""Projected gradient descent (Madry et al., ICLR 2018, arXiv 1706.06083) in the l∞ ball, through torchattacks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..data.batches import batches
from . import ConditionResult, Context, Suite, balanced, fetch
from ._gradient_masking import check_eps, check_step, uniform


@dataclass(frozen=True, kw_only=True)
class PGD(Suite):
    """``steps`` steps along the sign of the gradient of the cross-entropy, each projected to the ball and to [0,1].

    ``eps`` and ``step`` are in 1/255; a step of 1 suits a ball of 4, a much larger one needs longer or more steps.
    The start is uniform in the ball, drawn per image and restart from ``seed``. An image counts as right only if it is
    right at the last iterate of every restart. ``images`` above 0 takes that many test images, the same of every
    class, instead of all. What is not the default protocol has other condition names. Beside the bits stands
    ``loss``, the mean over images of the largest cross-entropy of a restart, in nats.
    """

    about = "20 projected gradient steps in the l∞ ball from a random start, pixel space, fp32 (torchattacks)"
    cost = "21 forward, 20 backward per ε and restart"

    eps: tuple[float, ...] = (4.0,)
    step: float = 1.0
    steps: int = 20
    restarts: int = 1
    images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_step(self.step)
        for field, least in (("steps", 1), ("restarts", 1), ("images", 0)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} = {getattr(self, field)} is not allowed: it takes {least} or more")

    def conditions(self) -> list[str]:
        return [f"pgd-{e:g}{self.suffix}" for e in self.eps]

    def passes(self, condition: str) -> float:
        return self.restarts * (2 * self.steps + 1)

    @property
    def suffix(self) -> str:
        """Return the ending of the condition's name: another protocol has another name, so that no outcome replaces
        another's."""
        marks = (
            (f"step{self.step:g}", self.step != 1),
            (f"s{self.steps}", self.steps != 20),
            (f"r{self.restarts}", self.restarts != 1),
            (f"n{self.images}", self.images != 0),
            (f"seed{self.seed}", self.seed != 0),
        )
        return "".join(f"-{mark}" for mark, on in marks if on)

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, **asdict(self), "eps": self.radius(condition)}

    def radius(self, condition: str) -> float:
        return float(condition.removeprefix("pgd-").removesuffix(self.suffix))

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return super().options_of(protocols) | {"eps": sorted({p["eps"] for p in protocols})}

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        images = balanced(context, self.images, "pgd.images")
        stated = {"index": images.index.tolist()} if self.images else {}
        for condition in conditions:
            attack = self.attack(replace(context, images=images), self.radius(condition) / 255)
            attacked = [attack(*batch) for batch in batches(images, context.batch_size, context.device)]
            right, loss = (fetch(part) for part in zip(*attacked, strict=True))
            yield condition, ConditionResult(right, {"loss": float(loss.double().mean()), **stated})

    def attack(self, context: Context, eps: float) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Attack a batch: (x, y, index) → right after all restarts, largest cross-entropy; ``eps`` in pixels of
        [0,1]."""
        from torchattacks import PGD as Attack

        attack = Attack(context.net, eps=eps, alpha=self.step / 255, steps=self.steps, random_start=True)

        def run(x: Tensor, y: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            rights, losses = [], []
            for restart in range(self.restarts):
                with From(eps * uniform(x, index, "pgd-v1", context.key, self.seed, restart)):
                    adversarial = attack(x, y)
                logits = context.forward(adversarial)
                rights.append(logits.argmax(1) == y)
                losses.append(F.cross_entropy(logits, y, reduction="none"))
            return torch.stack(rights).all(0), torch.stack(losses).amax(0)

        return run


class From(TorchFunctionMode):
    """Inside, torchattacks starts at x + ``noise``: its draw is answered with what belongs to the images.

    It draws from the global generator for a whole batch, so that an image's start would depend on its neighbours and
    on the device; and a start given as its input would move the ball.
    """

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        self.noise = noise

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.uniform_ and args[0].shape == self.noise.shape:
            return args[0].copy_(self.noise)
        return func(*args, **(kwargs or {}))
