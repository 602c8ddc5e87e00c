"""Find the stages of a network that was not made here, so that methods can mix after each of them.

What is found is only believed when the stages and the head, one after the other, give the same logits as the network.
The modules, and so the weights, stay the network's own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import UsageError, one_line_of
from .staged import Head, StagedNet

FAMILIES = "ResNet, ResNeXt, Wide ResNet, DenseNet, ConvNeXt, MobileNet and EfficientNet of torchvision, ResNet, \
ResNeXt, ResNetV2, DenseNet and ConvNeXt of timm, and whatever has the same attributes"
"""Networks whose stages are found, for errors."""

Parts = tuple[list[nn.Module], nn.Module]
"""Stages, and the head behind them."""

TOLERANCE = 1e-4
"""Largest difference of logits, relative to the largest of them, between the network and its stages in turn: pooling
sums in another order."""


class ExternalNet(StagedNet):
    """A network that was not made here, as stages and a head; without stages where none were found, and then its head
    is the whole network. ``classes`` is the number of its outputs, kept with its weights."""

    safe = False
    classes: Tensor

    def __init__(
        self,
        stages: Sequence[nn.Module],
        head: nn.Module,
        num_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__([*stages], head, num_classes, mean, std)
        self.register_buffer("classes", torch.tensor(num_classes))


class NormalisedNet(nn.Module):
    """A network for images in [0,1], of one that takes them normalised by ``mean`` and ``std``, three numbers each."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.net = net
        device = next((p.device for p in net.parameters()), None)
        self.register_buffer("mean", torch.tensor(mean, device=device).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, device=device).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self.mean) / self.std)


def count_outputs(net: nn.Module, size: int) -> int:
    """Return the number of logits of ``net`` for images of ``size`` pixels. Raises as :func:`find_stages`."""
    with _undisturbed(net):
        return _run(net, _probe(net, size)).shape[1]


def find_stages(
    net: nn.Module, size: int, mean: tuple[float, ...] = (0.0,) * 3, std: tuple[float, ...] = (1.0,) * 3
) -> ExternalNet:
    """Return ``net`` as stages and a head, with the constants ``mean`` and ``std`` that normalise images in [0,1].

    ``net`` takes B×3×H×W images and returns B×K logits; ``size`` is the height and width on which the stages are
    compared with it. Raises :class:`UsageError` for anything else.
    """
    with _undisturbed(net):
        found = _search(net, _probe(net, size), mean, std)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    found.to(device)
    found.training = net.training
    return found


def _search(net: nn.Module, probe: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> ExternalNet:
    logits = _run(net, probe)
    for parts in _candidates(net, probe):
        found = ExternalNet(*parts, logits.shape[1], mean, std)
        try:
            if _own(found) == _own(net) and _close(probe, found, logits):
                return found
        except (RuntimeError, TypeError, ValueError, AttributeError):
            continue  # these parts do not fit together
    return ExternalNet([], net, logits.shape[1], mean, std)


def _close(x: Tensor, found: ExternalNet, logits: Tensor) -> bool:
    """Return whether the stages and the head make the ``logits`` of already normalised images ``x``."""
    for stage in found.stages:
        x = stage(x)
        if not isinstance(x, Tensor) or x.ndim != 4:
            return False
    out = found.head(x)
    scale = logits.abs().max().clamp_min(1e-6)
    return bool(out.shape == logits.shape and (out - logits).abs().max() <= TOLERANCE * scale)


def _own(net: nn.Module) -> set[int]:
    return {id(p) for p in net.parameters()}


def _probe(net: nn.Module, size: int) -> Tensor:
    parameter = next(net.parameters(), torch.zeros(()))
    noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return noise.to(parameter.device)


def _run(net: nn.Module, probe: Tensor) -> Tensor:
    shape = tuple(probe.shape)
    try:
        logits = net(probe)
    except Exception as err:  # somebody else's network may raise anything
        raise UsageError(f"the network does not take images of shape {shape}: {one_line_of(err)}") from None
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(probe):
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"the network must return logits, a tensor of B×K, for images of {shape}; it returns {given}")
    return logits


@contextmanager
def _undisturbed(net: nn.Module) -> Iterator[None]:
    """Run passes in eval mode, without gradients; the mode of every module, and the random numbers that torch gives
    next, are as before afterwards."""
    was = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, mode in was:
            module.training = mode


def _candidates(net: nn.Module, probe: Tensor) -> Iterator[Parts]:
    for family in (_resnet, _densenet, _stem_and_stages, _features):
        yield from family(net, probe)


