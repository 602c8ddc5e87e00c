"""SnapMix against a plain reference, image by image."""

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench import registry
from catchup_bench.method import beta, permutation
from catchup_bench.models import MODELS

snapmix = importlib.import_module("catchup_bench.methods.snapmix")

regions = importlib.import_module("catchup_bench.methods._regions")

Bounds = tuple[int, int, int, int]


def make(name: str, **options: Any) -> Any:
    return registry.method_class(name)(**options)


def small_net() -> Any:
    torch.manual_seed(0)
    return MODELS["preactresnet10"].build(num_classes=5, width=8, variant="B")


def box(bounds: Bounds, height: int, width: int) -> Any:
    """The box [top, bottom) x [left, right)."""
    top, bottom, left, right = bounds
    rows, cols = torch.arange(height), torch.arange(width)
    return regions.Box(regions.span((rows >= top) & (rows < bottom)), regions.span((cols >= left) & (cols < right)))


def bounds(drawn: Any) -> Bounds:
    rows, cols = drawn.rows, drawn.cols
    return int(rows.start), int(rows.stop), int(cols.start), int(cols.stop)


def slow_paste(x: Tensor, partner: Tensor, target: Bounds, source: Bounds) -> Tensor:
    """Cut out, resize, paste, for images C×H×W."""
    t, b, l, r = target  # noqa: E741
    t2, b2, l2, r2 = source
    out = x.clone()
    if (b - t) * (r - l) * (b2 - t2) * (r2 - l2) > 0:
        patch = partner[None, :, t2:b2, l2:r2]
        out[:, t:b, l:r] = F.interpolate(patch, size=(b - t, r - l), mode="bilinear", align_corners=True)[0]
    return out


@st.composite
def boxes(draw: st.DrawFn, height: int, width: int) -> Bounds:
    rows = sorted(draw(st.lists(st.integers(0, height), min_size=2, max_size=2)))
    cols = sorted(draw(st.lists(st.integers(0, width), min_size=2, max_size=2)))
    return rows[0], rows[1], cols[0], cols[1]


@settings(max_examples=150, deadline=None)
@given(boxes(17, 32), boxes(17, 32))
def test_region_is_what_cut_resize_paste_gives(target: Bounds, source: Bounds) -> None:
    x = torch.rand(3, 3, 17, 32, generator=torch.Generator().manual_seed(0))
    perm = torch.tensor([1, 2, 0])
    out = snapmix.paste_region(x, perm, box(target, 17, 32), box(source, 17, 32))
    expected = torch.stack([slow_paste(x[i], x[perm[i]], target, source) for i in range(3)])
    assert torch.allclose(out, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pasting_keeps_dtype_and_format(dtype: torch.dtype) -> None:
    x = torch.rand(3, 3, 16, 16).to(dtype, memory_format=torch.channels_last)
    out = snapmix.paste_region(x, torch.tensor([1, 2, 0]), box(SOME, 16, 16), box(WHOLE, 16, 16))
    assert out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)


