"""RegMixup against its two terms computed apart, and against numbers."""

import pytest
import torch
from torch import Tensor

from tests.support.method_support import Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net


class Fixed(torch.nn.Module):
    """A network that answers with given logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.num_classes = logits, logits.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


@pytest.mark.parametrize(("reduce", "expected"), [("mean", 0.81138186), ("sum", 1.62276372)])
def test_loss_is_the_number_of_an_independent_computation(
    reduce: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module("regmixup"), "beta", lambda a, gen: torch.tensor(0.3, dtype=torch.float64))
    monkeypatch.setattr(module("regmixup"), "permutation", lambda n, gen: torch.tensor([1, 0]))
    clean, mixed = [[2, 0, -1], [0.5, 1.5, 0]], [[1, 0.5, -1], [0, 2, 0.5]]
    net = Fixed(torch.tensor([*clean, *mixed]))
    loss = make("regmixup", reduce=reduce).loss(net, torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), None, seeded(0))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("eta", "reduce"), [(1.0, "mean"), (0.3, "sum"), (2.0, "mean")])
def test_loss_is_the_clean_and_the_mixed_term_of_one_pass(eta: float, reduce: str) -> None:
    (x, y), draws = batch(), Draws(3)
    perm, lam = draws.permutation(6), draws.beta(10.0)
    z = small_net()(torch.cat((x, lam * x + (1 - lam) * x[perm]))).detach()
    t = one_hot(y)
    clean, mixed = cross_entropy(z[:6], t).mean(), cross_entropy(z[6:], lam * t + (1 - lam) * t[perm]).mean()
    expected = (clean + eta * mixed) / (1 + eta if reduce == "mean" else 1)
    loss = make("regmixup", eta=eta, reduce=reduce).loss(small_net(), x, y, None, seeded(3))
    assert loss.item() == pytest.approx(expected.item(), abs=2e-6)


def test_the_mean_is_the_released_codes_mean_over_both_halves() -> None:
    (x, y), draws = batch(), Draws(3)
    perm, lam = draws.permutation(6), draws.beta(10.0)
    z = small_net()(torch.cat((x, lam * x + (1 - lam) * x[perm])))
    entropy = torch.nn.functional.cross_entropy
    released = lam * entropy(z, torch.cat((y, y))) + (1 - lam) * entropy(z, torch.cat((y, y[perm])))
    loss = make("regmixup").loss(small_net(), x, y, None, seeded(3))
    assert loss.item() == pytest.approx(released.item(), abs=2e-6)


def test_running_statistics_move_once_for_both_halves() -> None:
    (x, y), net = batch(), small_net()
    make("regmixup").loss(net, x, y, None, seeded(0))
    counts = {int(b) for n, b in net.named_buffers() if n.endswith("num_batches_tracked")}
    assert counts == {1}


def test_spread_of_lam_at_alpha_10() -> None:
    from catchup_bench.method import beta

    gen, method = seeded(0), make("regmixup")
    lam = torch.stack([beta(method.alpha, gen) for _ in range(4000)])
    assert lam.std().item() == pytest.approx(0.109, abs=0.005)
