"""The mixups of two images that another method can be put on top of, by name."""

from typing import TypeVar

from catchup_bench.method import Criterion, Method, Mixup, check

from .alignmixup import AlignMixup
from .catchup import CatchUpMix
from .cutmix import CutMix
from .fmix import FMix
from .gmix import GMix
from .hmix import HMix
from .inputmixup import InputMixup
from .manifold import ManifoldMixup
from .puzzlemix import PuzzleMix
from .randomchannelmix import RandomChannelMix
from .resizemix import ResizeMix
from .saliencymix import SaliencyMix

AT_INPUT: dict[str, type[Mixup]] = {
    "inputmixup": InputMixup,
    "cutmix": CutMix,
    "saliencymix": SaliencyMix,
    "resizemix": ResizeMix,
    "fmix": FMix,
    "hmix": HMix,
    "gmix": GMix,
}
"""Name → class of those that mix images by themselves, without a look at the network."""
BASES: dict[str, type[Method]] = {
    **AT_INPUT,
    "manifold": ManifoldMixup,
    "catchup": CatchUpMix,
    "randomchannelmix": RandomChannelMix,
    "alignmixup": AlignMixup,
    "puzzlemix": PuzzleMix,
}


M = TypeVar("M", bound=Method)


def make_base(name: str, alpha: float, criterion: Criterion, allowed: dict[str, type[M]]) -> M:
    """The mixup called ``name`` with its α; its other options are at their defaults. Raises ``ValueError`` for a name
    that is not ``allowed``."""
    check(name in allowed, "base", name, ", ".join(allowed))
    return allowed[name](alpha=alpha, criterion=criterion)  # type: ignore[call-arg]
