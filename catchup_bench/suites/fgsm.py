"""The fast gradient sign method (Goodfellow et al., ICLR 2015, arXiv 1412.6572), through torchattacks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from . import Context, Suite, correct


@dataclass(frozen=True, kw_only=True)
class FGSM(Suite):
    """x' = clip(x + ε·sign(∇ₓ CE(f(x), y)), 0, 1) on [0,1] images in fp32, y the true label, all test images.

    ``eps`` are in 1/255. 4 is the Catch-up Mix paper's; one step is not a robustness guarantee.
    """

    about = "one gradient step in the l∞ ball, pixel space, fp32 (torchattacks)"
    cost = "2 forward, 1 backward per ε"

    eps: tuple[float, ...] = (4.0,)

    def __post_init__(self) -> None:
        if not self.eps or any(not 0 <= e <= 255 for e in self.eps):
            raise ValueError(
                f"eps = {self.eps} is not allowed: it takes numbers from 0 to 255, in 1/255 of the pixel range"
            )

    def conditions(self) -> list[str]:
        return [f"fgsm-{e:g}" for e in self.eps]

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, "eps": _eps(condition)}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"eps": sorted({p["eps"] for p in protocols})}

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        from torchattacks import FGSM as Attack

        for condition in conditions:
            attack = Attack(context.net, eps=_eps(condition) / 255)
            yield condition, correct(context, lambda x, y, index, attack=attack: attack(x, y))  # type: ignore[misc]


def _eps(condition: str) -> float:
    return float(condition.removeprefix("fgsm-"))
