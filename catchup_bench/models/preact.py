"""Pre-activation ResNets: He, Zhang, Ren and Sun, Identity Mappings in Deep Residual Networks, ECCV 2016,
arXiv 1603.05027."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .convolutions import PointwiseConv
from .staged import Head, StagedNet


class PreActBlock(nn.Module):
    """BN-ReLU-conv3×3 twice. Where no projection is needed, variant B carries ReLU(BN(x)) past the block, A and C
    the raw ``x``. ``drop`` stands on the residual branch for methods that thin it out."""

    expansion = 1

    def __init__(self, cin: int, planes: int, stride: int, activated: bool) -> None:
        super().__init__()
        cout = planes * self.expansion
        self.bn1 = nn.BatchNorm2d(cin)
        self.body = self.branch(cin, planes, stride)
        self.drop: nn.Module = nn.Identity()
        self.project = PointwiseConv(cin, cout, stride, bias=False) if stride != 1 or cin != cout else None
        self.activated = activated

    @staticmethod
    def branch(cin: int, planes: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(cin, planes, 3, stride, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x), inplace=True)
        if self.project is not None:
            x = self.project(a)
        elif self.activated:
            x = a
        return self.drop(self.body(a)) + x


class PreActBottleneck(PreActBlock):
    """BN-ReLU-conv1×1, BN-ReLU-conv3×3, BN-ReLU-conv1×1 with four times the channels at the end."""

    expansion = 4

    @staticmethod
    def branch(cin: int, planes: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(cin, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, stride, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes * 4, 1, bias=False),
        )


def preactresnet(
    block: type[PreActBlock],
    depths: tuple[int, ...],
    num_classes: int,
    width: int,
    variant: str,
    **norm: tuple[float, ...],
) -> StagedNet:
    """Pre-activation ResNet with a stride-1 3×3 stem, in the three forms found under this name.

    ``B`` (the default here): stem conv-BN-ReLU, activated shortcuts, no BN before pooling (as in the released code of
    AlignMixup, after mixup-cifar10). ``A``: stem conv alone, raw shortcuts, no BN before pooling (Manifold Mixup,
    PuzzleMix, Co-Mixup). ``C``: as ``A`` with BN-ReLU before pooling (He et al. 2016b, arXiv 1603.05027).
    """
    stem: nn.Module = nn.Conv2d(3, width, 3, 1, 1, bias=False)
    if variant == "B":
        stem = nn.Sequential(stem, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    stages, cin = [stem], width
    for i, depth in enumerate(depths):
        blocks = []
        for j in range(depth):
            blocks.append(block(cin, width * 2**i, 2 if i and not j else 1, variant == "B"))
            cin = width * 2**i * block.expansion
        stages.append(nn.Sequential(*blocks))
    last = nn.Sequential(nn.BatchNorm2d(cin), nn.ReLU(inplace=True)) if variant == "C" else None
    return StagedNet(stages, Head(cin, num_classes, last), num_classes, **norm)


def basic(*depths: int, **options: Any) -> StagedNet:
    return preactresnet(PreActBlock, depths, **options)


def bottleneck(*depths: int, **options: Any) -> StagedNet:
    return preactresnet(PreActBottleneck, depths, **options)
