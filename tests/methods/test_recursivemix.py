"""RecursiveMix against a plain simulation of its steps, image by image."""

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench import registry
from catchup_bench.method import inside, one_hot
from catchup_bench.models import MODELS

recursivemix = importlib.import_module("catchup_bench.methods.recursivemix")

regions = importlib.import_module("catchup_bench.methods._regions")

Bounds = tuple[int, int, int, int]


def make(name: str, **options: Any) -> Any:
    return registry.method_class(name)(**options)


def small_net() -> Any:
    torch.manual_seed(0)
    return MODELS["preactresnet10"].build(num_classes=5, width=8, variant="B")


def bound(net: Any, **options: Any) -> Any:
    method = make("recursivemix", **options).bind(net)
    method.start_epoch(net)
    return method


def batch(n: int, seed: int, size: int = 16) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, size, size, generator=gen), torch.randint(5, (n,), generator=gen)


def step(method: Any, net: Any, n: int, seed: int) -> Tensor:
    loss: Tensor = method.loss(net, *batch(n, seed), None, torch.Generator().manual_seed(seed))
    return loss


def drawn_box(seed: int, size: int = 16) -> Bounds:
    """The box of a step, from its definition."""
    gen = torch.Generator().manual_seed(seed)
    share = 0.5 * float(torch.rand((), generator=gen, dtype=torch.float64))
    centre = torch.rand(2, generator=gen, dtype=torch.float64)
    half, y, x = int(size * share**0.5) // 2, int(centre[0] * size), int(centre[1] * size)
    return max(y - half, 0), min(y + half, size), max(x - half, 0), min(x + half, size)


