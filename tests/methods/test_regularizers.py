"""Stochastic depth, label smoothing, Cutout, DropBlock and ShakeDrop."""

import copy
import importlib
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catchup_bench import registry
from catchup_bench.models import MODELS

cutout = importlib.import_module("catchup_bench.methods.cutout")

dropblock = importlib.import_module("catchup_bench.methods.dropblock")

shakedrop = importlib.import_module("catchup_bench.methods.shakedrop")

NAMES = ["stochdepth", "labelsmoothing", "cutout", "dropblock", "shakedrop"]


def make(name: str, **options: Any) -> Any:
    return registry.method_class(name)(**options)


def small_net(name: str = "preactresnet10") -> Any:
    torch.manual_seed(0)
    return MODELS[name].build(num_classes=5, width=8, variant="B")


def batch(n: int = 6, size: int = 16) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, size, size, generator=gen), torch.randint(5, (n,), generator=gen)


def bound(name: str, net: Any, **options: Any) -> Any:
    return make(name, **options).bind(net)


def loss(method: Any, net: Any, x: Tensor, y: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    out: Tensor = method.loss(net, x, y, None, torch.Generator().manual_seed(seed))
    return out


@pytest.mark.parametrize("name", [n for n in NAMES if n != "shakedrop"])
def test_state_dict_is_the_plain_nets(name: str) -> None:
    net = small_net()
    bound(name, net)
    assert net.state_dict().keys() == small_net().state_dict().keys()


def test_shaken_branches_end_in_one_batchnorm() -> None:
    """Behind a last convolution there is one more; behind a BatchNorm there is none."""
    net, plain = small_net(), small_net()
    bound("shakedrop", net)
    more = net.state_dict().keys() - plain.state_dict().keys()
    assert len(more) == 4 * 5 and all(".drop.0." in key for key in more)
    block = net.stages[1][0]
    block.body.append(nn.BatchNorm2d(8))
    assert isinstance(shakedrop.shaken(0.5, block), shakedrop.ShakeBranch)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "shakedrop"])
def test_evaluation_is_unaffected(name: str) -> None:
    net, plain, (x, _) = small_net().eval(), small_net().eval(), batch()
    bound(name, net)
    assert torch.equal(net.eval()(x), plain(x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stochdepth", {"rate": 0.0}),
        ("labelsmoothing", {"eps": 0.0}),
        ("cutout", {"length": 1}),
        ("dropblock", {"keep": 1.0}),
    ],
)
def test_strength_0_is_the_baseline(name: str, options: dict[str, Any]) -> None:
    net, plain, (x, y) = small_net(), small_net(), batch()
    expected = loss(make("baseline"), plain, x, y)
    assert torch.equal(loss(bound(name, net, **options), net, x, y), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 3])
def test_bf16_and_channels_last_are_finite(name: str, n: int) -> None:
    net, (x, y) = small_net().to(memory_format=torch.channels_last), batch(n)
    method, before = bound(name, net), x.clone()
    x = x.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(method, net, x, y)
    value.backward()
    assert value.isfinite() and torch.equal(x, before)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_branches_keep_dtype_and_format(dtype: torch.dtype) -> None:
    h = torch.randn(4, 8, 6, 6).to(dtype, memory_format=torch.channels_last)
    for module in (dropblock.BlockDrop(0.5, 2), shakedrop.ShakeBranch(0.5)):
        out = module(h)
        assert out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)


def test_smoothed_loss_matches_reference_and_torch() -> None:
    net, (x, y) = small_net(), batch()
    value = loss(bound("labelsmoothing", net), net, x, y)
    logits = net(x)
    assert torch.allclose(value, F.cross_entropy(logits, y, label_smoothing=0.1), atol=1e-6)
    rows = [-0.9 * p[t] - 0.1 * p.mean() for p, t in zip(logits.log_softmax(1), y, strict=True)]
    assert torch.allclose(value, torch.stack(rows).mean(), atol=1e-6)


