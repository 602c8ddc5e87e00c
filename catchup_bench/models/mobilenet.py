"""MobileNetV2: Sandler, Howard, Zhu, Zhmoginov and Chen, CVPR 2018, arXiv 1801.04381. The layers are torchvision's."""

from torch import Tensor, nn
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual

from .keys import MOBILENETV2_STAGES
from .staged import Head, StagedNet


class Inverted(InvertedResidual):  # type: ignore[misc]
    """torchvision's block; where it has a shortcut, ``drop`` stands on the branch beside it."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        if self.use_res_connect:
            self.drop: nn.Module = nn.Identity()

    @property
    def body(self) -> nn.Sequential:
        branch: nn.Sequential = self.conv
        return branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.conv(x)) if self.use_res_connect else self.conv(x)


def mobilenetv2(num_classes: int, width: int, variant: str, **norm: tuple[float, ...]) -> StagedNet:
    """Build MobileNetV2 with ``width`` channels after the stem (its multiplier is ``width``/32, channels rounded to 8).

    Eight stages, as Catch-up Mix counts them; the last 1×1 convolution belongs to the head.
    """
    whole = MobileNetV2(num_classes=num_classes, width_mult=width / 32, block=Inverted)
    stages: list[nn.Module] = [nn.Sequential(*whole.features[a:b]) for a, b in MOBILENETV2_STAGES]
    head = Head(whole.last_channel, num_classes, whole.features[18], dropout=0.2)
    head.linear = whole.classifier[1]
    return StagedNet(stages, head, num_classes, **norm)
