"""The decoupled loss against its definition row by row, on every mixup that it can be put on."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.method_support import CLASSES, batch, make, module, one_hot, seeded, small_net

BASES = module("_bases").BASES
ALPHA = 1.0


def bound(net: Any, **options: Any) -> Any:
    method = make("decoupled", **options).bind(net)
    method.start_epoch(net)
    return method


def slow_term(
    z: Tensor, a: list[int], b: list[int], lam: list[float], power: float, mode: str, official: bool
) -> float:
    """Mean of the decoupled terms, row by row: the image's own class a weighs lam, its partner's b the rest."""
    total, exchange = 0.0, False
    if official:
        mixed = [i != j and min(w, 1 - w) > 1e-3 for i, j, w in zip(a, b, lam, strict=True)]
        first = mixed.index(True) if any(mixed) else None
        exchange = first is not None and a[first] > b[first]
    for row, i, j, w in zip(z.double().tolist(), a, b, lam, strict=True):
        if i == j or min(w, 1 - w) <= 1e-3 or (official and w == 0.5):
            continue
        eta = [w**power, (1 - w) ** power]
        if mode != "both":
            keep = int(w < 0.5) if mode == "more" else int(w >= 0.5)
            eta[1 - keep] = 0.0
        if exchange:
            eta.reverse()
        for weight, own, other in ((eta[0], i, j), (eta[1], j, i)):
            rest = sum(math.exp(v) for c, v in enumerate(row) if c != other)
            total -= weight * math.log(math.exp(row[own]) / rest)
    return total / len(a)


def targets(a: list[int], b: list[int], lam: list[float], classes: int) -> Tensor:
    w = torch.tensor(lam, dtype=torch.float64)[:, None]
    return (w * one_hot(torch.tensor(a), classes) + (1 - w) * one_hot(torch.tensor(b), classes)).float()


@given(
    st.integers(0, 2**31),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(["both", "more", "less"]),
    st.booleans(),
    st.booleans(),
)
def test_term_matches_the_definition(
    seed: int, lam: float, power: float, mode: str, official: bool, per_image: bool
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(6, size=(2, 8)).tolist()
    lams = [float(v) for v in (rng.random(8) if per_image else np.full(8, lam))]
    if any(0.499 < v < 0.501 or 5e-4 < min(v, 1 - v) < 2e-3 for v in lams):
        return  # float32 targets may be on the other side
    z = 3 * torch.randn(8, 6, generator=seeded(seed))
    method = make("decoupled", power=power, mode=mode, official=official)
    ours = method.term(z, targets(a, b, lams, 6), torch.tensor(a))
    assert ours.item() == pytest.approx(slow_term(z, a, b, lams, power, mode, official), abs=2e-5)


def test_loss_is_the_number_of_an_independent_computation() -> None:
    z, a, b = torch.tensor([[1.0, 2, 0, -1], [0.5, 0.5, 1, 0]]), [0, 2], [1, 3]
    target = targets(a, b, [0.7, 0.7], 4)
    base = torch.nn.functional.cross_entropy(z, target)
    loss = base + 0.1 * make("decoupled").term(z, target, torch.tensor(a))
    assert loss.item() == pytest.approx(1.26065921, abs=1e-6)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_the_base_is_unchanged_but_for_the_term(base: str, official: bool) -> None:
    """The loss is the base's plus η times the term of the very logits and targets that the base has."""
    (x, y), ours, theirs, seen = batch(8), small_net(), small_net(), []
    method = bound(ours, base=base, alpha=ALPHA, eta=0.3, official=official)
    mixer = make(base, alpha=ALPHA).bind(theirs)

    def record(logits: Tensor, target: Tensor) -> Tensor:
        seen.append((logits, target))
        return torch.nn.functional.cross_entropy(logits, target)

    plans = list(dict.fromkeys(method.plan(np.random.default_rng(s)) for s in range(20)))
    for plan in plans:
        seen.clear()
        ours.load_state_dict(small_net().state_dict())
        theirs.load_state_dict(ours.state_dict())
        loss = method.loss(ours, x, y, plan, seeded(3))
        plain = replace(mixer, criterion=record).loss(theirs, x, y, plan, seeded(3))
        ((z, target),) = seen
        a = y.tolist()
        t = target - one_hot(y).float() * target
        b = [int(row.argmax()) if row.max() > 0 else own for row, own in zip(t, a, strict=True)]
        lam = [float(target[i, own]) for i, own in enumerate(a)]
        expected = plain.item() + 0.3 * slow_term(z.detach(), a, b, lam, 1.0, "both", official)
        assert loss.item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("base", ["inputmixup", "cutmix", "manifold", "catchup"])
def test_eta_0_is_the_base_bit_for_bit(base: str) -> None:
    (x, y), ours, theirs = batch(), small_net(), small_net()
    method, mixer = bound(ours, base=base, eta=0.0), make(base, alpha=1.0).bind(theirs)
    plan = method.plan(np.random.default_rng(1))
    assert plan == mixer.plan(np.random.default_rng(1))
    assert torch.equal(
        method.loss(ours, x, y, plan, seeded(0)).detach(), mixer.loss(theirs, x, y, plan, seeded(0)).detach()
    )


def test_terms_do_not_depend_on_the_other_class() -> None:
    z = torch.randn(4, CLASSES, generator=seeded(0), requires_grad=True)
    a, b = [0, 1, 2, 3], [1, 2, 3, 4]
    term = make("decoupled", mode="more").term(z, targets(a, b, [0.7] * 4, CLASSES), torch.tensor(a))
    term.backward()
    assert z.grad is not None
    assert torch.equal(z.grad[torch.arange(4), torch.tensor(b)], torch.zeros(4))
    assert bool(z.grad.isfinite().all())


def test_images_of_one_class_have_no_term_and_finite_gradients() -> None:
    z = (50 * torch.randn(4, CLASSES, generator=seeded(0))).requires_grad_()
    y = torch.tensor([0, 1, 2, 3])
    term = make("decoupled").term(z, one_hot(y).float(), y)
    term.backward()
    assert term.item() == 0
    assert z.grad is not None and torch.equal(z.grad, torch.zeros_like(z))


def test_a_base_that_it_cannot_be_put_on_is_refused() -> None:
    with pytest.raises(ValueError, match="base = 'comixup' is not allowed: it takes inputmixup, cutmix"):
        make("decoupled", base="comixup")
