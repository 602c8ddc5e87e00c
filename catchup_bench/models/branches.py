"""What stands on residual branches in evaluation, made of nothing but PyTorch's modules and a factor.

Regularizers that thin out branches put modules of their own there. An evaluation runs none of their code: what they
compute in eval mode may be a factor, after a BatchNorm or not, and that is put in their place.
"""

import torch
from torch import Tensor, nn


class Scaled(nn.Module):
    """Features times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, h: Tensor) -> Tensor:
        return h * self.factor


def put_plain_branches(plain: nn.Module, bound: nn.Module) -> None:
    """Give the ``plain`` network on its residual branches what those of the ``bound`` one compute in eval mode.

    Raises ``ValueError`` for a module that computes more than a BatchNorm and a factor.
    """
    others = dict(bound.named_modules())
    for name, block in list(plain.named_modules()):
        if type(getattr(block, "drop", None)) is nn.Identity:
            drop = getattr(others.get(name), "drop", None)
            if isinstance(drop, nn.Module) and type(drop) is not nn.Identity:
                block.drop = plain_branch(drop)


@torch.no_grad()
def plain_branch(drop: nn.Module) -> nn.Module:
    """Return a module that computes what ``drop`` does in eval mode; its weights are to be loaded. Raises
    ``ValueError`` as :func:`put_plain_branches`."""
    if type(drop) is nn.BatchNorm2d:
        return nn.BatchNorm2d(drop.num_features, drop.eps)
    parts = list(drop) if type(drop) is nn.Sequential else [drop]
    norm: nn.BatchNorm2d | None = None
    if parts and isinstance(parts[0], nn.BatchNorm2d) and type(parts[0]) is nn.BatchNorm2d:
        norm, parts = parts[0], parts[1:]
    h = torch.ones(1, 4 if norm is None else norm.num_features, 2, 2)
    for part in parts:
        was = part.training
        h = part.cpu().eval()(h)
        part.train(was)
    factor = h.flatten()[0].item()
    if not torch.equal(h, torch.full_like(h, factor)):
        raise ValueError("in evaluation a residual branch may be scaled by one factor, and nothing else")
    scaled: list[nn.Module] = [] if factor == 1 else [Scaled(factor)]
    if norm is None:
        return scaled[0] if scaled else nn.Identity()
    return nn.Sequential(nn.BatchNorm2d(norm.num_features, norm.eps), *scaled)
