"""Finding the stages of networks that were made elsewhere: what is found computes what the network does."""

import pytest
import timm
import torch
from torch import nn
from torchvision.models import densenet, efficientnet, resnet
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.mobilenetv2 import MobileNetV2

from catchup_bench.errors import UsageError
from catchup_bench.models.staging import NormalisedNet, count_outputs, find_stages


class Small(nn.Module):
    """As the ResNets of small images are written: activations are functions, and there is no pooling in the stem."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4)
        for i, (cin, cout) in enumerate([(4, 4), (4, 8), (8, 8), (8, 12)], start=1):
            setattr(self, f"layer{i}", nn.Sequential(nn.Conv2d(cin, cout, 3, 2, 1), nn.BatchNorm2d(cout), nn.ReLU()))
        self.linear = nn.Linear(12, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        for i in range(1, 5):
            h = getattr(self, f"layer{i}")(h)
        return self.linear(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))


class Odd(Small):
    """Has the attributes of a ResNet and computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flip(3) * 2)


def tiny_convnext() -> nn.Module:
    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 1), CNBlockConfig(24, None, 1)], num_classes=7)


FOUND = {
    "torchvision resnet": (lambda: resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=7), 5, True),
    "torchvision resnext": (
        lambda: resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=7, groups=32, width_per_group=4),
        5,
        True,
    ),
    "torchvision densenet": (lambda: densenet.DenseNet(4, (2, 2, 2), 8, num_classes=7), 4, True),
    "torchvision convnext": (tiny_convnext, 4, False),
    "torchvision mobilenet": (lambda: MobileNetV2(num_classes=7, width_mult=0.25), 6, True),
    "torchvision efficientnet": (lambda: efficientnet.efficientnet_b0(num_classes=7), 6, True),
    "timm resnet": (lambda: timm.create_model("resnet10t", num_classes=7), 5, True),
    "timm resnext": (lambda: timm.create_model("resnext26ts", num_classes=7), 5, False),
    "timm densenet": (lambda: timm.create_model("densenet121", num_classes=7, growth_rate=4), 5, True),
    "timm convnext": (lambda: timm.create_model("convnext_atto", num_classes=7), 5, False),
    "one's own": (Small, 5, True),
}


@pytest.mark.parametrize("name", FOUND)
def test_stages_in_turn_are_the_network(name: str) -> None:
    """After any stage, with other images and constants than those they were found with; the weights stay its own."""
    make, count, linear = FOUND[name]
    torch.manual_seed(0)
    net = make()
    for m in net.modules():  # as after training: no branch is zero
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
    before = torch.random.get_rng_state()
    found = find_stages(net, 64, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    assert torch.equal(before, torch.random.get_rng_state()) and net.training and found.training
    assert (len(found.stages), found.num_classes, int(found.classes)) == (count, 7, 7)
    assert hasattr(found.head, "linear") == linear
    assert {id(p) for p in found.parameters()} == {id(p) for p in net.parameters()}
    net.eval()
    found.eval()
    x = torch.rand(3, 3, 48, 48)
    expected = net((x - found.mean) / found.std)
    for k in range(count + 1):
        torch.testing.assert_close(found(found(x, stop=k), start=k), expected, rtol=1e-3, atol=1e-4)
    found(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("make", [Odd, lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 7))])
def test_what_has_no_stages_is_one_head(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = make()
    found = find_stages(net, 64)
    x = torch.rand(2, 3, 64, 64)
    assert len(found.stages) == 0 and found.head is net and found.num_classes == 7
    assert torch.equal(found.eval()(x), net(x))


def test_the_state_says_how_many_classes_it_knows() -> None:
    from catchup_bench.runs.checkpoint import num_classes

    found = find_stages(timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=1, img_size=32), 32)
    assert len(found.stages) == 0 and num_classes(found.state_dict()) == 7


def test_networks_of_something_else_are_refused() -> None:
    for net, said in (
        (nn.Linear(5, 2), "does not take images of shape (2, 3, 8, 8): RuntimeError"),
        (nn.Conv2d(3, 4, 1), "it returns (2, 4, 8, 8)"),
        (nn.LSTM(8, 2), "does not take images"),
    ):
        with pytest.raises(UsageError) as err:
            count_outputs(net, 8)
        assert said in str(err.value) and "\n" not in str(err.value)


def test_normalised_networks_divide_by_the_deviation() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    x = torch.rand(2, 3, 4, 4)
    expected = net((x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 1.0]).view(3, 1, 1))
    torch.testing.assert_close(NormalisedNet(net, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))(x), expected)
