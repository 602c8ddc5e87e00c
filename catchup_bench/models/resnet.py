"""ResNet and ResNeXt: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016,
arXiv 1512.03385; Xie, Girshick, Dollár, Tu and He, CVPR 2017, arXiv 1611.05431. The blocks are torchvision's."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ..errors import UsageError
from .convolutions import PointwiseConv
from .staged import Head, StagedNet


class Basic(BasicBlock):  # type: ignore[misc]
    """torchvision's block with ``drop`` on its residual branch (``body``), for methods that thin it out."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.drop: nn.Module = nn.Identity()

    @property
    def body(self) -> nn.Sequential:
        return nn.Sequential(self.conv1, self.bn1, self.relu, self.conv2, self.bn2)

    def forward(self, x: Tensor) -> Tensor:
        carried = x if self.downsample is None else self.downsample(x)
        h = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.drop(self.bn2(self.conv2(h))) + carried)


class Bottle(Bottleneck):  # type: ignore[misc]
    """As :class:`Basic`, of torchvision's bottleneck (v1.5: the stride is in the 3×3 convolution)."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.drop: nn.Module = nn.Identity()

    @property
    def body(self) -> nn.Sequential:
        return nn.Sequential(self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu, self.conv3, self.bn3)

    def forward(self, x: Tensor) -> Tensor:
        carried = x if self.downsample is None else self.downsample(x)
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.relu(self.bn2(self.conv2(h)))
        return self.relu(self.drop(self.bn3(self.conv3(h))) + carried)


def resnet18(**options: object) -> StagedNet:
    return resnet(Basic, (2, 2, 2, 2), **options)  # type: ignore[arg-type]


def resnet50(**options: object) -> StagedNet:
    return resnet(Bottle, (3, 4, 6, 3), **options)  # type: ignore[arg-type]


def resnext50(**options: object) -> StagedNet:
    """32×4d: 32 groups, each 4 channels wide in the first stage. Raises :class:`UsageError` for another width."""
    if options["width"] % 16:  # type: ignore[operator]
        raise UsageError(f"--width {options['width']}: resnext50 has 32 groups, so it takes multiples of 16")
    return resnet(Bottle, (3, 4, 6, 3), groups=32, group_width=4, **options)  # type: ignore[arg-type]


def resnet(
    block: type[Basic] | type[Bottle],
    depths: tuple[int, ...],
    num_classes: int,
    width: int,
    variant: str,
    groups: int = 1,
    group_width: int = 64,
    **norm: tuple[float, ...],
) -> StagedNet:
    """Post-activation ResNet; the maps after every stage are those behind its last ReLU.

    ``stem7`` is torchvision's network for 224 px: 7×7 convolution of stride 2, max-pooling. ``stem3`` is OpenMixup's
    for 32 and 64 px: 3×3 convolution of stride 1, no pooling, and the last BatchNorm of every branch begins at 0.
    """
    conv = nn.Conv2d(3, width, 7, 2, 3, bias=False) if variant == "stem7" else nn.Conv2d(3, width, 3, 1, 1, bias=False)
    stem = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    if variant == "stem7":
        stem.append(nn.MaxPool2d(3, 2, 1))
    stages, cin = [stem], width
    for i, depth in enumerate(depths):
        planes, stage = width * 2**i, nn.Sequential()
        for j in range(depth):
            stride, cout = 2 if i and not j else 1, planes * block.expansion
            project = None
            if stride != 1 or cin != cout:
                project = nn.Sequential(PointwiseConv(cin, cout, stride, bias=False), nn.BatchNorm2d(cout))
            stage.append(block(cin, planes, stride, project, groups, group_width))
            cin = cout
        stages.append(stage)
    net = StagedNet([*stages], Head(cin, num_classes), num_classes, **norm)
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        elif variant == "stem3" and isinstance(m, Basic | Bottle):
            nn.init.zeros_(m.body[-1].weight)  # type: ignore[arg-type]
    return net
