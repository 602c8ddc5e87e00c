"""The table of networks; what a network is says :mod:`.staged`."""

from functools import partial
from importlib import import_module
from typing import Any

from . import keys
from .preact import PreActBlock, PreActBottleneck, preactresnet
from .pyramid import pyramidnet
from .staged import Architecture, Head, StagedNet
from .wide import wrn16_8

__all__ = ["MODELS", "Architecture", "Head", "PreActBlock", "StagedNet"]


def _preact(about: str, block: type[PreActBlock], *depths: int) -> Architecture:
    build = partial(preactresnet, block, depths)
    return Architecture(build, 64, ("B", "A", "C"), about, external_names=keys.preact)


def _torchvision(file: str, builder: str, **options: Any) -> StagedNet:
    """Build a network out of torchvision's parts, importing it only now: that takes as long as importing torch."""
    net: StagedNet = getattr(import_module(f".{file}", __package__), builder)(**options)
    return net


def _resnet(builder: str, about: str) -> Architecture:
    build = partial(_torchvision, "resnet", builder)
    return Architecture(build, 64, ("stem7", "stem3"), about, external_names=lambda _: keys.RESNET)


MODELS = {
    "preactresnet10": _preact("one block per stage; the small model for the digits", PreActBlock, 1, 1, 1, 1),
    "preactresnet18": _preact("the network of the paper's Tables 1, 2, 4 and 8 to 11", PreActBlock, 2, 2, 2, 2),
    "preactresnet34": _preact("the deeper network of basic blocks", PreActBlock, 3, 4, 6, 3),
    "preactresnet50": _preact("bottleneck blocks (Table 6)", PreActBottleneck, 3, 4, 6, 3),
    "resnet18": _resnet("resnet18", "basic blocks; stem7 for 224 px (Table 3), stem3 for 32 and 64 px (Table 6)"),
    "resnet50": _resnet("resnet50", "bottleneck blocks (Table 5)"),
    "resnext50": _resnet("resnext50", "32×4d, grouped bottleneck blocks (Table 6)"),
    "wrn16-8": Architecture(wrn16_8, 16, ("standard",), "wide blocks (Table 6)"),
    "densenet121": Architecture(
        partial(_torchvision, "densenet", "densenet121"),
        32,
        ("standard",),
        "dense blocks for 224 px; width is the growth rate (Table 3)",
        smallest=32,
        external_names=lambda _: keys.DENSENET,
    ),
    "pyramidnet200": Architecture(
        partial(pyramidnet, 22), 16, ("standard",), "bottlenecks that widen evenly, α = 240 (Table 13)"
    ),
    "mobilenetv2": Architecture(
        partial(_torchvision, "mobilenet", "mobilenetv2"),
        32,
        ("standard",),
        "inverted residuals for 224 px (§B.5)",
        external_names=lambda _: keys.MOBILENETV2,
    ),
    "vgg11": Architecture(
        partial(_torchvision, "vgg", "vgg11"),
        64,
        ("standard",),
        "eight convolutions and three linear layers, for 224 px (§B.5)",
        smallest=32,
        external_names=lambda _: keys.VGG11,
    ),
}
"""Name → architecture. The first variant is the default."""
