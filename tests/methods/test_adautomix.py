"""AdAutoMix against its terms computed one by one in loops, and the slow copy's rules."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.method_support import Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net

adautomix = module("adautomix")


def bound(net: Any, **options: Any) -> Any:
    torch.manual_seed(1)
    return make("adautomix", **options).bind(net)


def slow_masks(generator: Any, maps: list[Tensor], size: int) -> list[Tensor]:
    """Masks of three images (each B×1×size×size), position by position in float64."""
    n, channels, height, width = maps[0].shape
    places, raw = height * width, torch.zeros(n, 3, height, width, dtype=torch.float64)

    def at(conv: Any, h: Tensor, i: int, p: int) -> Tensor:
        weight = conv.weight.double().view(conv.out_channels, channels)
        out: Tensor = weight @ h[i].double().flatten(1)[:, p] + conv.bias.double()
        return out

    for i in range(n):
        q = [[at(generator.query, h, i, p).relu() for p in range(places)] for h in maps]
        k = [[at(generator.key, h, i, p).relu() for p in range(places)] for h in maps]
        for m in range(3):
            values = torch.stack([at(generator.value, maps[m], i, p)[0] for p in range(places)])
            for p in range(places):
                scores = [sum(q[m][p] @ k[o][r] for o in range(3) if o != m) for r in range(places)]
                attention = (torch.stack(scores) / (channels // 2) ** 0.5).softmax(0)
                raw[i, m, p // width, p % width] = attention @ values
    full = F.interpolate(raw, size=(size, size), mode="bilinear").softmax(1)
    return [full[:, m : m + 1] for m in range(3)]


def slow(net: Any, x: Tensor, y: Tensor, seed: int, adversarial: bool) -> Tensor:
    """The loss of one step, from the same draws."""
    draws, t, teacher, beside = Draws(seed), one_hot(y), net.extra.teacher, net.extra
    lam = [draws.beta(1.0) for _ in range(3)]
    lam = [v / sum(lam) for v in lam]
    orders = [[draws.permutation(len(x)) for _ in range(3)] for _ in range(2)]

    def pooled(network: Any, images: Tensor) -> Tensor:
        out: Tensor = network(images, stop=5).mean((2, 3))
        return out

    def blend(values: Tensor, order: list[list[int]], weights: list[Any]) -> Tensor:
        return sum(values[o].double() * w for o, w in zip(order, weights, strict=True))  # type: ignore[return-value]

    maps = teacher(x, stop=4)
    masks = [slow_masks(beside.generator, [maps[o] for o in order], x.shape[-1]) for order in orders]
    masks[1] = [mask.detach() for mask in masks[1]]  # the student does not teach the generator
    if lam[0] <= 0.03 or lam[0] >= 0.97:
        masks[1] = [torch.tensor(v) for v in lam]
    hard = beside.teacher_head(pooled(teacher, blend(x, orders[0], masks[0]).float())).double()
    generator = cross_entropy(hard, blend(t, orders[0], lam)).mean()
    if adversarial:
        alone = beside.teacher_head(pooled(teacher, x)).double()
        cosines = [F.cosine_similarity(hard, alone[o]) * w for o, w in zip(orders[0], lam, strict=True)]
        generator = 0.7 * sum(cosines).mean() - 0.3 * generator  # type: ignore[union-attr]
    clean = cross_entropy(net(x), t).mean()
    labels = blend(t, orders[1], lam)
    plain, masked = (
        cross_entropy(beside.head(pooled(net, blend(x, orders[1], w).float())), labels).mean() for w in (lam, masks[1])
    )
    out: Tensor = masked + 0.5 * clean + 0.5 * plain + generator
    return out


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradients_match_the_terms_one_by_one(seed: int) -> None:
    """Two steps: the generator against the copy, then with it."""
    (x, y), net = batch(4, seed=seed), small_net()
    method, other = bound(net), small_net()
    bound(other)
    for p in (net.extra.generator.query.weight, net.extra.generator.key.weight, net.extra.generator.value.weight):
        torch.nn.init.normal_(p, std=0.5, generator=seeded(9))
    for adversarial in (True, False):
        other.load_state_dict(net.state_dict())
        net.zero_grad()
        other.zero_grad()
        loss = method.loss(net, x, y, None, seeded(seed))
        expected = slow(other, x, y, seed, adversarial)
        assert loss.item() == pytest.approx(expected.item(), abs=2e-5)
        loss.backward()
        expected.backward()
        for (name, p), q in zip(net.named_parameters(), other.parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None), name
            assert p.grad is None or torch.allclose(p.grad, q.grad, atol=2e-5, rtol=1e-3), name


def test_a_first_share_near_the_ends_makes_masks_of_the_student_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    (x, y), net, seen = batch(4), small_net(), []
    method = bound(net)
    monkeypatch.setattr(adautomix, "draw_shares", lambda alpha, gen: torch.tensor([0.98, 0.015, 0.005]))
    net.stages[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    method.loss(net, x, y, None, seeded(0))
    _, plain, masked = seen
    assert torch.allclose(plain, masked, atol=1e-6)


def test_the_copy_follows_the_networks_parameters_slowly_and_has_statistics_of_its_own() -> None:
    (x, y), net = batch(), small_net()
    method = bound(net, momentum=0.9)
    before = copy.deepcopy(net.extra.teacher)
    with torch.no_grad():
        for p in [*net.stages.parameters(), *net.head.parameters(), *net.extra.head.parameters()]:
            p.add_(1.0)
    method.loss(net, x, y, None, seeded(0))
    for p, q in zip(net.extra.teacher.parameters(), before.parameters(), strict=True):
        assert torch.allclose(p, q + 0.1, atol=1e-6) and not p.requires_grad
    counts = {int(b) for n, b in net.named_buffers() if n.endswith("num_batches_tracked") and "teacher" in n}
    assert counts == {2}
    own = {int(b) for n, b in net.named_buffers() if n.endswith("num_batches_tracked") and "teacher" not in n}
    assert own == {3}


def test_only_the_generator_learns_from_the_copy() -> None:
    (x, y), net = batch(), small_net()
    method = bound(net)
    method.loss(net, x, y, None, seeded(0)).backward()
    assert all(p.grad is None for p in net.extra.teacher.parameters())
    assert all(p.grad is None for p in net.extra.teacher_head.parameters())
    assert net.extra.generator.value.weight.grad.abs().sum() > 0


def test_masks_sum_to_1_at_every_pixel() -> None:
    generator, maps = adautomix.Generator(8), torch.rand(5, 8, 4, 4, generator=seeded(0))
    order = torch.stack([torch.randperm(5, generator=seeded(s)) for s in range(3)])
    masks = adautomix.make_masks(generator, maps, order, torch.empty(5, 3, 16, 16))
    assert masks.shape == (3, 5, 1, 16, 16) and masks.min() > 0
    assert torch.allclose(masks.sum(0), torch.ones(5, 1, 16, 16), atol=1e-6)


def test_steps_alternate_also_after_a_restart() -> None:
    (x, y), net = batch(), small_net()
    method = bound(net)
    method.loss(net, x, y, None, seeded(0))
    assert net.state_dict()["extra.steps"] == 1
