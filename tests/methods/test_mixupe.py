"""MixupE against its definition in float64, value and gradient."""

import pytest
import torch
from torch import Tensor

from tests.support.method_support import Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net

mixupe = module("mixupe")


def slow(net: torch.nn.Module, x: Tensor, y: Tensor, seed: int, eta: float, threshold: float) -> tuple[Tensor, Tensor]:
    """Mixup's loss and the one with the term, before scaling."""
    draws, t, n = Draws(seed), one_hot(y), len(x)
    perm, lam = draws.permutation(n), draws.beta(2.0)
    mixed = cross_entropy(net(lam * x + (1 - lam) * x[perm]), lam * t + (1 - lam) * t[perm]).mean()
    f, total = net(x).double(), 0.0
    for i in range(n):
        q = f[i, y[i]] - (f[i].softmax(0) * f[i]).sum()
        if q < threshold:
            total = total + q
    return mixed, mixed - eta * 0.4 * total / n


@pytest.mark.parametrize(("eta", "threshold"), [(0.001, 1.0), (0.5, 0.1), (5.0, 1.0)])
def test_value_is_mixups_and_gradient_the_scaled_one(eta: float, threshold: float) -> None:
    (x, y), ours, theirs = batch(), small_net(), small_net()
    loss = make("mixupe", eta=eta, threshold=threshold).loss(ours, x, y, None, seeded(7))
    mixed, total = slow(theirs, x, y, 7, eta, threshold)
    scale = (mixed.abs() / total.abs()).detach()
    assert loss.abs().item() == pytest.approx(mixed.item(), abs=2e-6)
    assert loss.item() == pytest.approx((scale * total).item(), abs=2e-6)
    loss.backward()
    (scale * total).backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, atol=2e-5, rtol=1e-4)


def test_lead_is_the_number_of_an_independent_computation() -> None:
    lead = mixupe.leads(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    assert lead.item() == pytest.approx(0.4248, abs=1e-4)


@pytest.mark.parametrize("options", [{"eta": 0.0}, {"threshold": -1e9}])
def test_without_the_term_it_is_mixup(options: dict[str, float]) -> None:
    x, y = batch()
    ours, theirs = small_net(), small_net()
    loss = make("mixupe", **options).loss(ours, x, y, None, seeded(1))
    plain = make("inputmixup", alpha=2.0).loss(theirs, x, y, 0, seeded(1))
    assert torch.equal(loss, plain)
    loss.backward()
    plain.backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, atol=1e-6, rtol=1e-6)


def test_running_statistics_move_twice() -> None:
    (x, y), net = batch(), small_net()
    make("mixupe").loss(net, x, y, None, seeded(0))
    assert {int(b) for n, b in net.named_buffers() if n.endswith("num_batches_tracked")} == {2}
