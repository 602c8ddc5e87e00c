"""Noisy Feature Mixup against its formula at every layer, and the moments of its noise."""

from typing import Any

import numpy as np
import pytest
import torch

from catchup_bench.models import MODELS
from tests.support.method_support import Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net

noise = module("_noise")


def bound(net: Any, **options: Any) -> Any:
    return make("nfm", **options).bind(net)


def slow_noise(z: torch.Tensor, draws: Draws, additive: float, multiplicative: float) -> torch.Tensor:
    """ξ_m z + ξ_a in float64, from the same numbers."""
    first = draws.beta(2.0, 5.0)
    normal = torch.randn(z.shape, generator=draws.gen)
    second = draws.beta(2.0, 5.0)
    uniform = torch.rand(z.shape, generator=draws.gen)
    factor = 1 + multiplicative * second * (2 * uniform.double() - 1)
    return factor * z.double() + additive * first * normal.double()


@pytest.mark.parametrize("plan", [0, 2, 3, 4])
def test_loss_matches_the_formula(plan: int) -> None:
    (x, y), ours, net, draws = batch(), small_net(), small_net(), Draws(3)
    for n in (ours, net):
        n.mean.fill_(0.4)
        n.std.fill_(0.2)
    loss = bound(ours).loss(ours, x, y, plan, seeded(3))
    perm, lam, t = draws.permutation(6), draws.beta(1.0), one_hot(y)
    h = (x - 0.4) / 0.2 if plan == 0 else net(x, stop=plan)
    noisy = slow_noise(lam * h + (1 - lam) * h[perm], draws, 0.4, 0.2).float()
    z = net(noisy * 0.2 + 0.4) if plan == 0 else net(noisy, start=plan)
    expected = cross_entropy(z, lam * t + (1 - lam) * t[perm]).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("plan", [0, 2, 3])
def test_without_noise_it_is_manifold_mixup_bit_for_bit(plan: int) -> None:
    (x, y), ours, theirs = batch(), small_net(), small_net()
    method, manifold = bound(ours, additive=0.0, multiplicative=0.0, alpha=2.0), make("manifold", alpha=2.0)
    assert torch.equal(
        method.loss(ours, x, y, plan, seeded(1)).detach(), manifold.loss(theirs, x, y, plan, seeded(1)).detach()
    )


def test_noise_keeps_the_mean_and_has_the_variance_of_the_formula() -> None:
    h = torch.full((40, 20, 20, 20), 1.7)
    draws = Draws(0)
    first = draws.beta(2.0, 5.0)
    torch.randn(h.shape, generator=draws.gen)
    second = draws.beta(2.0, 5.0)
    out = noise.add_noise(h, 0.4, 0.2, seeded(0))
    assert out.mean().item() == pytest.approx(1.7, abs=2e-3)
    variance = (0.4 * first) ** 2 + (0.2 * second) ** 2 * 1.7**2 / 3
    assert out.var().item() == pytest.approx(variance, rel=0.02)


def test_level_of_noise_has_the_moments_of_beta_2_5() -> None:
    gen = seeded(0)
    levels = torch.stack([noise.level(gen) for _ in range(5000)])
    assert levels.mean().item() == pytest.approx(0.286, abs=0.008)
    assert levels.std().item() == pytest.approx(0.160, abs=0.006)


def test_noise_is_new_for_every_element() -> None:
    out = noise.add_noise(torch.zeros(3, 2, 4, 4), 1.0, 1.0, seeded(0))
    assert len(out.unique()) == 96


def test_gradient_is_weighted_by_the_multiplicative_noise() -> None:
    h = torch.rand(2, 3, 4, 4, requires_grad=True)
    g = torch.rand(2, 3, 4, 4)
    (noise.add_noise(h, 0.4, 0.5, seeded(2)) * g).sum().backward()
    draws = Draws(2)
    zero = slow_noise(torch.zeros(2, 3, 4, 4), draws, 0.4, 0.5)
    one = slow_noise(torch.ones(2, 3, 4, 4), Draws(2), 0.4, 0.5)
    assert h.grad is not None
    assert torch.allclose(h.grad, (one - zero).float() * g, atol=1e-6)


def test_layers_are_the_input_and_all_residual_stages_but_the_last() -> None:
    method, rng = bound(small_net()), np.random.default_rng(0)
    assert {method.plan(rng) for _ in range(100)} == {0, 2, 3, 4}
    wide = MODELS["wrn16-8"].build(num_classes=5, width=2, variant="standard")
    assert make("nfm").bind(wide).layers == (0, 2, 3)


def test_images_may_leave_0_to_1() -> None:
    assert noise.add_noise(torch.ones(4, 3, 8, 8), 0.4, 0.2, seeded(0)).max() > 1


def test_it_says_which_corruptions_it_trains_relatives_of() -> None:
    assert make("nfm").trained_on == ("gaussian_noise", "speckle_noise")
