"""The strided 1×1 convolution of a residual block's shortcut."""

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
