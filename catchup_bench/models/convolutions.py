"""Convolutions of stride 2 that are right on every processor: two of PyTorch's are not."""

import torch.nn.functional as F
from torch import Tensor, nn


class PointwiseConv(nn.Conv2d):
    """1×1 convolution that subsamples its input (B×C×H×W) before a convolution of stride 1, instead of striding itself.

    It is the same function with the same weights. The backward pass of the strided form in channels_last writes outside
    its buffer when there are fewer input channels than a vector register has lanes (oneDNN issue 6035): a crash or,
    without a word, a wrong gradient.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        step = self.stride[0]
        return F.conv2d(x[:, :, ::step, ::step] if step > 1 else x, self.weight, self.bias)


KIND = ((3, 3), (2, 2), (1, 1))
"""Kernel, stride and padding."""


class StridedConv(nn.Conv2d):
    """3×3 convolution of stride 2 and padding 1; on maps of one pixel, the 1×1 convolution that it then is.

    The gradient of its weights in bf16 reads memory that was never written when the maps are 1×1 (seen with torch
    2.14.1 on processors with AVX512_BF16): infinite, or any number.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] == (1, 1):
            return F.conv2d(x, self.weight[:, :, 1:2, 1:2], self.bias, groups=self.groups)
        return super().forward(x)


def make_safe(net: nn.Module) -> None:
    """Make every 3×3 convolution of stride 2 and padding 1 in ``net`` a :class:`StridedConv`, and every 1×1 convolution
    that strides a :class:`PointwiseConv`, with their weights."""
    for module in net.modules():
        if type(module) is nn.Conv2d and module.kernel_size == (1, 1) and strides_evenly(module):
            module.__class__ = PointwiseConv
        elif type(module) is nn.Conv2d and (module.kernel_size, module.stride, module.padding) == KIND:
            module.__class__ = StridedConv  # the networks are torchvision's, which makes its own convolutions


def strides_evenly(conv: nn.Conv2d) -> bool:
    """Return whether ``conv`` strides alike both ways, in one group and without padding."""
    return conv.stride[0] == conv.stride[1] > 1 and conv.groups == 1 and conv.padding in ((0, 0), "valid")