def _resnet(net: nn.Module, probe: Tensor) -> Iterator[Parts]:
    """``conv1``, ``bn1``, an activation, a pooling, ``layer1`` to ``layer4``, a linear layer."""
    layers = _children(net, *(f"layer{i}" for i in range(1, 5)))
    conv, norm = getattr(net, "conv1", None), getattr(net, "bn1", None)
    if len(layers) < 3 or not isinstance(conv, nn.Module) or not isinstance(norm, nn.Module):
        return
    activation = (*_children(net, "relu", "act1", "act"), nn.ReLU())[0]
    pools = (*_children(net, "maxpool")[:1], None)
    for pool in pools:
        stem = nn.Sequential(conv, norm, activation, *([pool] if pool is not None else []))
        for head in _heads(net, None):
            yield [stem, *layers], head


def _densenet(net: nn.Module, probe: Tensor) -> Iterator[Parts]:
    """``features`` with children called ``denseblock…``: each begins a stage, and the last norm is the head's."""
    features = getattr(net, "features", None)
    if not isinstance(features, nn.Sequential):
        return
    children = dict(features.named_children())
    if not any(name.startswith("denseblock") for name in children):
        return
    *names, last = children
    stages: list[list[nn.Module]] = [[]]
    for name in names:
        if name.startswith("denseblock"):
            stages.append([])
        stages[-1].append(children[name])
    for head in _heads(net, nn.Sequential(children[last], nn.ReLU())):  # where the norm has one inside, twice is once
        yield [nn.Sequential(*stage) for stage in stages], head


def _stem_and_stages(net: nn.Module, probe: Tensor) -> Iterator[Parts]:
    """timm's ConvNeXt and its kin: ``stem``, ``stages``, a norm before the head or in it, ``head``."""
    stem, stages, head = (getattr(net, name, None) for name in ("stem", "stages", "head"))
    if not isinstance(stem, nn.Module) or not isinstance(stages, nn.Sequential) or not isinstance(head, nn.Module):
        return
    norms = [m for m in _children(net, "norm_pre", "norm", "final_conv") if not isinstance(m, nn.Identity)]
    yield [stem, *stages], nn.Sequential(*norms, head)


def _features(net: nn.Module, probe: Tensor) -> Iterator[Parts]:
    """torchvision's other networks: ``features``, whose first child is the stem, ``avgpool`` and ``classifier``.

    A stage begins with every child that makes the maps smaller.
    """
    features = getattr(net, "features", None)
    if not isinstance(features, nn.Sequential) or len(features) < 3 or not isinstance(features[0], nn.Sequential):
        return
    stem, *rest = features
    stages: list[list[nn.Module]] = [[]]
    try:
        sizes = [(x := stem(probe)).shape[2], *((x := child(x)).shape[2] for child in rest)]
    except (RuntimeError, TypeError, AttributeError, IndexError):
        return
    for child, before, after in zip(rest, sizes, sizes[1:], strict=False):
        if after < before and stages[-1]:
            stages.append([])
        stages[-1].append(child)
    for head in _heads(net, None):
        yield [stem, *(nn.Sequential(*stage) for stage in stages)], head


def _heads(net: nn.Module, norm: nn.Module | None) -> Iterator[nn.Module]:
    """Yield heads that ``net`` may have behind its last map: average pooling and a linear layer, then its own modules
    for pooling and classifying, with a flattening between or without."""
    for classifier in _children(net, "fc", "classifier", "linear"):
        layers = [*classifier] if isinstance(classifier, nn.Sequential) else [classifier]
        *before, last = layers or [nn.Identity()]
        if isinstance(last, nn.Linear) and all(isinstance(layer, nn.Dropout | nn.Identity) for layer in before):
            head = Head(1, 1, norm)
            head.linear = last
            head.dropout = before[0] if before else nn.Identity()
            yield head
        pool = (*_children(net, "avgpool", "global_pool"), nn.AdaptiveAvgPool2d(1))[0]
        first = [norm] if norm is not None else []
        yield nn.Sequential(*first, pool, classifier)
        yield nn.Sequential(*first, pool, nn.Flatten(1), classifier)


def _children(net: nn.Module, *names: str) -> list[nn.Module]:
    """Return those attributes of ``net`` that are modules, in the order of ``names``."""
    found: list[Callable[..., object] | None] = [getattr(net, name, None) for name in names]
    return [module for module in found if isinstance(module, nn.Module)]
