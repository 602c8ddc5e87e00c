"""DenseNet: Huang, Liu, van der Maaten and Weinberger, CVPR 2017, arXiv 1608.06993. The layers are torchvision's."""

from torch import nn
from torchvision.models import DenseNet

from .staged import Head, StagedNet


def densenet121(num_classes: int, width: int, variant: str, **norm: tuple[float, ...]) -> StagedNet:
    """Build DenseNet-121 of growth rate ``width``; a stage is a dense block with the transition behind it, the last one
    ends before the final BN-ReLU (the hook points of the fine-grained code of Catch-up Mix's authors)."""
    whole = DenseNet(growth_rate=width, num_init_features=2 * width, num_classes=num_classes)
    parts = whole.features
    stages: list[nn.Module] = [nn.Sequential(parts.conv0, parts.norm0, parts.relu0, parts.pool0)]
    for i in (1, 2, 3):
        stages.append(nn.Sequential(parts.get_submodule(f"denseblock{i}"), parts.get_submodule(f"transition{i}")))
    stages.append(nn.Sequential(parts.denseblock4))
    head = Head(whole.classifier.in_features, num_classes, nn.Sequential(parts.norm5, nn.ReLU(inplace=True)))
    head.linear = whole.classifier
    return StagedNet(stages, head, num_classes, **norm)
