"""SUMix against a loop over images in float64, as it is meant and as it is released."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.method_support import CLASSES, Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net

sumix = module("sumix")
BASES = module("_bases").AT_INPUT


def bound(net: Any, **options: Any) -> Any:
    torch.manual_seed(1)
    return make("sumix", **options).bind(net)


def softmax_norm(v: Tensor) -> Tensor:
    p = v.softmax(0)
    return p / p.norm()


def slow(
    net: Any, x: Tensor, mixed: Tensor, y: Tensor, perm: Tensor, lam: Tensor, gamma: float, official: bool
) -> float:
    """The loss, image by image, on the network's own features."""
    n, lams, extra, weights, ces = len(x), lam.double().expand(len(x)), 0.0, [], []
    features = [net.head.features(net(v, stop=len(net.stages))) for v in (x, mixed)]
    z, zm = (net.head.linear(f).double() for f in features)
    u, um = ([softmax_norm(row) for row in net.extra(f).double()] for f in features)
    for i in range(n):
        j, a, b = int(perm[i]), int(y[i]), int(y[perm[i]])
        s, sj = z[i].softmax(0).clone(), z[j].softmax(0).clone()
        s[b], sj[a] = 0.0, 0.0
        own, other = n * softmax_norm(zm[i].softmax(0) - s), n * softmax_norm(zm[i].softmax(0) - sj)
        wa, wb = lams[i] * (-own[a]).exp(), (1 - lams[i]) * (-other[b]).exp()
        weights.append(wa / (wa + wb))
        fa, fb = (-(u[i] + um[i] + own)).exp(), (-(u[j] + um[i] + other)).exp()
        extra += lams[i] * -fa.log_softmax(0)[a] + (1 - lams[i]) * -fb.log_softmax(0)[b]
        ces.append(-zm[i].log_softmax(0)[[a, b]])
    w, ce = torch.stack(weights), torch.stack(ces)
    if official:
        w = w.mean().expand(n)
    return float(((w * ce[:, 0] + (1 - w) * ce[:, 1]).mean() + gamma * extra / n).detach())


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_loss_matches_a_loop_over_images(base: str, official: bool) -> None:
    (x, y), net, copy = batch(7), small_net(), small_net()
    method = bound(net, base=base, alpha=1.0, official=official)
    bound(copy)
    draws = Draws(4)
    perm = torch.tensor(draws.permutation(7))
    mixed, lam = make(base, alpha=1.0).mix_images(x, perm, draws.gen)
    loss = method.loss(net, x, y, None, seeded(4))
    assert loss.item() == pytest.approx(slow(copy, x, mixed, y, perm, lam, 0.5, official), abs=1e-5)


def test_equal_differences_leave_lam_as_it_is() -> None:
    d, y = torch.rand(6, CLASSES).softmax(1), torch.randint(CLASSES, (6,), generator=seeded(0))
    lam = torch.rand(6, generator=seeded(1))
    assert torch.allclose(sumix.share(d, d, y, y, lam), lam, atol=1e-6)


def test_weights_stay_between_0_and_1_and_vary_within_a_large_batch() -> None:
    p, q = (torch.randn(100, 100, generator=seeded(s)).softmax(1) for s in (0, 1))
    y, perm = torch.randint(100, (100,), generator=seeded(2)), torch.randperm(100, generator=seeded(3))
    own, other = sumix.differences(p, q, y[perm]), sumix.differences(p[perm], q, y)
    assert torch.allclose(own.norm(dim=1), torch.full((100,), 100.0))
    w = sumix.share(own, other, y, y[perm], torch.tensor(0.5))
    assert w.min() >= 0 and w.max() <= 1 and w.std() > 0.03


def test_weights_carry_no_gradient_and_the_second_head_does() -> None:
    (x, y), net = batch(), small_net()
    bound(net).loss(net, x, y, None, seeded(0)).backward()
    assert net.extra.weight.grad.abs().sum() > 0
    (z, _), (zm, _) = sumix.predictions(net, x), sumix.predictions(net, x)
    assert z.dtype == zm.dtype == torch.float32


def test_without_the_second_term_and_differences_it_is_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sumix, "differences", lambda own, mixed, other: torch.zeros_like(own))
    (x, y), net, draws = batch(), small_net(), Draws(2)
    loss = bound(net, gamma=0.0, alpha=1.0).loss(net, x, y, None, seeded(2))
    perm = torch.tensor(draws.permutation(6))
    mixed, lam = make("cutmix", alpha=1.0).mix_images(x, perm, draws.gen)
    t = one_hot(y)
    expected = cross_entropy(small_net()(mixed), lam * t + (1 - lam) * t[perm]).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=2e-6)


def test_a_base_that_does_not_mix_images_is_refused() -> None:
    with pytest.raises(ValueError, match="base = 'manifold' is not allowed: it takes inputmixup, cutmix"):
        make("sumix", base="manifold")
