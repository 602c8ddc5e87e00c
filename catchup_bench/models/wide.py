"""Wide ResNet: Zagoruyko and Komodakis, BMVC 2016, arXiv 1605.07146."""

from torch import Tensor, nn

from .convolutions import PointwiseConv
from .staged import Head, StagedNet


class WideBlock(nn.Module):
    """BN-ReLU-conv3×3 twice, the stride in the second; a 1×1 projection of the raw ``x`` where shapes change.
    ``drop`` stands on the residual branch for methods that thin it out."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(cin),
            nn.ReLU(inplace=True),
            nn.Conv2d(cin, cout, 3, 1, 1),
            nn.BatchNorm2d(cout),
            nn.ReLU(inplace=True),
            nn.Conv2d(cout, cout, 3, stride, 1),
        )
        self.drop: nn.Module = nn.Identity()
        self.project = PointwiseConv(cin, cout, stride) if stride != 1 or cin != cout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.body(x)) + self.project(x)


def wrn16_8(num_classes: int, width: int, variant: str, **norm: tuple[float, ...]) -> StagedNet:
    """WRN-16-8 as AlignMixup and Co-Mixup released it: convolutions with bias, a last BatchNorm of momentum 0.9.

    The last stage ends before that BN-ReLU, which belongs to the head; so there are four places to mix at, and the
    methods that read the last map as it is pooled see it behind the BN-ReLU, where AlignMixup's hook is.
    """
    stages: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, width, 3, 1, 1))]
    cin = width
    for i in range(3):
        cout = 8 * width * 2**i
        stages.append(nn.Sequential(WideBlock(cin, cout, 2 if i else 1), WideBlock(cout, cout, 1)))
        cin = cout
    last = nn.Sequential(nn.BatchNorm2d(cin, momentum=0.9), nn.ReLU(inplace=True))
    return StagedNet(stages, Head(cin, num_classes, last), num_classes, **norm)
