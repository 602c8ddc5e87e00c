"""AlignMixup against a plain Sinkhorn that stops by itself, and the algebra of its two branches."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench import registry
from catchup_bench.method import beta, permutation
from catchup_bench.models import MODELS

align = importlib.import_module("catchup_bench.methods.alignmixup")


def make(name: str, **options: Any) -> Any:
    return registry.method_class(name)(**options)


def small_net() -> Any:
    torch.manual_seed(0)
    return MODELS["preactresnet10"].build(num_classes=5, width=8, variant="B")


def maps(n: int, scale: float, seed: int = 0, channels: int = 32, side: int = 4) -> Tensor:
    return scale * torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def slow_cost(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of all pairs of positions, written out (B×r×r)."""
    a, b = a.double().flatten(2), b.double().flatten(2)
    return (a[:, :, :, None] - b[:, :, None, :]).square().sum(1)


def slow_plan(cost: Tensor, eps: float = 0.1, steps: int = 100, tolerance: float = 0.1) -> tuple[Tensor, int]:
    """Log-domain Sinkhorn as an accumulated update of the potentials, that leaves its loop; and how many steps."""
    log_mass = np.log(1 / cost.shape[1] + 1e-8)
    u, v = cost.new_zeros(cost.shape[:2]), cost.new_zeros(cost.shape[::2])
    for step in range(1, steps + 1):  # noqa: B007
        before = u
        u = u + eps * (log_mass - torch.logsumexp((u[:, :, None] + v[:, None] - cost) / eps, 2))
        v = v + eps * (log_mass - torch.logsumexp((u[:, :, None] + v[:, None] - cost) / eps, 1))
        if (u - before).abs().sum(1).mean() < tolerance:
            break
    return torch.exp((u[:, :, None] + v[:, None] - cost) / eps), step


@pytest.mark.parametrize(("scale", "steps"), [(0.01, 2), (0.2, 6), (0.5, 40), (1.0, 100)])
def test_plan_matches_a_loop_that_stops_by_itself(scale: float, steps: int) -> None:
    a, b = maps(6, scale), maps(6, scale, seed=1)
    expected, used = slow_plan(slow_cost(a, b))
    assert used == pytest.approx(steps, rel=0.5)
    plan = align.transport(align.squared_distances(a.flatten(2), b.flatten(2)), 0.1, 100, 0.1)
    assert torch.allclose(plan.double(), expected, atol=2e-4, rtol=0)
    plain = align.transport(align.squared_distances(a.flatten(2), b.flatten(2)), 0.1, used, 0.0)
    assert torch.equal(plan, plain)


def test_distances_match_and_are_not_negative() -> None:
    a = maps(3, 1.0)
    assert torch.allclose(align.squared_distances(a.flatten(2), a.flatten(2)).double(), slow_cost(a, a), atol=1e-4)
    assert (align.squared_distances(100 + a.flatten(2), 100 + a.flatten(2)) >= 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.01, 0.1, 0.3, 1.0, 3.0]), st.integers(1, 3), st.integers(1, 4))
def test_columns_of_r_sum_to_1(seed: int, scale: float, n: int, side: int) -> None:
    a, b = maps(n, scale, seed, side=side).flatten(2), maps(n, scale, seed + 1, side=side).flatten(2)
    r = align.transport(align.squared_distances(a, b), 0.1, 100, 0.1) * side**2
    assert r.isfinite().all() and (r >= 0).all()
    assert torch.allclose(r.sum(1), torch.ones(n, side**2), atol=5e-3)


def method(**options: Any) -> Any:
    return make("alignmixup", **options).bind(small_net())


def mix(h: Tensor, perm: Tensor, lam: float, plan: int) -> Tensor:
    out: Tensor = method().mix_aligned(h, perm, torch.tensor(lam), plan)
    return out