def slow_roi(h: Tensor, box: Bounds, scale: float) -> Tensor:
    """Aligned RoI pooling of one map (C×h×w) to one cell: the mean of bilinear samples, one per started pixel."""

    def sample(y: float, x: float) -> Tensor:
        y, x = (min(max(v, 0.0), size - 1.0) for v, size in ((y, h.shape[1]), (x, h.shape[2])))
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, h.shape[1] - 1), min(x0 + 1, h.shape[2] - 1)
        top = h[:, y0, x0] * (1 - x + x0) + h[:, y0, x1] * (x - x0)
        return top * (1 - y + y0) + (h[:, y1, x0] * (1 - x + x0) + h[:, y1, x1] * (x - x0)) * (y - y0)

    top, bottom, left, right = (v * scale - 0.5 for v in box)
    rows, cols = (max(1, -int(-(b - a) // 1)) for a, b in ((top, bottom), (left, right)))
    points = [
        sample(top + (i + 0.5) * (bottom - top) / rows, left + (j + 0.5) * (right - left) / cols)
        for i in range(rows)
        for j in range(cols)
    ]
    return torch.stack(points).mean(0)


def slow_step(net: Any, x: Tensor, y: Tensor, past: list[Tensor] | None, box: Bounds) -> tuple[Tensor, list[Tensor]]:
    """The loss, and images, targets and logits for the next step."""
    target, lam, (t, b, l, r) = one_hot(y, 5), 1.0, box  # noqa: E741
    if past is not None and b > t:
        x, lam = x.clone(), 1 - (b - t) * (r - l) / x[0, 0].numel()
        x[:, :, t:b, l:r] = F.interpolate(past[0][: len(x)], size=(b - t, r - l), mode="nearest")
        target = lam * target + (1 - lam) * past[1][: len(x)]
    h = net(x, stop=5)
    logits = net.head(h)
    loss = -(target * logits.log_softmax(1)).sum(1).mean()
    if past is not None and lam < 1:
        again = net.extra.head(torch.stack([slow_roi(m, box, h.shape[-1] / x.shape[-1]) for m in h]))
        loss = loss - 0.1 * (1 - lam) * (past[2][: len(x)].softmax(1) * again.log_softmax(1)).sum(1).mean()
    return loss, [x, target, logits.detach()]


def test_an_epoch_matches_reference() -> None:
    net = small_net()
    method, past = bound(net), None
    for seed, n in [(0, 6), (5, 6), (18, 6), (25, 6), (14, 6), (29, 6), (22, 3)]:  # 25 draws an empty box
        loss = step(method, net, n, seed)
        expected, past = slow_step(net, *batch(n, seed), past, drawn_box(seed))
        assert torch.allclose(loss, expected, atol=1e-5, rtol=0)
        kept = net.extra.images, net.extra.targets, net.extra.logits
        assert all(torch.allclose(k[:n], p, atol=1e-5) for k, p in zip(kept, past, strict=True))


def box(bounds: Bounds, height: int, width: int) -> Any:
    top, bottom, left, right = bounds
    rows, cols = torch.arange(height), torch.arange(width)
    return regions.Box(regions.span((rows >= top) & (rows < bottom)), regions.span((cols >= left) & (cols < right)))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 31), st.integers(1, 32), st.integers(0, 16), st.integers(1, 17))
def test_shrunk_image_is_what_interpolate_gives_bit_for_bit(top: int, height: int, left: int, width: int) -> None:
    x = torch.rand(2, 3, 32, 17, generator=torch.Generator().manual_seed(0))
    bottom, right = min(32, top + height), min(17, left + width)
    out = regions.shrink_into(x, box((top, bottom, left, right), 32, 17))[:, :, top:bottom, left:right]
    assert torch.equal(out, F.interpolate(x, size=(bottom - top, right - left), mode="nearest"))


@pytest.mark.parametrize("size", [64, 224])
def test_every_length_is_read_as_interpolate_reads_it(size: int) -> None:
    line = torch.arange(size, dtype=torch.float32)
    for length in range(1, size + 1):
        index = regions.nearest(regions.span(torch.arange(size) < length), size)[:length]
        assert torch.equal(line[index], F.interpolate(line[None, None], size=length, mode="nearest")[0, 0])


def test_region_features_of_an_empty_box_are_0() -> None:
    assert torch.equal(
        recursivemix.region_features(torch.ones(2, 3, 4, 4), box((0, 0, 0, 0), 16, 16)), torch.zeros(2, 3)
    )


def test_first_batch_of_every_epoch_is_plain() -> None:
    net = small_net()
    method = bound(net)
    for seed in (1, 2):
        method.start_epoch(net)
        x, y = batch(4, seed)
        plain = make("baseline").loss(net, x, y, None, torch.Generator())
        assert torch.equal(step(method, net, 4, seed), plain)
        step(method, net, 4, 5)


def test_an_empty_box_is_a_plain_step() -> None:
    net = small_net()
    method = bound(net, alpha=0.0)
    step(method, net, 4, 0)
    plain = make("baseline").loss(net, *batch(4, 1), None, torch.Generator())
    assert torch.equal(step(method, net, 4, 1), plain)


def test_targets_in_history_sum_to_1() -> None:
    net = small_net()
    method = bound(net)
    for seed in range(8):
        step(method, net, 4, seed)
        assert torch.allclose(net.extra.targets.sum(1), torch.ones(4), atol=1e-6)


def test_history_is_the_mixed_image() -> None:
    """Batches of one colour each: after three steps the first colour is still there, inside the second's box."""
    net, seeds = small_net(), [1, 4, 6]
    method = bound(net, alpha=1.0)
    for colour, seed in enumerate(seeds):
        x = torch.full((2, 3, 16, 16), colour / 4)
        method.loss(net, x, torch.tensor([0, 1]), None, torch.Generator().manual_seed(seed))
    assert set(net.extra.images.unique().tolist()) == {0.0, 0.25, 0.5}


def test_gradient_does_not_reach_history() -> None:
    net = small_net()
    method = bound(net)
    step(method, net, 4, 0)
    assert not any(b.requires_grad for b in net.extra.buffers())
    loss = step(method, net, 4, 4)
    loss.backward()
    assert net.extra.head.weight.grad.abs().sum() > 0


def test_batches_may_shrink_and_grow() -> None:
    net = small_net()
    method = bound(net)
    for seed, n in enumerate((4, 2, 4, 6, 1, 6)):
        assert step(method, net, n, seed).isfinite()
        assert net.extra.valid.sum() == n


def test_state_is_the_plain_nets_and_the_second_head() -> None:
    net = small_net()
    method = bound(net)
    step(method, net, 4, 0)
    extra = {"extra.head.weight", "extra.head.bias"}
    assert net.state_dict().keys() == small_net().state_dict().keys() | extra
    shared = small_net()
    step(bound(shared, share_head=True), shared, 4, 0)
    assert shared.state_dict().keys() == small_net().state_dict().keys()


def test_shared_head_reads_the_box() -> None:
    net = small_net()
    method = bound(net, share_head=True, omega=1.0)
    step(method, net, 4, 0)
    assert step(method, net, 4, 4).isfinite()


def test_bf16_and_channels_last_keep_images_and_are_finite() -> None:
    net, formats = small_net().to(memory_format=torch.channels_last), set()
    net.stages[0].register_forward_pre_hook(
        lambda _, args: formats.add(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    method = bound(net)
    for seed in range(3):
        x, y = batch(4, seed)
        last = x.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = method.loss(net, last, y, None, torch.Generator().manual_seed(seed))
        assert loss.isfinite() and torch.equal(last, x)
    assert formats == {True}
    assert net.extra.images.dtype == net.extra.logits.dtype == torch.float32


@pytest.mark.parametrize(("size", "mean"), [(32, 0.8335), (64, 0.8248), (224, 0.8184)])
def test_mean_lam(size: int, mean: float) -> None:
    gen = torch.Generator().manual_seed(0)
    share = 0.5 * torch.rand(200_000, 1, generator=gen, dtype=torch.float64)
    lengths = [
        inside(torch.rand(200_000, 1, generator=gen, dtype=torch.float64), share.sqrt(), size).sum(1) / size
        for _ in range(2)
    ]
    assert 1 - (lengths[0] * lengths[1]).mean() == pytest.approx(mean, abs=0.001)
