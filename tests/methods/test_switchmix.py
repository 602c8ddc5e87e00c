"""The switch of mixup and CutMix against timm's."""

import importlib
import warnings
from types import ModuleType

import numpy as np
import pytest
import torch

from catchup_bench import method as contract
from catchup_bench.method import one_hot
from tests.support.method_support import CLASSES, Draws, batch, make, seeded, small_net


@pytest.fixture(scope="module")
def timm_mixup() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm scripts an interface at import
        return importlib.import_module("timm.data.mixup")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("plan", ["mixup", "cutmix", None])
def test_images_and_targets_are_timms(
    seed: int, plan: str | None, timm_mixup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """timm draws on the host: it is given the numbers of the step."""
    (x, y), draws = batch(6), Draws(seed)
    alphas: list[float] = []

    def beta(a: float, b: float) -> float:
        alphas.append(a)
        return draws.beta(a, b)

    coins = [0.0 if plan else 0.999, 0.0 if plan == "cutmix" else 0.999]
    monkeypatch.setattr(np.random, "rand", lambda: coins.pop(0))
    monkeypatch.setattr(np.random, "beta", beta)
    monkeypatch.setattr(np.random, "randint", lambda low, high, size=None: low + int(draws.uniform() * (high - low)))
    mixer = timm_mixup.Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.9, label_smoothing=0.1, num_classes=CLASSES)
    theirs, their_target = mixer(x.clone(), y)
    target = 0.9 * one_hot(y, CLASSES) + 0.1 / CLASSES
    ours, our_target = make("switchmix").mix(x, target, plan, seeded(seed))
    assert torch.allclose(ours, theirs, atol=1.2e-7, rtol=0)
    assert torch.allclose(our_target, their_target, atol=1.2e-7, rtol=0)
    assert alphas == {"mixup": [0.8], "cutmix": [1.0], None: []}[plan]


@pytest.mark.parametrize(("prob", "switch"), [(1.0, 0.5), (0.6, 0.3), (0.0, 0.5)])
def test_plans_come_as_often_as_they_should(prob: float, switch: float) -> None:
    rng, method = np.random.default_rng(0), make("switchmix", prob=prob, switch_prob=switch)
    plans = [method.plan(rng) for _ in range(10_000)]
    expected = {None: 1 - prob, "cutmix": prob * switch, "mixup": prob * (1 - switch)}
    for plan, share in expected.items():
        assert plans.count(plan) / 10_000 == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("plan", "other"), [("mixup", "inputmixup"), ("cutmix", "cutmix")])
def test_without_smoothing_it_is_the_method_of_that_name_with_the_batch_reversed(
    plan: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = batch(7)
    loss = make("switchmix", smoothing=0.0, mixup_alpha=1.0).loss(small_net(), x, y, plan, seeded(2))
    monkeypatch.setattr(contract, "permutation", lambda n, gen: torch.arange(n).flip(0))
    assert torch.equal(loss, make(other, alpha=1.0).loss(small_net(), x, y, 0, seeded(2)))


def test_targets_are_smoothed_also_in_a_plain_step() -> None:
    x, y = batch()
    expected = make("labelsmoothing", eps=0.1).loss(small_net(), x, y, None, seeded(0))
    assert torch.equal(make("switchmix").loss(small_net(), x, y, None, seeded(0)), expected)


def test_targets_sum_to_1_and_leave_no_class_below_eps_over_k() -> None:
    x, y = batch()
    for plan in ("mixup", "cutmix"):
        _, target = make("switchmix").mix(x, 0.9 * one_hot(y, CLASSES) + 0.1 / CLASSES, plan, seeded(4))
        assert torch.allclose(target.sum(1), torch.ones(6), atol=1e-6)
        assert target.min() >= 0.1 / CLASSES - 1e-7