def slow_map(h: Tensor, linear: nn.Linear, label: int, size: tuple[int, int]) -> Tensor:
    """Class activation map of one image's h (C×h×w), as percents."""
    cam = sum(linear.weight[label, c] * h[c].clamp_min(0) for c in range(len(h))) + linear.bias[label]
    up = F.interpolate(cam[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    up = up - up.min()
    return up / up.sum()


def slow_weights(own: Tensor, other: Tensor, same: bool, target: Bounds, source: Bounds) -> tuple[Tensor, Tensor]:
    t, b, l, r = target  # noqa: E741
    t2, b2, l2, r2 = source
    area = (b - t) * (r - l)
    if area * (b2 - t2) * (r2 - l2) == 0:
        return torch.tensor(1.0), torch.tensor(0.0)
    w_a, w_b = 1 - own[t:b, l:r].sum() / (own.sum() + 1e-8), other[t2:b2, l2:r2].sum() / (other.sum() + 1e-8)
    return (w_a + w_b, w_a + w_b) if same else (w_a, w_b)


def test_loss_of_a_mixed_batch_matches_reference() -> None:
    net, n = small_net(), 8
    x, y = torch.rand(n, 3, 16, 16), torch.randint(3, (n,))
    loss = make("snapmix").bind(net).loss(net, x, y, 0, torch.Generator().manual_seed(2))
    gen = torch.Generator().manual_seed(2)
    perm = permutation(n, gen)
    target, source = (bounds(regions.draw_box(1 - beta(1.0, gen), 16, 16, gen)) for _ in range(2))
    h, linear = net(x, stop=5).detach(), net.head.linear
    spm = [slow_map(h[i], linear, int(y[i]), (16, 16)) for i in range(n)]
    mixed = torch.stack([slow_paste(x[i], x[perm[i]], target, source) for i in range(n)])
    log_p, total = net(mixed).log_softmax(1), torch.zeros(())
    for i in range(n):
        j = int(perm[i])
        w_a, w_b = slow_weights(spm[i], spm[j], bool(y[i] == y[j]), target, source)
        total = total - w_a * log_p[i, y[i]] - w_b * log_p[i, y[j]]
    assert bounds_area(target) > 0 and bounds_area(source) > 0
    assert torch.allclose(loss, total / n, atol=1e-5, rtol=0)


def bounds_area(b: Bounds) -> int:
    return (b[1] - b[0]) * (b[3] - b[2])


def percent_maps(n: int = 4, size: tuple[int, int] = (16, 16)) -> Tensor:
    out: Tensor = snapmix.semantic_percent_map(
        torch.randn(n, 8, 4, 4), nn.Linear(8, 5), torch.arange(n) % 5, size
    ).detach()
    return out


def test_maps_sum_to_1_and_are_not_negative() -> None:
    spm = percent_maps(6, (17, 23))
    assert spm.shape == (6, 17, 23) and (spm >= 0).all()
    assert torch.allclose(spm.sum((1, 2)), torch.ones(6), atol=1e-5)


def test_map_does_not_depend_on_precision_or_format() -> None:
    h, linear, y = torch.randn(4, 8, 4, 4).bfloat16(), nn.Linear(8, 5), torch.arange(4)
    with torch.autocast("cpu", torch.bfloat16):
        low = snapmix.semantic_percent_map(h.to(memory_format=torch.channels_last), linear, y, (16, 16))
    assert torch.allclose(low, snapmix.semantic_percent_map(h.float(), linear, y, (16, 16)), atol=1e-6)


WHOLE, SOME, NONE = (0, 16, 0, 16), (3, 9, 2, 12), (4, 4, 0, 0)


def weights(target: Bounds, source: Bounds, y: list[int], spm: Tensor | None = None) -> tuple[Tensor, Tensor]:
    spm = percent_maps(len(y)) if spm is None else spm
    perm = torch.arange(len(y)).roll(1)
    own, partner = snapmix.label_weights(spm, torch.tensor(y), perm, box(target, 16, 16), box(source, 16, 16))
    return own, partner


def test_a_box_over_all_leaves_nothing_of_the_own_label() -> None:
    assert torch.allclose(weights(WHOLE, SOME, [0, 1, 2])[0], torch.zeros(3), atol=1e-5)


def test_a_donor_of_all_counts_in_full() -> None:
    assert torch.allclose(weights(SOME, WHOLE, [0, 1, 2])[1], torch.ones(3), atol=1e-5)


@pytest.mark.parametrize(("target", "source"), [(NONE, SOME), (SOME, NONE)])
def test_nothing_pasted_is_1_and_0(target: Bounds, source: Bounds) -> None:
    own, partner = weights(target, source, [0, 0, 1])
    assert torch.equal(own, torch.ones(3)) and torch.equal(partner, torch.zeros(3))


def test_a_pair_of_one_class_puts_the_sum_on_both() -> None:
    spm = percent_maps(3)
    other, same = weights(SOME, SOME, [0, 1, 2], spm), weights(SOME, SOME, [0, 0, 0], spm)
    assert torch.allclose(same[0], other[0] + other[1]) and torch.equal(same[0], same[1])


def test_flat_maps_count_by_area() -> None:
    own, partner = weights(SOME, WHOLE, [0, 1, 2], torch.full((3, 16, 16), float("nan")))
    share = 60 / 256
    assert torch.allclose(own, torch.full((3,), 1 - share)) and torch.allclose(partner, torch.full((3,), share))


def counts(net: Any) -> set[int]:
    """How often each of the BatchNorm layers was updated."""
    return {int(m.num_batches_tracked) for m in net.modules() if hasattr(m, "num_batches_tracked")}


@pytest.mark.parametrize(("bn_once", "updates"), [(False, 2), (True, 1)])
def test_updates_of_running_statistics(bn_once: bool, updates: int) -> None:
    net = small_net()
    method = make("snapmix", bn_once=bn_once).bind(net)
    x, y = torch.rand(4, 3, 16, 16), torch.arange(4)
    method.loss(net, x, y, 0, torch.Generator().manual_seed(0))
    assert counts(net) == {updates}
    method.loss(net, x, y, None, torch.Generator().manual_seed(0))
    assert counts(net) == {updates + 1}


def test_bn_once_sees_the_mixed_batch_only() -> None:
    x, y = torch.rand(4, 3, 16, 16), torch.arange(4)
    once, plain = small_net(), small_net()
    method = make("snapmix", bn_once=True).bind(once)
    method.loss(once, x, y, 0, torch.Generator().manual_seed(0))
    gen = torch.Generator().manual_seed(0)
    perm = permutation(4, gen)
    target, source = (regions.draw_box(1 - beta(1.0, gen), 16, 16, gen) for _ in range(2))
    plain(snapmix.paste_region(x, perm, target, source))
    expected = plain.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in once.state_dict().items())


def test_bf16_and_channels_last_keep_every_gradient() -> None:
    net = small_net().to(memory_format=torch.channels_last)
    method = make("snapmix").bind(net)
    x = torch.rand(4, 3, 16, 16).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        method.loss(net, x, torch.arange(4), 0, torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_bce_is_refused() -> None:
    with pytest.raises(ValueError, match="criterion"):
        make("snapmix", criterion="bce")


def test_a_network_without_a_linear_head_is_refused() -> None:
    net = small_net()
    net.head = nn.Flatten()
    with pytest.raises(ValueError, match="linear"):
        make("snapmix").bind(net)
