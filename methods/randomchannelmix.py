"""RandomChannelMix: the ablation of §B.2 of the Catch-up Mix paper (arXiv 2401.13193)."""

from dataclasses import dataclass
from typing import Literal

from .catchup import CatchUpMix


@dataclass(frozen=True, kw_only=True)
class RandomChannelMix(CatchUpMix):
    """Catch-up Mix with a uniformly random set of ⌊λC⌋ channels per sample, and no mixing of the input."""

    title = "RandomChannelMix"
    level = "feature"

    input_mix: Literal["cutmix", "inputmixup", "none"] = "none"
    channels: Literal["rfi", "random"] = "random"
