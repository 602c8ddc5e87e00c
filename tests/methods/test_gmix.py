"""GMix against its definition pixel by pixel."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.method_support import Draws, make, module, seeded

gmix = module("gmix")


def weights(lam: float, row: int, col: int, height: int = 32, width: int = 32) -> torch.Tensor:
    out: torch.Tensor = gmix.weights(torch.tensor(lam, dtype=torch.float64), torch.tensor([row, col]), height, width)
    return out


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([(32, 32), (16, 16), (12, 20)]))
def test_images_match_the_definition(seed: int, size: tuple[int, int]) -> None:
    x, perm, draws = torch.rand(3, 3, *size, generator=seeded(seed)), torch.tensor([1, 2, 0]), Draws(seed)
    out, share = make("gmix").mix_images(x, perm, seeded(seed))
    (height, width), lam, u = size, draws.beta(1.0), draws.uniform(2)
    row, col, total, expected = int(u[0] * height), int(u[1] * width), 0.0, torch.zeros_like(x, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            area = max(min(lam, 1 - lam), 1e-6) * height * width
            g = math.exp(-math.pi * ((i - row) ** 2 + (j - col) ** 2) / area)
            weight = g if lam < 0.5 else 1 - g
            total += weight
            expected[:, :, i, j] = weight * x[:, :, i, j].double() + (1 - weight) * x[perm][:, :, i, j].double()
    assert torch.allclose(out.double(), expected, atol=3e-7, rtol=0)
    assert share.item() == pytest.approx(total / (height * width), abs=1e-12)


def test_numbers_of_an_independent_computation() -> None:
    w = weights(0.3, 20, 10)
    assert w.mean().item() == pytest.approx(0.26533773, abs=1e-7)
    assert w[0, 0].item() == pytest.approx(0.00601638, abs=1e-8)
    assert w[20, 10] == 1


@pytest.mark.parametrize(("lam", "mean"), [(0.05, 0.043), (0.1, 0.081), (0.3, 0.205), (0.4999, 0.300)])
def test_mean_weight_over_all_centres_as_measured_on_the_released_rule(lam: float, mean: float) -> None:
    every = torch.stack([weights(lam, i, j).mean() for i in range(32) for j in range(32)])
    assert every.mean().item() == pytest.approx(mean, abs=0.001)


def test_exchanging_images_and_shares_gives_the_same_weights() -> None:
    assert torch.allclose(weights(0.2, 5, 9), 1 - weights(0.8, 5, 9), atol=1e-12, rtol=0)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_weights_stay_between_0_and_1_at_the_ends(lam: float) -> None:
    w = weights(lam, 3, 3)
    assert w.min() >= 0 and w.max() <= 1