@pytest.mark.parametrize("plan", [align.PARTNER, align.SAMPLE])
def test_mixed_maps_match_reference(plan: int) -> None:
    h, perm, lam = maps(4, 0.3), torch.tensor([2, 3, 1, 0]), 0.3
    plans = slow_plan(slow_cost(h, h[perm]))[0] * 16
    for i, out in enumerate(mix(h, perm, lam, plan)):
        a, b, r = (t.double().flatten(1) for t in (h[i], h[perm[i]], plans[i]))
        expected = lam * a + (1 - lam) * b @ r.T if plan == align.PARTNER else lam * a @ r + (1 - lam) * b
        assert torch.allclose(out.double().flatten(1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("plan", [align.PARTNER, align.SAMPLE])
def test_loss_of_a_mixed_batch_matches_reference(plan: int) -> None:
    net, y = small_net(), torch.tensor([0, 1, 2, 1])
    x = torch.rand(4, 3, 16, 16)
    bound = make("alignmixup").bind(net)
    loss = bound.loss(net, x, y, plan, torch.Generator().manual_seed(3))
    gen = torch.Generator().manual_seed(3)
    perm, lam = permutation(4, gen), beta(2.0, gen)
    h = net(x, stop=5).double()
    r = slow_plan(slow_cost(h, h[perm]).detach())[0] * 4
    total = torch.zeros((), dtype=torch.float64)
    for i in range(4):
        a, b = h[i].flatten(1), h[perm[i]].flatten(1)
        mixed = lam * a + (1 - lam) * b @ r[i].T if plan == align.PARTNER else lam * a @ r[i] + (1 - lam) * b
        log_p = (net.head.linear.weight.double() @ mixed.mean(1) + net.head.linear.bias.double()).log_softmax(0)
        total = total - lam * log_p[y[i]] - (1 - lam) * log_p[y[perm[i]]]
    assert torch.allclose(loss.double(), total / 4, atol=1e-5, rtol=0)


def test_a_partner_that_is_oneself_changes_nothing() -> None:
    h = maps(2, 3.0)
    assert torch.allclose(mix(h, torch.arange(2), 0.4, align.PARTNER), h, atol=1e-4)


def test_shuffling_the_partners_positions_changes_nothing() -> None:
    a, b = maps(3, 0.3).flatten(2), maps(3, 0.3, seed=1).flatten(2)
    shuffle = torch.randperm(16)
    r, r2 = (align.transport(align.squared_distances(a, c), 0.1, 100, 0.1) for c in (b, b[:, :, shuffle]))
    assert torch.allclose(r[:, :, shuffle], r2, atol=1e-5)
    assert torch.allclose(b @ r.mT, b[:, :, shuffle] @ r2.mT, atol=1e-5)


def test_lam_1_keeps_the_sample_only_where_the_partner_moves() -> None:
    h, perm = maps(3, 0.1), torch.tensor([1, 2, 0])
    assert torch.equal(mix(h, perm, 1.0, align.PARTNER), h)
    assert not torch.allclose(mix(h, perm, 1.0, align.SAMPLE), h, atol=1e-2)


@pytest.mark.parametrize("plan", [align.PARTNER, align.SAMPLE])
def test_gradient_reaches_both_and_not_the_plan(plan: int) -> None:
    h, perm = maps(2, 0.3).requires_grad_(), torch.tensor([1, 0])
    r = align.transport(align.squared_distances(h.detach().flatten(2), h.detach()[perm].flatten(2)), 0.1, 100, 0.1) * 16
    g = torch.randn(2, 32, 16)
    (mix(h, perm, 0.3, plan).flatten(2) * g).sum().backward()
    own, other = (0.3 * g, 0.7 * g @ r) if plan == align.PARTNER else (0.3 * g @ r.mT, 0.7 * g)
    assert h.grad is not None
    assert torch.allclose(h.grad.flatten(2), own + other[perm], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_plan_is_fp32_and_dtype_and_format_are_kept(dtype: torch.dtype) -> None:
    h, perm = maps(4, 1.0).to(dtype, memory_format=torch.channels_last), torch.tensor([1, 2, 3, 0])
    with torch.autocast("cpu", torch.bfloat16):
        out = mix(h, perm, 0.3, align.SAMPLE)
    assert out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)
    expected = mix(h.float().contiguous(), perm, 0.3, align.SAMPLE).to(dtype)
    assert torch.allclose(out, expected, atol=1e-5 if dtype == torch.float32 else 0, rtol=0)


def test_places_and_coin_are_uniform() -> None:
    bound, rng = method(), np.random.default_rng(0)
    counts = np.bincount([bound.plan(rng) for _ in range(4000)]) / 4000
    assert np.allclose(counts, [0.5, 0.25, 0.25], atol=0.03)


def test_only_input_and_last_map_are_places() -> None:
    with pytest.raises(ValueError, match="layers"):
        method(layers=(2,))
