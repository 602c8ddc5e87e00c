"""RandomChannelMix: the ablation of §B.2 of the Catch-up Mix paper (arXiv 2401.13193)."""

from dataclasses import dataclass
from typing import Literal

from .catchup import CatchUpMix


@dataclass(frozen=True, kw_only=True)
class RandomChannelMix(CatchUpMix):
    """Mix as Catch-up Mix, with a uniformly random set of ⌊λC⌋ channels per sample, and without mixing the input.

    Defaults: those of Catch-up Mix; the paper states none for it.
    Deviations: no code was released; a set for each sample, not one for the batch, is our reading of §B.2.
    Pitfalls: beside Catch-up Mix it has to be compared with ``input_mix`` = ``none``, as in Table 9.
    """

    title = "RandomChannelMix"
    level = "feature"

    input_mix: Literal["cutmix", "inputmixup", "none"] = "none"
    channels: Literal["rfi", "random"] = "random"
