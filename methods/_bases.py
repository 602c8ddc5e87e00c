"""The mixups of two images that another method can be put on top of, by name."""

from catchup_bench.method import Criterion, Mixup, check

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

AT_INPUT = {
    "inputmixup": InputMixup,
    "cutmix": CutMix,
    "saliencymix": SaliencyMix,
    "resizemix": ResizeMix,
    "fmix": FMix,
    "hmix": HMix,
    "gmix": GMix,
}
"""Name → class of those that mix images by themselves, without a look at the network."""
BASES: dict[str, type[Mixup]] = {
    **AT_INPUT,
    "manifold": ManifoldMixup,
    "catchup": CatchUpMix,
    "randomchannelmix": RandomChannelMix,
    "alignmixup": AlignMixup,
    "puzzlemix": PuzzleMix,
}


def make_base(name: str, alpha: float, criterion: Criterion, allowed: dict[str, type[Mixup]]) -> Mixup:
    """The mixup called ``name`` with its α; its other options are at their defaults. Raises ``ValueError`` for a name
    that is not ``allowed``."""
    check(name in allowed, "base", name, ", ".join(allowed))
    return allowed[name](alpha=alpha, criterion=criterion)  # type: ignore[call-arg]
