"""AugMix: its operations against Pillow on every pixel, its views against a loop over images, its loss
against numbers."""

import importlib
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench import registry
from catchup_bench.method import one_hot, soft_loss
from catchup_bench.models import MODELS
from tests.support import pillow_ops

chains = importlib.import_module("catchup_bench.methods._chains")
image = importlib.import_module("catchup_bench.methods._imageops")


def make(**options: Any) -> Any:
    return registry.method_class("augmix")(**options)


def small_net() -> Any:
    torch.manual_seed(0)
    return MODELS["preactresnet10"].build(num_classes=5, width=8, variant="B")


def batch(n: int = 6, size: int = 16, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images that were bytes, and labels."""
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=gen) / 255, torch.randint(5, (n,), generator=gen)


def every(u: Tensor, kind: int, level: float, negative: bool) -> Tensor:
    """All images of ``u`` after one operation."""
    n = len(u)
    kinds, levels = torch.full((n,), kind), torch.full((n,), level, dtype=torch.float64)
    ops = chains.at_level(kinds, levels, torch.full((n,), negative), *u.shape[2:])
    out: Tensor = image.apply(u, ops, enhance=True)
    return out


@pytest.mark.parametrize("kind", range(15))
@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 16), (64, 64), (24, 17)])
def test_every_operation_is_pillows_on_every_pixel(kind: int, height: int, width: int) -> None:
    u = pillow_ops.pictures(height, width)
    levels = 0.1 + 9.8 * torch.rand(12, generator=torch.Generator().manual_seed(kind), dtype=torch.float64)
    for level in [0.1, 1.0, 3.0, *levels.tolist()]:
        for sign in (1, -1):
            expected = torch.stack([pillow_ops.apply(v, kind, level, sign) for v in u])
            assert torch.equal(every(u, kind, level, sign < 0), expected), (level, sign)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 14), st.floats(0.1, 9.9), st.booleans())
def test_operations_are_pillows_at_any_level(seed: int, kind: int, level: float, negative: bool) -> None:
    u = torch.randint(256, (1, 3, 20, 20), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    assert torch.equal(every(u, kind, level, negative)[0], pillow_ops.apply(u[0], kind, level, -1 if negative else 1))


def test_images_of_a_batch_have_operations_of_their_own() -> None:
    u, gen = pillow_ops.pictures(32, 32).repeat(9, 1, 1, 1), torch.Generator().manual_seed(0)
    kind, level = torch.randint(-1, 15, (len(u),), generator=gen), 0.1 + 9 * torch.rand(len(u), generator=gen).double()
    negative = torch.rand(len(u), generator=gen) < 0.5
    out = image.apply(u, chains.at_level(kind, level, negative, 32, 32), enhance=True)
    for i, v in enumerate(u):
        assert torch.equal(out[i], pillow_ops.apply(v, int(kind[i]), float(level[i]), -1 if negative[i] else 1)), i


def slow_views(x: Tensor, count: int, severity: float, gen: torch.Generator, first: int = 4, kinds: int = 9) -> Tensor:
    """The views (count×B×3×H×W, float64), image by image with Pillow, from the same numbers in the order of a step."""

    def u(*shape: int) -> Tensor:
        return torch.rand(shape, generator=gen, dtype=torch.float64)

    n, n_chains = len(x), 3 * count * len(x)
    depth = 1 + (u(n_chains) * 3).int()
    steps = [((u(n_chains) * kinds).int(), 0.1 + (severity - 0.1) * u(n_chains), u(n_chains)) for _ in range(3)]
    e = -torch.log1p(-u(3, count, n))
    weights, share = e / e.sum(0), u(count, n)
    out = []
    for view in range(count):
        for i in range(n):
            mixed = torch.zeros(3, *x.shape[2:], dtype=torch.float64)
            for chain in range(3):
                k = ((view * 3) + chain) * n + i
                part = (x[i] * 255).round().to(torch.uint8)
                for kind, level, coin in steps[: int(depth[k])]:
                    part = pillow_ops.apply(part, first + int(kind[k]), float(level[k]), -1 if coin[k] < 0.5 else 1)
                mixed += weights[chain, view, i] * part.double() / 255
            out.append((1 - share[view, i]) * x[i].double() + share[view, i] * mixed)
    return torch.stack(out).view(count, *x.shape)


@pytest.mark.parametrize(("size", "all_ops", "severity"), [(32, False, 3.0), (16, True, 3.0), (17, False, 1.0)])
def test_views_match_a_loop_over_images(size: int, all_ops: bool, severity: float) -> None:
    x, _ = batch(10, size)
    kinds = chains.THIRTEEN if all_ops else chains.NINE
    out = torch.stack(chains.views(x, 2, kinds, severity, torch.Generator().manual_seed(3)))
    expected = slow_views(x, 2, severity, torch.Generator().manual_seed(3), kinds.first, kinds.number)
    assert torch.allclose(out.double(), expected, atol=3e-7, rtol=0)


def test_consistency_and_loss_are_the_numbers_of_an_independent_computation() -> None:
    z = torch.tensor([[[2, 0, -1], [0.5, 1.5, 0]], [[1, 0.5, -1], [0, 2, 0.5]], [[2.5, -0.5, 0], [1, 1, -1]]])
    jsd, ce = chains.consistency(tuple(z)), soft_loss(z[0], one_hot(torch.tensor([0, 1]), 3))
    assert jsd.item() == pytest.approx(0.06370457, abs=1e-7)
    assert (ce + 12 * jsd).item() == pytest.approx(1.08156228, abs=1e-6)


def test_loss_is_ce_of_the_image_and_12_times_the_divergence_of_one_pass() -> None:
    (x, y), net = batch(), small_net().train()
    loss = make().loss(net, x, y, None, torch.Generator().manual_seed(5))
    net = small_net().train()
    triple = torch.cat((x, *slow_views(x, 2, 3.0, torch.Generator().manual_seed(5)).float()))
    p = net(triple).log_softmax(1).double().chunk(3)
    mean = sum(q.exp() for q in p) / 3
    jsd = sum((q.exp() * (q - mean.log())).sum(1).mean() for q in p) / 3
    expected = -p[0].gather(1, y[:, None]).mean() + 12 * jsd
    assert loss.item() == pytest.approx(float(expected.detach()), abs=2e-5)


def test_without_jsd_it_is_the_ce_of_one_view() -> None:
    (x, y), net = batch(), small_net().train()
    loss = make(jsd=False).loss(net, x, y, None, torch.Generator().manual_seed(5))
    (view,) = slow_views(x, 1, 3.0, torch.Generator().manual_seed(5)).float()
    assert loss.item() == pytest.approx(
        torch.nn.functional.cross_entropy(small_net().train()(view), y).item(), abs=2e-5
    )


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.1, 50))
def test_divergence_lies_between_0_and_ln_3(seed: int, scale: float) -> None:
    z = scale * torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(seed))
    assert -1e-6 <= chains.consistency(tuple(z)) <= math.log(3) + 1e-5
    assert chains.consistency((z[0],) * 3) == pytest.approx(0, abs=1e-6)


def test_gradient_flows_through_all_three_predictions() -> None:
    z = torch.randn(3, 4, 7, dtype=torch.float64, requires_grad=True)
    chains.consistency(tuple(z)).backward()
    assert z.grad is not None and bool((z.grad.abs().sum((1, 2)) > 0).all())


def test_nothing_mixed_in_is_the_image_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = batch(8)
    parts = torch.zeros(3, *x.shape, dtype=torch.uint8)
    assert torch.equal(chains.mixture(x, parts, torch.full((3, 8), 1 / 3), torch.zeros(8)), x)
    monkeypatch.setattr(image, "apply", lambda u, ops, **_: u)
    view = chains.views(x, 1, chains.NINE, 3.0, torch.Generator().manual_seed(0))[0]
    assert torch.allclose(view, x, atol=2e-7, rtol=0)


def test_constant_images_change_only_by_posterize_solarize_and_black_borders() -> None:
    u = torch.full((2, 3, 16, 16), 90, dtype=torch.uint8)
    for kind in (image.AUTOCONTRAST, image.EQUALIZE):
        assert torch.equal(every(u, kind, 2.0, False), u)
    for kind in (image.ROTATE, image.SHEAR_X, image.SHEAR_Y, image.TRANSLATE_X, image.TRANSLATE_Y):
        assert set(every(u, kind, 9.0, False).unique().tolist()) == {0, 90}


def test_equal_images_get_views_of_their_own_in_0_to_1() -> None:
    x = batch(1, 32)[0].expand(64, -1, -1, -1)
    view = chains.views(x, 1, chains.NINE, 3.0, torch.Generator().manual_seed(0))[0]
    assert len(view.flatten(1).unique(dim=0)) == 64
    assert view.min() >= 0 and view.max() <= 1 + 2e-7


def test_operations_and_depths_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def spy(u: Tensor, ops: Any, **_: Any) -> Tensor:
        seen.append(ops.kind)
        return u

    monkeypatch.setattr(image, "apply", spy)
    chains.chains(torch.zeros(9000, 3, 1, 1, dtype=torch.uint8), 3, chains.NINE, 3.0, torch.Generator().manual_seed(0))
    kinds = torch.stack(seen)
    depth = torch.bincount((kinds >= 0).sum(0), minlength=4)
    assert depth[0] == 0 and (depth[1:] / 27_000 - 1 / 3).abs().max() < 0.012  # four standard deviations
    counts = torch.bincount(kinds[kinds >= 0], minlength=15)
    assert counts[:4].sum() == counts[13:].sum() == 0
    assert (counts[4:13] / counts.sum() - 1 / 9).abs().max() < 0.006


def test_levels_at_severity_3_as_measured_on_the_released_code() -> None:
    level = chains.draw_level(torch.Generator().manual_seed(0), 3.0, 100_000)
    ops = chains.at_level(torch.full_like(level, image.TRANSLATE_X).long(), level, level < 0, 32, 32)
    shares = torch.bincount(ops.matrix[2].long(), minlength=4) / 100_000
    assert torch.allclose(shares, torch.tensor([0.289, 0.323, 0.323, 0.065]), atol=0.006)
    assert (ops.dropped == 4).double().mean() == pytest.approx(0.828, abs=0.006)
    assert int(ops.threshold.min()) == 180 and int(ops.threshold.max()) == 254
    assert ops.factor.min() >= 0.118 and ops.factor.max() <= 0.64


@pytest.mark.parametrize("all_ops", [False, True])
def test_it_says_which_corruptions_it_trains_relatives_of(all_ops: bool) -> None:
    assert bool(make(all_ops=all_ops).trained_on) == all_ops


def test_views_have_the_memory_format_of_the_images() -> None:
    x = batch(4)[0].to(memory_format=torch.channels_last)
    view = chains.views(x, 1, chains.NINE, 3.0, torch.Generator().manual_seed(0))[0]
    assert view.is_contiguous(memory_format=torch.channels_last)
