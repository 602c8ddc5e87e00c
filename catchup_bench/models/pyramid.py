"""PyramidNet: Han, Kim and Kim, Deep Pyramidal Residual Networks, CVPR 2017, arXiv 1610.02915."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from .staged import Head, StagedNet


class PyramidBlock(nn.Module):
    """BN-conv1×1-BN-ReLU-conv3×3-BN-ReLU-conv1×1-BN beside a shortcut without parameters: pooled where the stride is
    2, filled up with empty channels. ``drop`` stands on the residual branch for methods that thin it out."""

    def __init__(self, cin: int, planes: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(cin),
            nn.Conv2d(cin, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, stride, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes * 4, 1, bias=False),
            nn.BatchNorm2d(planes * 4),
        )
        self.drop: nn.Module = nn.Identity()
        self.stride = stride
        self.empty = planes * 4 - cin

    def forward(self, x: Tensor) -> Tensor:
        out = self.drop(self.body(x))
        if self.stride != 1:
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        return out + F.pad(x, (0, 0, 0, 0, 0, self.empty))


def pyramidnet(depth: int, num_classes: int, width: int, variant: str, **norm: tuple[float, ...]) -> StagedNet:
    """Build PyramidNet for 32 px with ``depth`` bottleneck blocks in each of three stages, as CutMix released it.

    Planes grow by the same amount with every block, by 15 times ``width`` in all: α = 240 for the published 16.
    """
    stages: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))]
    cin, planes = width, float(width)
    for i in range(3):
        stage = nn.Sequential()
        for j in range(depth):
            planes += 15 * width / (3 * depth)
            stage.append(PyramidBlock(cin, round(planes), 2 if i and not j else 1))
            cin = 4 * round(planes)
        stages.append(stage)
    last = nn.Sequential(nn.BatchNorm2d(cin), nn.ReLU(inplace=True))
    net = StagedNet(stages, Head(cin, num_classes, last), num_classes, **norm)
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, 0, math.sqrt(2 / (m.kernel_size[0] * m.kernel_size[1] * m.out_channels)))
    return net
