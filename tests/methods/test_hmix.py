"""HMix against its definition pixel by pixel, with mixup and CutMix at its ends."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench.method import box
from tests.support.method_support import Draws, batch, make, module, seeded

hmix = module("hmix")


def slow(x: Tensor, perm: Tensor, seed: int, ratio: float) -> tuple[Tensor, float]:
    """Mixed images in float64 and λ, from the definition."""
    draws, (height, width) = Draws(seed), x.shape[2:]
    lam, centre = draws.beta(1.0), draws.uniform(2)
    side = ((1 - lam) * ratio) ** 0.5
    row, col = int(centre[0] * height), int(centre[1] * width)
    tall, wide = int(height * side) // 2, int(width * side) // 2
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[max(row - tall, 0) : row + tall, max(col - wide, 0) : col + wide] = True
    share = 1 - int(inside.sum()) / (height * width)
    weight = lam / share if share else 0.0
    own, partner = x.double(), x[perm].double()
    return torch.where(inside, partner, weight * own + (1 - weight) * partner), lam


@settings(max_examples=100)
@given(st.integers(0, 2**31), st.sampled_from([(32, 32), (16, 16), (20, 33)]), st.floats(0, 1))
def test_images_match_the_definition(seed: int, size: tuple[int, int], ratio: float) -> None:
    x, perm = torch.rand(3, 3, *size, generator=seeded(seed)), torch.tensor([1, 2, 0])
    out, lam = make("hmix", ratio=ratio).mix_images(x, perm, seeded(seed))
    expected, weight = slow(x, perm, seed, ratio)
    assert torch.allclose(out.double(), expected, atol=3e-7, rtol=0)
    assert lam.item() == weight


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 1))
def test_the_images_mean_weight_is_lam_wherever_the_box_is(seed: int, lam: float, ratio: float) -> None:
    weights = make("hmix", ratio=ratio).weights(
        torch.tensor(lam, dtype=torch.float64), torch.empty(1, 3, 32, 32), seeded(seed)
    )
    assert weights.min() >= 0 and weights.max() <= 1
    if (weights > 0).any():
        assert weights.double().mean().item() == pytest.approx(lam, abs=1e-6)


def test_numbers_of_an_independent_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    """λ 0.64 and half the box: 12 of 32 pixels a side, so that what is outside weighs 0.74472727."""
    monkeypatch.setattr(torch, "rand", lambda *a, **k: torch.full((2,), 0.5, dtype=torch.float64))
    weights = make("hmix").weights(torch.tensor(0.64, dtype=torch.float64), torch.empty(1, 3, 32, 32), seeded(0))
    assert (weights == 0).sum() == 144
    assert weights.max().item() == pytest.approx(0.74472727, abs=1e-7)


def test_ratio_0_is_mixup() -> None:
    x, perm = batch()[0], torch.tensor([3, 4, 5, 0, 1, 2])
    ours, lam = make("hmix", ratio=0.0).mix_images(x, perm, seeded(1))
    theirs, weight = make("inputmixup", alpha=1.0).mix_images(x, perm, seeded(1))
    assert torch.allclose(ours, theirs, atol=1e-6, rtol=0) and lam == weight


def test_ratio_1_is_cutmix_where_the_box_is() -> None:
    x, perm = batch(2)[0], torch.tensor([1, 0])
    for seed in range(8):
        ours, lam = make("hmix", ratio=1.0).mix_images(x, perm, seeded(seed))
        gen = seeded(seed)
        gen_lam = hmix.beta(1.0, gen)
        mask = box(gen_lam, 16, 16, gen)
        assert torch.equal(ours[:, :, mask], x[perm][:, :, mask]) and lam == gen_lam


def test_lam_1_is_the_image_itself() -> None:
    weights = make("hmix").weights(torch.ones((), dtype=torch.float64), torch.empty(1, 3, 16, 16), seeded(0))
    assert torch.equal(weights, torch.ones(16, 16))
