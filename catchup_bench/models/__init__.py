"""The table of networks, without torch: what a network is says :mod:`.staged`; its builder is imported when it
builds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import keys

if TYPE_CHECKING:
    from .preact import PreActBlock
    from .staged import Head, StagedNet

__all__ = ["LIBRARIES", "MODELS", "Architecture", "Head", "PreActBlock", "StagedNet"]

LIBRARIES = ("timm:", "torchvision:")
"""Prefixes of networks that a library makes."""

_NEED_TORCH = {"Head": "staged", "PreActBlock": "preact", "StagedNet": "staged"}


def __getattr__(name: str) -> Any:
    """Import the classes of networks only when they are asked for, as they take torch."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_NEED_TORCH[name]}", __name__), name)


@dataclass(frozen=True)
class Architecture:
    """An entry of the table of networks. ``smallest`` is the side in pixels below which its last maps vanish;
    ``external_names(variant)`` leads from the names that the weights have elsewhere to those here (see
    :mod:`.keys`)."""

    build: "Callable[..., StagedNet]"
    width: int
    variants: tuple[str, ...]
    about: str
    smallest: int = 1
    external_names: Callable[[str], Mapping[str, str]] = lambda variant: {}


def lazily(function: str, *args: Any) -> "Callable[..., StagedNet]":
    """Return ``file.function`` of this folder with its first arguments, to be imported when it is called."""
    file, _, name = function.partition(".")
    return partial(_build, file, name, *args)


def _build(file: str, function: str, *args: Any, **options: Any) -> "StagedNet":
    net: StagedNet = getattr(import_module(f".{file}", __package__), function)(*args, **options)
    return net


def _preact(about: str, kind: str, *depths: int) -> Architecture:
    build = lazily(f"preact.{kind}", *depths)
    return Architecture(build, 64, ("B", "A", "C"), about, external_names=keys.preact)


def _resnet(builder: str, about: str) -> Architecture:
    build = lazily(f"resnet.{builder}")
    return Architecture(build, 64, ("stem7", "stem3"), about, external_names=lambda _: keys.RESNET)


MODELS = {
    "preactresnet10": _preact("one block per stage; the small model for the digits", "basic", 1, 1, 1, 1),
    "preactresnet18": _preact("the network of the paper's Tables 1, 2, 4 and 8 to 11", "basic", 2, 2, 2, 2),
    "preactresnet34": _preact("the deeper network of basic blocks", "basic", 3, 4, 6, 3),
    "preactresnet50": _preact("bottleneck blocks (Table 6)", "bottleneck", 3, 4, 6, 3),
    "resnet18": _resnet("resnet18", "basic blocks; stem7 for 224 px (Table 3), stem3 for 32 and 64 px (Table 6)"),
    "resnet50": _resnet("resnet50", "bottleneck blocks (Table 5)"),
    "resnext50": _resnet("resnext50", "32×4d, grouped bottleneck blocks (Table 6)"),
    "wrn16-8": Architecture(lazily("wide.wrn16_8"), 16, ("standard",), "wide blocks (Table 6)"),
    "densenet121": Architecture(
        lazily("densenet.densenet121"),
        32,
        ("standard",),
        "dense blocks for 224 px; width is the growth rate (Table 3)",
        smallest=32,
        external_names=lambda _: keys.DENSENET,
    ),
    "pyramidnet200": Architecture(
        lazily("pyramid.pyramidnet", 22), 16, ("standard",), "bottlenecks that widen evenly, α = 240 (Table 13)"
    ),
    "mobilenetv2": Architecture(
        lazily("mobilenet.mobilenetv2"),
        32,
        ("standard",),
        "inverted residuals for 224 px (§B.5)",
        external_names=lambda _: keys.MOBILENETV2,
    ),
    "vgg11": Architecture(
        lazily("vgg.vgg11"),
        64,
        ("standard",),
        "eight convolutions and three linear layers, for 224 px (§B.5)",
        smallest=32,
        external_names=lambda _: keys.VGG11,
    ),
}
"""Name → architecture. The first variant is the default."""
