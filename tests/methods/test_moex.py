"""MoEx against a plain reference, position by position."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench import registry
from catchup_bench.method import one_hot, permutation
from catchup_bench.models import MODELS

moex = importlib.import_module("catchup_bench.methods.moex")


def make(name: str, **options: Any) -> Any:
    return registry.method_class(name)(**options)


def small_net() -> Any:
    torch.manual_seed(0)
    return MODELS["preactresnet10"].build(num_classes=5, width=8, variant="B")


def batch(n: int = 6, size: int = 8) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, size, size, generator=gen), torch.randint(5, (n,), generator=gen)


def reference(h: Tensor, perm: Tensor, eps: float = 1e-5) -> Tensor:
    """Equations of PONO and moment exchange, one position of one sample at a time, in float64."""
    out, wide = torch.empty_like(h, dtype=torch.float64), h.double()
    for i in range(h.shape[0]):
        for p in range(h.shape[2]):
            for q in range(h.shape[3]):
                mine, other = wide[i, :, p, q].numpy(), wide[perm[i], :, p, q].numpy()
                sigma, sigma2 = (np.sqrt(v.var(ddof=1) + eps) for v in (mine, other))
                out[i, :, p, q] = torch.from_numpy((mine - mine.mean()) / sigma * sigma2 + other.mean())
    return out


def test_features_match_reference() -> None:
    h, perm = torch.randn(4, 8, 5, 3), torch.tensor([2, 0, 3, 1])
    assert torch.allclose(moex.exchange(h, perm, 1e-5).double(), reference(h, perm), atol=1e-5, rtol=0)


def test_loss_of_a_mixed_batch_matches_reference() -> None:
    net, (x, y) = small_net(), batch()
    method = make("moex", lam=0.7).bind(net)
    loss = method.loss(net, x, y, 1, torch.Generator().manual_seed(5))
    perm = permutation(len(x), torch.Generator().manual_seed(5))
    logits = net(reference(net(x, stop=1).detach(), perm).float(), start=1)
    log_p = logits.log_softmax(1)
    rows = [0.7 * log_p[i, y[i]] + 0.3 * log_p[i, y[perm[i]]] for i in range(len(x))]
    assert torch.allclose(loss, -torch.stack(rows).mean(), atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 100), st.integers(1, 4))
def test_moments_are_the_partners(seed: int, scale: float, n: int) -> None:
    gen = torch.Generator().manual_seed(seed)
    h = scale * torch.randn(n, 16, 3, 4, generator=gen)
    perm = permutation(n, gen)
    out = moex.exchange(h, perm, 1e-12)
    assert torch.allclose(out.mean(1), h[perm].mean(1), atol=1e-4 * scale)
    assert torch.allclose(out.std(1), h[perm].std(1), rtol=1e-3, atol=1e-4 * scale)


def test_a_partner_that_is_oneself_changes_nothing() -> None:
    h = torch.randn(3, 8, 4, 4)
    assert torch.allclose(moex.exchange(h, torch.arange(3), 1e-5), h, atol=1e-5)


def test_constant_channels_are_finite_with_finite_gradient() -> None:
    h = torch.ones(2, 4, 3, 3, requires_grad=True)
    moex.exchange(h, torch.tensor([1, 0]), 1e-5).square().sum().backward()
    assert h.grad is not None and h.grad.isfinite().all()


def test_gradient_is_that_of_the_formula_with_nothing_detached() -> None:
    h, perm, g = torch.randn(2, 4, 3, 3, dtype=torch.float64), torch.tensor([1, 0]), torch.randn(2, 4, 3, 3)
    plain, ours = h.clone().requires_grad_(), h.float().requires_grad_()
    mean, std = plain.mean(1, keepdim=True), (plain.var(1, keepdim=True) + 1e-5).sqrt()
    (((plain - mean) / std * std[perm] + mean[perm]) * g).sum().backward()
    (moex.exchange(ours, perm, 1e-5) * g).sum().backward()
    assert plain.grad is not None and ours.grad is not None
    assert torch.allclose(ours.grad.double(), plain.grad, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_and_format_are_kept_and_moments_are_fp32(dtype: torch.dtype) -> None:
    h, perm = torch.randn(4, 8, 5, 5).to(dtype, memory_format=torch.channels_last), torch.tensor([1, 2, 3, 0])
    out = moex.exchange(h, perm, 1e-5)
    assert out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(out.float(), moex.exchange(h.float().contiguous(), perm, 1e-5).to(dtype).float(), rtol=0.01)


def test_prob_0_is_the_baseline_bit_for_bit() -> None:
    net, (x, y) = small_net(), batch()
    method = make("moex", prob=0.0).bind(net)
    plan = method.plan(np.random.default_rng(0))
    assert plan is None
    gen = torch.Generator().manual_seed(0)
    expected = make("baseline").loss(small_net(), x, y, None, gen)
    assert torch.equal(method.loss(net, x, y, plan, gen), expected)


def test_lam_1_leaves_the_label_whole() -> None:
    net, (x, y) = small_net(), batch()
    h = net(x, stop=1)
    perm = permutation(len(x), torch.Generator().manual_seed(5))
    method = make("moex", lam=1.0).bind(net)
    expected = -(net(moex.exchange(h, perm, 1e-5), start=1).log_softmax(1) * one_hot(y, 5)).sum(1).mean()
    assert torch.allclose(method.loss(net, x, y, 1, torch.Generator().manual_seed(5)), expected, atol=1e-6)


def test_cifar_mixes_a_quarter_of_the_batches() -> None:
    cls = registry.method_class("moex")
    method = cls(**cls.defaults["cifar100"])
    rng = np.random.default_rng(0)
    mixed = sum(method.plan(rng) is not None for _ in range(4000))
    assert abs(mixed / 4000 - 0.25) < 0.03


@pytest.mark.parametrize("bad", [{"lam": 1.5}, {"layers": (0,)}, {"eps": 0.0}, {"prob": -1.0}])
def test_bad_fields_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        make("moex", **bad)
