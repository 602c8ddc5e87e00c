"""PRIME's three primitives against plain computations in float64, and its mixture against a loop over images."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.method_support import Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net

prime = module("prime")


def uniforms(draws: Draws, calls: int) -> list[float]:
    out: list[float] = draws.uniform(calls).tolist()
    return out


def slow_colour(x: Tensor, draws: Draws) -> Tensor:
    """c + √T Σ g sin(πkc) with every term written out."""
    terms, strength = uniforms(draws, len(x)), uniforms(draws, len(x))
    g = torch.randn(100, *x.shape[:3], generator=draws.gen).double()
    out = x.double().clone()
    for call, (u, v) in enumerate(zip(terms, strength, strict=True)):
        for k in range(1, 2 + int(u * 100)):
            wave = (math.pi * k * x[call].double()).sin()
            out[call] += math.sqrt(0.01 * v) * g[k - 1, call, :, :, None, None] * wave
    return out.clamp(0, 1)


def slow_filter(x: Tensor, draws: Draws, official: bool) -> Tensor:
    """Each image through torch's convolution."""
    sizes, g, out = uniforms(draws, len(x)), torch.randn(*x.shape[:2], 9, generator=draws.gen), x.double().clone()
    for call, size in enumerate(sizes):
        for i in range(x.shape[1]):
            kernel = 4 * size * g[call, i].double().view(3, 3)
            kernel[(2, 2) if official else (1, 1)] += 1
            out[call, i] = F.conv2d(x[call, i, :, None].double(), kernel[None, None], padding=1)[:, 0]
    return out.clamp(0, 1)


def slow_deformation(x: Tensor, draws: Draws) -> Tensor:
    """The field summed mode by mode, the images read by torch's bilinear sampler."""
    first, most, second = (uniforms(draws, len(x)) for _ in range(3))
    g, n, out = torch.randn(2, len(x), 100, 100, generator=draws.gen).double(), x.shape[-1], x.double().clone()
    grid = torch.linspace(0, 1, n, dtype=torch.float64)
    for call in range(len(x)):
        b1, b2 = (math.sin(math.pi / 2 * u[call]) ** 2 for u in (first, second))
        cut = int(b1 * (3 + int(most[call] * 98) - 1) + 2)
        low = 1 / (math.pi * n**2 * math.log(cut))
        temperature = low + b2 * (max(low, 4 / (math.pi**3 * cut**2 * math.log(cut))) - low)
        moved = []
        for axis in (1, 0):  # columns first, as the sampler takes them
            field = torch.zeros(n, n, dtype=torch.float64)
            for i in range(1, cut + 1):
                for j in range(1, cut + 1):
                    if i * i + j * j < (cut + 0.5) ** 2:
                        mode = (math.pi * i * grid).sin()[:, None] * (math.pi * j * grid).sin()
                        field += g[axis, call, i - 1, j - 1] / math.hypot(i, j) * mode
            line = torch.arange(n, dtype=torch.float64)
            place = (line if axis else line[:, None]) - math.sqrt(temperature) * n * field
            moved.append(place.clamp(0, n - 1) / (n - 1) * 2 - 1)
        flow = torch.stack(moved, 2).expand(x.shape[1], -1, -1, -1)
        out[call] = F.grid_sample(x[call].double(), flow, align_corners=True, padding_mode="border")
    return out


@pytest.mark.parametrize("seed", range(5))
def test_primitives_match_plain_computations(seed: int) -> None:
    x = torch.rand(2, 3, 3, 16, 16, generator=seeded(seed))
    pairs = [
        (prime.recolour(x, seeded(seed)), slow_colour(x, Draws(seed)), 1e-4),
        (prime.refilter(x, seeded(seed), False), slow_filter(x, Draws(seed), False), 1e-5),
        (prime.refilter(x, seeded(seed), True), slow_filter(x, Draws(seed), True), 1e-5),
        (prime.reshape(x, seeded(seed)), slow_deformation(x, Draws(seed)), 1e-5),
    ]
    for ours, expected, tolerance in pairs:
        assert torch.allclose(ours.double(), expected, atol=tolerance, rtol=0)


