"""The fast gradient sign method (Goodfellow et al., ICLR 2015, arXiv 1412.6572), through torchattacks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..records.attack_checks import POINTS
from . import ConditionResult, Context, Suite
from ._gradient_masking import ZERO_SHARE, Direction, Seen, check_eps, margin_sign, random_sign, sweep


@dataclass(frozen=True, kw_only=True)
class FGSM(Suite):
    """x' = clip(x + ε·sign(∇ₓ CE(f(x), y)), 0, 1) on [0,1] images in fp32, y the true label, all test images.

    ``eps`` are in 1/255; all share one gradient. 4 is the Catch-up Mix paper's; one step is not a robustness
    guarantee. Beside the bits stand the mean cross-entropy in nats (``loss``), the number of images whose gradient is
    zero in every pixel, and the error under random signs of the same ε. Where more than 0.5 % of the gradients are
    zero, also the error when the logit margin is attacked instead.
    """

    about = "one gradient step in the l∞ ball, pixel space, fp32 (torchattacks)"
    cost = "1 forward, 1 backward, and 2 forward per ε"

    eps: tuple[float, ...] = (4.0,)

    def __post_init__(self) -> None:
        check_eps(self.eps)

    def conditions(self) -> list[str]:
        return [f"fgsm-{e:g}" for e in self.eps]

    def passes(self, condition: str) -> float:
        return 2 + 2 / len(self.eps)

    def protocol(self, condition: str) -> dict[str, Any]:
        return {"version": self.version, "eps": _eps(condition)}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"eps": sorted({p["eps"] for p in protocols})}

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        eps = [_eps(condition) for condition in conditions]
        passes_seen = sweep(context, eps, gradient_sign(context))
        noise = sweep(context, eps, random_sign(context.key))
        masked = passes_seen[0].still > ZERO_SHARE * len(context.images)
        margin = sweep(context, eps, margin_sign(context.net)) if masked else [None] * len(eps)
        for condition, seen, by_noise, by_margin in zip(conditions, passes_seen, noise, margin, strict=True):
            yield condition, ConditionResult(seen.bits, values(seen, by_noise, by_margin))


def gradient_sign(context: Context) -> Direction:
    """Return the sign of the gradient of the mean cross-entropy, as torchattacks finds it.

    A step of ±1 in pixels of [0,1] ends at 0 or 1 wherever there is a gradient, so that the difference of both ends is
    its sign, exactly. Any ε can then be stepped from the one gradient that torchattacks computed.
    """
    from torchattacks import FGSM as Attack

    both = torch.tensor([1.0, -1.0], device=context.device).view(2, 1, 1, 1, 1)
    attack = Attack(context.net, eps=both)

    def direction(x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        up, down = attack(x, y)
        return up - down

    return direction


def values(seen: Seen, noise: Seen, margin: Seen | None) -> dict[str, Any]:
    """Return what is stored beside the bits; ``suspicious`` only where a check fails."""
    stored: dict[str, Any] = {"loss": seen.loss, "zero_gradients": seen.still, "random_sign_error": noise.error}
    suspicious = []
    if margin is not None:
        stored["margin_error"] = margin.error
        suspicious.append(
            f"{seen.still} of {len(seen.bits)} gradients are zero; attacking the logit margin: {margin.error:.2f} %"
        )
    if noise.error > seen.error + POINTS or noise.loss > seen.loss:
        suspicious.append(f"random signs are no weaker: error {noise.error:.2f} %, loss {noise.loss:.3g}")
    return stored | ({"suspicious": suspicious} if suspicious else {})


def _eps(condition: str) -> float:
    return float(condition.removeprefix("fgsm-"))
