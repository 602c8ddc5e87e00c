"""VGG: Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556. The convolutions are torchvision's."""

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from .staged import StagedNet


class VGGHead(nn.Module):
    """The last max-pooling, pooling to 7×7, and three linear layers; ``features`` gives what enters the last of
    them."""

    def __init__(self, channels: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.MaxPool2d(2, 2), nn.AdaptiveAvgPool2d(7), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, num_classes),
        )

    def features(self, h: Tensor) -> Tensor:
        return self.classifier[:-1](self.pool(h))

    def forward(self, h: Tensor) -> Tensor:
        return self.classifier[-1](self.features(h))


def vgg11(num_classes: int, width: int, variant: str, **norm: tuple[float, ...]) -> StagedNet:
    """Build VGG-11 without BatchNorm, ``width`` channels in the first layer and 64·``width`` in the hidden linear ones.

    Each of the eight convolutions is a stage that ends behind its ReLU; a max-pooling opens the stage after it.
    """
    layers = make_layers([c if c == "M" else c * width // 64 for c in cfgs["A"]])
    starts = [i - isinstance(layers[i - 1], nn.MaxPool2d) for i, m in enumerate(layers) if isinstance(m, nn.Conv2d)]
    starts[0] = 0
    ends = [*starts[1:], len(layers) - 1]
    stages: list[nn.Module] = [nn.Sequential(*layers[a:b]) for a, b in zip(starts, ends, strict=True)]
    net = StagedNet(stages, VGGHead(8 * width, 64 * width, num_classes), num_classes, **norm)
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(m.bias)  # type: ignore[arg-type]
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0, 0.01)
            nn.init.zeros_(m.bias)
    return net