@pytest.mark.parametrize(("height", "width", "length"), [(16, 16, 4), (32, 20, 9), (8, 8, 40)])
def test_squares_match_reference(height: int, width: int, length: int) -> None:
    mask = cutout.squares(7, height, width, length, torch.Generator().manual_seed(3))
    centre = torch.rand(2, 7, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for i in range(7):
        expected = np.zeros((height, width), dtype=bool)
        y, x = int(centre[0, i] * height), int(centre[1, i] * width)
        top, left = max(0, y - length // 2), max(0, x - length // 2)
        expected[top : y + length // 2, left : x + length // 2] = True
        assert np.array_equal(mask[i, 0].numpy(), expected)


def test_squares_are_independent_and_cover_what_the_border_leaves() -> None:
    mask = cutout.squares(20_000, 32, 32, 16, torch.Generator().manual_seed(0))[:, 0]
    area = mask.sum((1, 2)).double()
    side = np.mean([min(c + 8, 32) - max(c - 8, 0) for c in range(32)])
    assert area.max() == 16**2 and area.mean() == pytest.approx(side**2, rel=0.01)
    assert len({tuple(m.flatten().tolist()) for m in mask[:500]}) > 300


def test_cut_square_has_the_mean_colour() -> None:
    net, (x, y) = small_net(), batch()
    net.mean.copy_(torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1))
    value = loss(bound("cutout", net, length=8), net, x, y)
    mask = cutout.squares(len(x), 16, 16, 8, torch.Generator().manual_seed(0))
    normalised = ((x - net.mean) / net.std) * ~mask
    logits = net(net.stages[0](normalised), start=1)
    assert torch.allclose(value, F.cross_entropy(logits, y), atol=1e-5)


def branches(net: Any) -> list[nn.Module]:
    return [m.drop for m in net.modules() if hasattr(m, "drop")]


@pytest.mark.parametrize(("name", "attribute"), [("stochdepth", "p"), ("shakedrop", "rate")])
def test_rates_grow_linearly_with_depth(name: str, attribute: str) -> None:
    net = small_net("preactresnet18")
    bound(name, net, rate=0.4)
    drops = [m[-1] if isinstance(m, nn.Sequential) else m for m in branches(net)]
    assert [getattr(m, attribute) for m in drops] == pytest.approx([0.05 * i for i in range(1, 9)])


RESIDUAL = {
    "resnet18": (4, "stem3", 8),
    "resnet50": (4, "stem7", 16),
    "resnext50": (16, "stem3", 16),
    "wrn16-8": (1, "standard", 6),
    "pyramidnet200": (1, "standard", 66),
    "mobilenetv2": (16, "standard", 10),
}
"""Width, variant and number of residual branches."""


@pytest.mark.parametrize("network", RESIDUAL)
def test_every_residual_network_has_branches_to_thin_out(network: str) -> None:
    """A dropped branch leaves the shortcut alone; ShakeDrop gives a closing BatchNorm only to the branches of the
    wide network, which end in a convolution."""
    width, variant, count = RESIDUAL[network]
    x, y = torch.rand(4, 3, 32, 32), torch.arange(4)
    torch.manual_seed(0)
    plain = MODELS[network].build(num_classes=5, width=width, variant=variant)
    silent = copy.deepcopy(plain)
    bound("stochdepth", silent, rate=0.999)
    blocks = [m for m in silent.modules() if isinstance(getattr(m, "drop", None), nn.Module)]
    assert len(blocks) == count
    for block in blocks:
        block.drop.p = 1.0
    loss(make("baseline"), silent, x, y).backward()
    assert all(p.grad is None or not p.grad.any() for b in blocks for p in b.body.parameters())
    shaken = copy.deepcopy(plain)
    method = bound("shakedrop", shaken)
    more = shaken.state_dict().keys() - plain.state_dict().keys()
    assert len(more) == (5 * count if network == "wrn16-8" else 0)
    value = loss(method, shaken, x, y)
    value.backward()
    assert value.isfinite() and all(p.grad is not None and p.grad.isfinite().all() for p in shaken.parameters())


def test_dropblock_after_the_last_two_stages_of_pyramidnet() -> None:
    torch.manual_seed(0)
    net, x = MODELS["pyramidnet200"].build(num_classes=5, width=1, variant="standard"), torch.rand(2, 3, 16, 16)
    bound("dropblock", net, keep=0.5)
    assert [bool((net(x, stop=k) == 0).float().mean() > 0.3) for k in (2, 3, 4)] == [False, True, True]


@pytest.mark.parametrize("name", ["stochdepth", "shakedrop"])
def test_a_network_without_residual_blocks_is_refused(name: str) -> None:
    net = small_net()
    net.stages = nn.ModuleList([nn.Conv2d(3, 8, 3)])
    with pytest.raises(ValueError, match="residual"):
        bound(name, net)


def test_depth_is_dropped_by_sample_and_keeps_its_mean() -> None:
    net = small_net()
    bound("stochdepth", net)
    drop, h = branches(net)[-1], torch.ones(4000, 2, 3, 3)
    out = drop(h)
    rows = out.flatten(1)
    assert set(rows.unique().tolist()) == {0.0, 2.0} and torch.equal(rows.amin(1), rows.amax(1))
    assert out.mean() == pytest.approx(1, abs=0.05)


def shaken(h: Tensor, rate: float, seed: int) -> tuple[Tensor, Tensor]:
    """Output and gradient of the sum, written out sample by sample."""
    torch.manual_seed(seed)
    gate = float(torch.rand(()) >= rate)
    alpha, beta = torch.rand(2, len(h), 1, 1, 1)
    out, grad = torch.empty_like(h), torch.empty_like(h)
    for i in range(len(h)):
        a, b = 2 * float(alpha[i]) - 1, float(beta[i])
        out[i] = h[i] * (gate + a - gate * a)
        grad[i] = gate + b - gate * b
    return out, grad


@pytest.mark.parametrize("seed", range(6))
def test_shaken_branch_matches_reference(seed: int) -> None:
    h = torch.randn(4, 3, 2, 2, requires_grad=True)
    expected, grad = shaken(h.detach(), 0.5, seed)
    torch.manual_seed(seed)
    out = shakedrop.ShakeBranch(0.5)(h)
    out.sum().backward()
    assert torch.allclose(out, expected, atol=1e-6) and h.grad is not None and torch.allclose(h.grad, grad, atol=1e-6)


def test_shaken_branch_evaluates_to_its_mean() -> None:
    branch, h = shakedrop.ShakeBranch(0.3), torch.ones(64, 1, 1, 1)
    torch.manual_seed(0)
    mean = torch.stack([branch(h).mean() for _ in range(4000)]).mean()
    assert torch.allclose(branch.eval()(h), torch.full_like(h, 0.7)) and mean == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("block", [1, 3, 5])
def test_odd_blocks_match_torchvision(block: int) -> None:
    from torchvision.ops import drop_block2d

    h = torch.randn(5, 4, 9, 7)
    torch.manual_seed(2)
    expected = drop_block2d(h, 0.2, block)
    torch.manual_seed(2)
    assert torch.allclose(dropblock.BlockDrop(0.2, block)(h), expected, atol=1e-5)


@pytest.mark.parametrize(("block", "size"), [(4, 8), (2, 5), (4, 4), (7, 4)])
def test_blocks_match_reference(block: int, size: int) -> None:
    h = torch.randn(6, 3, size, size)
    torch.manual_seed(4)
    out = dropblock.BlockDrop(0.3, block)(h)
    torch.manual_seed(4)
    b = min(block, size)
    places = size - b + 1
    gamma = 0.3 / b**2 * size**2 / places**2
    corners = torch.empty(6, 3, places, places).bernoulli_(gamma)
    kept = torch.ones_like(h)
    for i, c, y, x in corners.nonzero().tolist():
        kept[i, c, y : y + b, x : x + b] = 0
    assert 0 < kept.mean() < 1
    assert torch.allclose(out, h * kept / kept.mean(), atol=1e-5)


@pytest.mark.parametrize(("block", "size"), [(1, 8), (4, 8), (4, 4), (4, 2)])
def test_dropped_share_and_mean(block: int, size: int) -> None:
    torch.manual_seed(0)
    out = dropblock.BlockDrop(0.1, block)(torch.ones(400, 32, size, size))
    assert (out == 0).float().mean() == pytest.approx(0.1, abs=0.02)
    assert out.mean() == pytest.approx(1, abs=1e-4)


def test_all_dropped_is_finite() -> None:
    assert torch.equal(dropblock.BlockDrop(1.0, 2)(torch.ones(1, 1, 2, 2)), torch.zeros(1, 1, 2, 2))


def test_blocks_stand_after_the_last_two_stages() -> None:
    net, (x, _) = small_net(), batch()
    bound("dropblock", net, keep=0.5)
    assert [bool((net(x, stop=k) == 0).all(dim=(2, 3)).any()) for k in (3, 4, 5)] == [False, True, True]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("stochdepth", {"rate": 1.0}),
        ("labelsmoothing", {"eps": -0.1}),
        ("cutout", {"length": -1}),
        ("dropblock", {"keep": 0.0}),
        ("dropblock", {"block": 0}),
        ("shakedrop", {"rate": 2.0}),
    ],
)
def test_bad_fields_are_named(name: str, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        make(name, **bad)