def test_views_match_a_loop_over_images() -> None:
    x, draws = batch(4)[0], Draws(2)
    out = torch.stack(make("prime").views(x, 2, seeded(2)))
    depth, state = 1 + (draws.uniform(2, 12) * 3).int(), x.repeat(3, 1, 1, 1).expand(2, -1, -1, -1, -1).double()
    for step in range(3):
        which, at = (draws.uniform(2, 12) * 3).int(), state.float()
        changed = [slow_colour(at, draws), slow_filter(at, draws, False), slow_deformation(at, draws)]
        state = state.clone()
        for view in range(2):
            for i in range(12):
                if step < depth[view, i]:
                    state[view, i] = changed[int(which[view, i])][view, i]
    e = -torch.log1p(-draws.uniform(3, 2, 4))
    weights, share = e / e.sum(0), draws.uniform(2, 4)
    for view in range(2):
        for i in range(4):
            mixed = sum(weights[chain, view, i] * state[view, chain * 4 + i] for chain in range(3))
            expected = (1 - share[view, i]) * x[i].double() + share[view, i] * mixed
            assert torch.allclose(out[view, i].double(), expected, atol=2e-3, rtol=0)  # a filter magnifies what is off
            assert (out[view, i].double() - expected).abs().mean() < 2e-5


def test_loss_is_augmixs() -> None:
    (x, y), net, method = batch(), small_net(), make("prime")
    z = net(torch.cat((x, *method.views(x, 2, seeded(1))))).double()
    p = z.log_softmax(1).chunk(3)
    mean = (sum(q.exp() for q in p) / 3).log()
    jsd = sum((q.exp() * (q - mean)).sum(1).mean() for q in p) / 3
    expected = cross_entropy(z[:6], one_hot(y)).mean() + 12 * jsd
    assert method.loss(small_net(), x, y, None, seeded(1)).item() == pytest.approx(expected.item(), abs=5e-5)
    single = make("prime", jsd=False)
    expected = cross_entropy(small_net()(single.views(x, 1, seeded(1))[0]), one_hot(y)).mean()
    assert single.loss(small_net(), x, y, None, seeded(1)).item() == pytest.approx(expected.item(), abs=1e-5)


def test_sine_series_is_the_sum() -> None:
    theta, g = math.pi * torch.linspace(0, 1, 257), torch.randn(100, 1, generator=seeded(0))
    plain = sum(g[k - 1].double() * (k * theta.double()).sin() for k in range(1, 101))
    assert torch.allclose(prime.sine_series(g, theta).double(), plain, atol=2e-3, rtol=0)
    assert torch.allclose(prime.sine_series(g.double(), theta.double()), plain, atol=1e-9, rtol=0)


def test_curves_leave_black_and_white_where_they_are() -> None:
    ends = torch.tensor([0.0, 1.0]).expand(3, 20, 3, 1, 2)
    assert torch.allclose(prime.recolour(ends, seeded(0)), ends, atol=1e-4)


def test_filters_of_size_0_are_the_identity_or_officially_a_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(1, 2, 3, 8, 8)
    monkeypatch.setattr(prime, "uniform", lambda gen, *shape: torch.zeros(shape, dtype=torch.float64))
    assert torch.equal(prime.refilter(x, seeded(0), False), x)
    shifted = prime.refilter(x, seeded(0), True)
    assert torch.equal(shifted[..., :-1, :-1], x[..., 1:, 1:])
    assert shifted[..., -1, :].abs().max() == shifted[..., -1].abs().max() == 0


def test_deformations_keep_the_border_and_lie_between_the_pixels() -> None:
    x = torch.rand(4, 2, 3, 16, 16, generator=seeded(0))
    out = prime.reshape(x, seeded(1))
    for edge in (out - x)[..., 0, :], (out - x)[..., -1, :], (out - x)[..., 0], (out - x)[..., -1]:
        assert edge.abs().max() < 1e-5
    assert (out - x).abs().max() > 0.05
    assert out.min() >= x.min() and out.max() <= x.max()


def test_views_differ_from_the_images_and_stay_in_0_to_1() -> None:
    x = batch(20, 32)[0]
    views = torch.stack(make("prime").views(x, 2, seeded(0)))
    assert views.min() >= 0 and views.max() <= 1 + 1e-6
    assert (views != x).flatten(2).any(2).all()


def test_it_says_which_corruptions_it_trains_relatives_of() -> None:
    assert "elastic_transform" in make("prime").trained_on
