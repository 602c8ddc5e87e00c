"""The saliency pass that PuzzleMix, Co-Mixup and GuidedMixup share."""

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from catchup_bench import registry
from catchup_bench.method import frozen_statistics, soft_loss
from catchup_bench.verification.method import make_batch, make_net

helpers = importlib.import_module("catchup_bench.methods._saliency")


@pytest.mark.parametrize(("side", "b"), [(28, 4), (16, 16), (64, 16), (48, 16), (224, 16), (6, 2)])
def test_grids_that_do_not_divide_the_image_are_halved(side: int, b: int) -> None:
    assert helpers.divisible(torch.empty(1, 3, side, side), 16) == b


def gradients(net: Any) -> list[torch.Tensor]:
    return [p.grad.clone() for p in net.parameters()]


def test_looking_without_a_clean_term_leaves_no_trace() -> None:
    net, (x, y) = make_net(), make_batch(6)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    saliency, clean = helpers.look(net, x, y, 0.0, frozen=True)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters()) and net.training and float(clean) == 0
    image = x.clone().requires_grad_()
    with frozen_statistics(net):
        (grad,) = torch.autograd.grad(F.cross_entropy(net(image), y), image)
    expected = ((grad * net.std) ** 2).mean(1).sqrt()
    assert torch.allclose(helpers.shares(saliency, 16), helpers.shares(expected, 16), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("criterion", "weight"), [("ce", 0.7), ("bce", 0.7 * 2 / 10)])
def test_clean_term_adds_its_gradients_and_its_value(criterion: Any, weight: float) -> None:
    method, (x, y) = registry.method_class("puzzlemix")(clean_lam=0.7, criterion=criterion), make_batch(6)
    net = make_net()
    loss = method.loss(net, x, y, 4, torch.Generator().manual_seed(0))
    loss.backward()
    other = make_net()
    clean = weight * F.cross_entropy(other(x), y)
    saliency, _ = helpers.look(make_net(), x, y, weight, frozen=True)
    mixed, soft = method.mix(x, torch.eye(10)[y], saliency, 4, torch.Generator().manual_seed(0))
    total = clean + soft_loss(other(mixed), soft, criterion)
    total.backward()
    assert torch.allclose(loss, total, atol=1e-6, rtol=0)
    for got, expected in zip(gradients(net), gradients(other), strict=True):
        assert torch.allclose(got, expected, atol=1e-5, rtol=1e-4)
    assert int(net.stages[1][0].bn1.num_batches_tracked) == 2
