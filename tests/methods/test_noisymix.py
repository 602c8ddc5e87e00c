"""NoisyMix against its parts: AugMix's views, mixup of thirds, and sparse noise."""

from typing import Any

import pytest
import torch

from catchup_bench.method import beta
from tests.support.method_support import Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net

chains, noise = module("_chains"), module("_noise")


def bound(net: Any, **options: Any) -> Any:
    return make("noisymix", **options).bind(net)


def slow_noise(z: torch.Tensor, draws: Draws, additive: float) -> torch.Tensor:
    """Sparse noise of level ½ that multiplies and level ``additive`` that adds, in float64."""
    first = draws.beta(2.0, 5.0)
    normal, keep = torch.randn(z.shape, generator=draws.gen), torch.rand(z.shape, generator=draws.gen) >= 0.65
    second = draws.beta(2.0, 5.0)
    uniform, stay = torch.rand(z.shape, generator=draws.gen), torch.rand(z.shape, generator=draws.gen) >= 0.65
    return (
        z.double() * (1 + 0.5 * second * (2 * uniform.double() - 1) * stay) + additive * first * normal.double() * keep
    )


@pytest.mark.parametrize("plan", [0, 2, 4])
def test_loss_matches_the_formula(plan: int) -> None:
    (x, y), ours, net, draws = batch(), small_net(), small_net(), Draws(3)
    loss = bound(ours).loss(ours, x, y, plan, seeded(3))
    triple = torch.cat((x, *chains.views(x, 2, chains.NINE, 3.0, draws.gen)))
    perm, lam, t = draws.permutation(6), draws.beta(1.0), one_hot(y)
    h = (triple - 0.5) / 0.5 if plan == 0 else net(triple, stop=plan)
    thirds = [slow_noise(lam * v + (1 - lam) * v[perm], draws, 0.5 * i) for i, v in enumerate(h.chunk(3), start=1)]
    noisy = torch.cat(thirds).float()
    z = (net(noisy * 0.5 + 0.5) if plan == 0 else net(noisy, start=plan)).chunk(3)
    p = [v.double().log_softmax(1) for v in z]
    mean = (sum(q.exp() for q in p) / 3).log()
    jsd = sum((q.exp() * (q - mean)).sum(1).mean() for q in p) / 3
    expected = cross_entropy(z[0], lam * t + (1 - lam) * t[perm]).mean() + 12 * jsd
    assert loss.item() == pytest.approx(expected.item(), abs=5e-5)


@pytest.mark.parametrize("plan", [0, 2, 3, 4])
def test_without_noise_and_mixing_it_is_augmix_bit_for_bit(plan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module("noisymix"), "beta", lambda a, gen: beta(0, gen))
    (x, y), ours, theirs = batch(), small_net(), small_net()
    loss = bound(ours, additive=0.0, multiplicative=0.0).loss(ours, x, y, plan, seeded(1))
    assert torch.equal(loss.detach(), make("augmix").loss(theirs, x, y, None, seeded(1)).detach())


def test_a_step_that_does_not_mix_is_augmix() -> None:
    (x, y), ours, theirs = batch(), small_net(), small_net()
    loss = bound(ours).loss(ours, x, y, None, seeded(1))
    assert torch.equal(loss.detach(), make("augmix").loss(theirs, x, y, None, seeded(1)).detach())


def test_noise_spares_a_share_of_the_elements() -> None:
    ones = torch.ones(50, 10, 10, 10)
    added = noise.add_noise(0 * ones, 1.0, 1.0, seeded(0), quiet=0.65)
    assert (added == 0).double().mean().item() == pytest.approx(0.65, abs=0.01)
    both = noise.add_noise(ones, 1.0, 1.0, seeded(0), quiet=0.65)
    assert (both == 1).double().mean().item() == pytest.approx(0.65**2, abs=0.01)
