"""Pre-activation ResNets as functions of a state dict with the names of pytorch-cifar and mixup-cifar10, written from
the architecture (He et al., ECCV 2016) with nothing of the package."""

import torch
import torch.nn.functional as F
from torch import Tensor


def make_state(
    depths: tuple[int, ...], width: int, classes: int, *, stem_bn: bool, wide: bool, last: bool
) -> dict[str, Tensor]:
    """Return random weights: with BatchNorm ``bn1`` in the stem, of bottlenecks if ``wide``, with ``bn`` at the end."""
    gen = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def conv(name: str, cin: int, cout: int, side: int) -> None:
        state[f"{name}.weight"] = torch.randn(cout, cin, side, side, generator=gen) / (cin * side * side) ** 0.5

    def bn(name: str, channels: int) -> None:
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            state[f"{name}.{part}"] = low + torch.rand(channels, generator=gen)
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    conv("conv1", 3, width, 3)
    if stem_bn:
        bn("bn1", width)
    cin, expansion = width, 4 if wide else 1
    for i, depth in enumerate(depths, 1):
        planes = width * 2 ** (i - 1)
        for j in range(depth):
            name = f"layer{i}.{j}"
            sides = (1, 3, 1) if wide else (3, 3)
            shapes = [cin, planes, planes] if wide else [cin, planes]
            for k, (side, c) in enumerate(zip(sides, shapes, strict=True), 1):
                bn(f"{name}.bn{k}", c)
                conv(f"{name}.conv{k}", c, planes * (expansion if k == len(sides) else 1), side)
            if j == 0 and (i > 1 or cin != planes * expansion):
                conv(f"{name}.shortcut.0", cin, planes * expansion, 1)
            cin = planes * expansion
    if last:
        bn("bn", cin)
    state["linear.weight"] = torch.randn(classes, cin, generator=gen)
    state["linear.bias"] = torch.randn(classes, generator=gen)
    return state


def logits(state: dict[str, Tensor], x: Tensor, activated: bool) -> Tensor:
    """Return the logits of normalised images; ``activated`` carries the activated input past blocks, else the raw."""

    def act(name: str, h: Tensor) -> Tensor:
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(h, *parts))

    h = F.conv2d(x, state["conv1.weight"], padding=1)
    if "bn1.weight" in state:
        h = act("bn1", h)
    blocks = dict.fromkeys(".".join(k.split(".")[:2]) for k in state if k.startswith("layer"))
    for name in blocks:
        convs = [k for k in (1, 2, 3) if f"{name}.conv{k}.weight" in state]
        stride = 2 if name.endswith(".0") and not name.startswith("layer1") else 1
        a = act(f"{name}.bn1", h)
        past = a if activated else h
        if f"{name}.shortcut.0.weight" in state:
            past = F.conv2d(a, state[f"{name}.shortcut.0.weight"], stride=stride)
        for k in convs:
            weight = state[f"{name}.conv{k}.weight"]
            a = a if k == 1 else act(f"{name}.bn{k}", a)
            strided = k == (2 if len(convs) == 3 else 1)
            a = F.conv2d(a, weight, stride=stride if strided else 1, padding=weight.shape[-1] // 2)
        h = a + past
    if "bn.weight" in state:
        h = act("bn", h)
    return F.linear(h.mean((2, 3)), state["linear.weight"], state["linear.bias"])
