"""PixMix against a loop over images with Pillow, and its mixing pictures."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support import pillow_ops
from tests.support.method_support import Draws, batch, make, module, seeded, small_net

pictures = module("_pictures")
image = module("_imageops")


def slow_mix(m: float, s: float, a: float, b: float, summed: bool) -> float:
    """One value in [0,1], by the definition in float64."""
    out = (a * (2 * m - 1) + b * (2 * s - 1) + 1) / 2 if summed else 0.5 * (2 * m) ** a * max(2 * s, 1e-37) ** b
    return min(max(out, 0.0), 1.0)


def slow(x: Tensor, picture: Tensor, seed: int, rounds: int, beta: float, first: int, kinds: int) -> Tensor:
    """Mixed images in float64, image by image, from the same numbers in the order of a step."""
    draws, n = Draws(seed), len(x)
    total = (rounds + 1) * n
    kind, level, direction = draws.uniform(total), 0.1 + 2.9 * draws.uniform(total), draws.uniform(total)
    coins, sums, count = draws.uniform(rounds + 1, n), draws.uniform(rounds, n), draws.uniform(n)
    which, u, v = (draws.uniform(rounds, n) for _ in range(3))
    out = []
    for i in range(n):

        def changed(r: int, i: int = i) -> Tensor:
            j = r * n + i
            byte = (x[i] * 255).round().to(torch.uint8)
            sign = -1 if direction[j] < 0.5 else 1
            done = pillow_ops.apply(byte, first + int(kind[j] * kinds), float(level[j]), sign)
            return done.double() / 255

        m = changed(rounds) if coins[rounds, i] < 0.5 else x[i].double()
        for r in range(int(count[i] * (rounds + 1))):
            s = changed(r) if coins[r, i] < 0.5 else picture[i].double() / 255
            p, q = float(u[r, i]) ** (1 / beta), float(v[r, i]) ** (1 / beta)
            a, b = (p, 1 - q) if which[r, i] < 0.5 else (2 - p, q - 1)
            pairs = zip(m.flatten().tolist(), s.flatten().tolist(), strict=True)
            flat = [slow_mix(c, d, a, b, bool(sums[r, i] < 0.5)) for c, d in pairs]
            m = torch.tensor(flat, dtype=torch.float64).view(m.shape)
        out.append(m)
    return torch.stack(out)


@pytest.mark.parametrize(("rounds", "all_ops", "seed"), [(4, False, 0), (4, True, 1), (2, False, 2), (0, False, 3)])
def test_images_match_a_loop_over_images(rounds: int, all_ops: bool, seed: int) -> None:
    x, other = batch(12)[0], batch(12, seed=9)[0].mul(255).round().to(torch.uint8)
    out = make("pixmix", rounds=rounds, all_ops=all_ops).mix(x, other, seeded(seed))
    expected = slow(x, other, seed, rounds, 3.0, *((0, 13) if all_ops else (4, 9)))
    assert torch.allclose(out.double(), expected, atol=2e-6, rtol=0)


def test_sum_and_product_are_the_numbers_of_an_independent_computation() -> None:
    m, s, a, b = (torch.tensor(v) for v in (0.6, 0.2, 0.75, 0.25))
    assert pictures.add(m, s, a, b).item() == pytest.approx(0.5, abs=1e-7)
    assert pictures.multiply(m, s, a, b).item() == pytest.approx(0.45590, abs=1e-5)


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_weight_1_for_the_first_image_is_that_image(m: float, s: float) -> None:
    one, zero = torch.ones(()), torch.zeros(())
    for mix in (pictures.add, pictures.multiply):
        assert mix(torch.tensor(m), torch.tensor(s), one, zero).item() == pytest.approx(m, abs=1.2e-7)


@given(st.integers(0, 2**31))
def test_extreme_values_stay_finite_and_within_0_and_1(seed: int) -> None:
    gen = seeded(seed)
    x = torch.randint(3, (8, 3, 8, 8), generator=gen) / 2
    other = torch.randint(2, (8, 3, 8, 8), generator=gen, dtype=torch.uint8) * 255
    out = METHOD.mix(x, other, gen)
    assert bool(out.isfinite().all()) and out.min() >= 0 and out.max() <= 1


METHOD = make("pixmix")


def test_no_round_is_the_image_or_one_operation_half_and_half() -> None:
    x = batch(1)[0].expand(400, -1, -1, -1)
    out = make("pixmix", rounds=0).mix(x, torch.zeros_like(x).byte(), seeded(0))
    same = (out == x).flatten(1).all(1).double().mean().item()
    assert 0.5 < same < 0.68  # some operations change nothing
    assert torch.equal((out * 255).round() / 255, out)


def test_coefficients_have_the_means_of_their_distributions() -> None:
    a, b = pictures.draw_coefficients(3.0, seeded(0), 40_000)
    plain = b >= 0
    assert plain.double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert a[plain].mean().item() == pytest.approx(0.75, abs=0.01)
    assert b[plain].mean().item() == pytest.approx(0.25, abs=0.01)
    assert a[~plain].mean().item() == pytest.approx(1.25, abs=0.01)
    assert b[~plain].mean().item() == pytest.approx(-0.25, abs=0.01)
    assert torch.corrcoef(torch.stack((a[plain], b[plain])))[0, 1].abs() < 0.03


def test_coefficients_follow_beta() -> None:
    from scipy import stats

    a, b = pictures.draw_coefficients(3.0, seeded(1), 20_000)
    assert stats.kstest(a[b >= 0].numpy(), stats.beta(3, 1).cdf).pvalue > 1e-4
    assert stats.kstest(b[b >= 0].numpy(), stats.beta(1, 3).cdf).pvalue > 1e-4


def test_pictures_are_the_same_bytes_everywhere() -> None:
    made = pictures.pictures(64, 18)
    assert (
        hashlib.sha256(made.numpy().tobytes()).hexdigest()
        == "81d311728c2113221da85a4619648c960f92c145d6db839788d8e2f5e72cc5aa"
    )
    assert torch.equal(pictures.pictures.__wrapped__(40, 18), made[:40])


def test_pictures_are_neither_flat_nor_alike() -> None:
    made = pictures.pictures(64, 36).float() / 255
    spread = made.std((2, 3))
    assert spread.min() > 0.1 and spread.mean().item() == pytest.approx(0.27, abs=0.02)
    assert torch.corrcoef(made.flatten(1)).fill_diagonal_(0).abs().max() < 0.95


def test_crops_are_parts_of_pictures() -> None:
    net, (x, _) = small_net(), batch(40)
    make("pixmix", pictures=5).bind(net)
    crops = net.extra.crops(x, seeded(0))
    draws = Draws(0)
    which, top, left = ((draws.uniform(40) * k).long().tolist() for k in (5, 3, 3))
    assert net.extra.made.shape == (5, 3, 18, 18)
    for i, crop in enumerate(crops):
        assert torch.equal(crop, net.extra.made[which[i], :, top[i] : top[i] + 16, left[i] : left[i] + 16])
    assert set(which) == set(range(5)) and set(top) == set(left) == {0, 1, 2}


def test_pictures_are_not_saved() -> None:
    net, (x, y) = small_net(), batch()
    method = make("pixmix", pictures=5).bind(net)
    assert method.loss(net, x, y, None, seeded(0)).isfinite()
    assert net.state_dict().keys() == small_net().state_dict().keys()


@pytest.mark.parametrize("all_ops", [False, True])
def test_it_says_which_corruptions_it_trains_relatives_of(all_ops: bool) -> None:
    assert bool(make("pixmix", all_ops=all_ops).trained_on) == all_ops
