"""PuzzleMix against a plain reference, sample by sample with loops and enumeration of all masks."""

import importlib
from itertools import product
from math import comb, log
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench import registry

grid = importlib.import_module("catchup_bench.methods._grid")

helpers = importlib.import_module("catchup_bench.methods._saliency")

patches = importlib.import_module("catchup_bench.methods._transport")

Array = npt.NDArray[np.float64]


def make(**options: Any) -> Any:
    return registry.method_class("puzzlemix")(**options)


def sample(count: int, side: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random images and heavy-tailed saliency."""
    gen = torch.Generator().manual_seed(seed)
    x = F.interpolate(torch.rand(count, 3, 4, 4, generator=gen), size=(side, side), mode="bilinear")
    return x, torch.randn(count, side, side, generator=gen).exp()


def slow_blocks(t: Array, n: int) -> Array:
    """Means over n×n blocks of the last two axes."""
    size = t.shape[-1] // n
    rows = [
        [t[..., r * size : (r + 1) * size, c * size : (c + 1) * size].mean((-2, -1)) for c in range(n)]
        for r in range(n)
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def slow_mask(method: Any, x1: Array, x2: Array, s1: Array, s2: Array, lam: float, b: int) -> Array:
    """The best of all b×b masks, by the energy of the specification, edge by edge."""
    top, side = method.labels - 1, x1.shape[-1]
    fine = min(method.neigh, side // b)
    k = side // b // fine
    seen = {1: slow_blocks(x1, side // fine), 0: slow_blocks(x2, side // fine)}
    smooth = method.beta / (16 * b)
    cost = {1: s2.copy(), 0: s1.copy()}  # of keeping the image, of taking the other
    edges = []
    for r, c, down in product(range(b), range(b), (True, False)):
        to = (r + 1, c) if down else (r, c + 1)
        if max(to) < b:
            d = {}
            for a, e in product((0, 1), (0, 1)):
                if down:
                    one, other = (
                        seen[a][:, (r + 1) * k - 1, c * k : (c + 1) * k],
                        seen[e][:, (r + 1) * k, c * k : (c + 1) * k],
                    )
                else:
                    one, other = (
                        seen[a][:, r * k : (r + 1) * k, (c + 1) * k - 1],
                        seen[e][:, r * k : (r + 1) * k, (c + 1) * k],
                    )
                d[a, e] = smooth * method.gamma * np.abs(one - other).mean()
            cost[1][r, c] += (d[1, 0] + d[1, 1]) / 2
            cost[0][r, c] += (d[0, 1] + d[0, 0]) / 2
            cost[1][to] += (d[0, 1] + d[1, 1]) / 2
            cost[0][to] += (d[1, 0] + d[0, 0]) / 2
            edges.append(((r, c), to, smooth + (d[1, 0] + d[0, 1] - d[1, 1] - d[0, 0]) / 2))
    every = np.array(list(product(range(method.labels), repeat=b * b))).reshape(-1, b, b)
    energy = np.zeros(len(every))
    for r, c in product(range(b), range(b)):
        m = 1 - every[:, r, c] / top
        chance = [comb(top, i) * lam ** (top - i) * (1 - lam) ** i for i in range(method.labels)]
        prior = np.array([-log(p + 1e-8) for p in chance])[every[:, r, c]]
        energy += m * cost[1][r, c] + (1 - m) * cost[0][r, c] + method.eta / b**2 * prior
    for s, t, weight in edges:
        energy += weight * ((every[:, s[0], s[1]] - every[:, t[0], t[1]]) / top) ** 2
    return 1 - every[energy.argmin()] / top


def slow_transport(mask: Array, share: Array, eps: float) -> list[int | None]:
    """The patch in every cell after n rounds with the full cost matrix; None where nobody won."""
    n = len(mask)
    cells = list(product(range(n), range(n)))
    cost = np.array(
        [
            [eps * ((a - c) ** 2 + (b - d) ** 2) / (n - 1) ** 2 - share[a, b] * (mask[c, d] > 0) for c, d in cells]
            for a, b in cells
        ]
    )
    winners: list[int | None] = []
    for _ in range(n):
        choice = cost.argmin(1)
        winners = [None] * len(cells)
        for j in set(choice.tolist()):
            rivals = [i for i in range(len(cells)) if choice[i] == j]
            winners[j] = min(rivals, key=lambda i: cost[i, j])
            for i in rivals:
                cost[i, j] += i != winners[j]
    return winners


def slow_move(image: Array, winners: list[int | None], n: int) -> Array:
    out, size = np.zeros_like(image), image.shape[-1] // n
    for j, i in enumerate(winners):
        if i is not None:
            (r, c), (r2, c2) = divmod(j, n), divmod(i, n)
            piece = image[:, r2 * size : (r2 + 1) * size, c2 * size : (c2 + 1) * size]
            out[:, r * size : (r + 1) * size, c * size : (c + 1) * size] = piece
    return out


def slow_mix(method: Any, x: Array, saliency: Array, i: int, j: int, lam: float, b: int) -> tuple[Array, float]:
    side = x.shape[-1]
    shares = [slow_blocks(saliency[k], b) / slow_blocks(saliency[k], b).sum() for k in (i, j)]
    mask = slow_mask(method, x[i], x[j], *shares, lam, b)
    n = side // min(method.t_size, side // b)
    ratio, mask = mask.mean(), mask.repeat(n // b, 0).repeat(n // b, 1)
    fine = [slow_blocks(saliency[k], n) / slow_blocks(saliency[k], n).sum() for k in (i, j)]
    first = slow_move(x[i], slow_transport(mask, fine[0], method.t_eps), n)
    second = slow_move(x[j], slow_transport(1 - mask, fine[1], method.t_eps), n)
    wide = mask.repeat(side // n, 0).repeat(side // n, 1)
    return wide * first + (1 - wide) * second, float(ratio)


@pytest.mark.parametrize(("b", "labels", "side"), [(2, 3, 16), (2, 3, 32), (4, 2, 16), (4, 2, 32), (2, 4, 16)])
def test_mixed_batch_is_that_of_the_formulas(b: int, labels: int, side: int) -> None:
    method = make(labels=labels)
    x, saliency = sample(4, side)
    perm, lam = torch.tensor([2, 0, 1, 3]), torch.tensor(0.6)
    mask = method.mask(x, helpers.shares(saliency, b), perm, lam)
    mixed = method.puzzle(x, saliency, perm, mask)
    for i in range(4):
        image, ratio = slow_mix(method, x.double().numpy(), saliency.double().numpy(), i, int(perm[i]), 0.6, b)
        assert np.abs(mixed[i].numpy() - image).max() < 1e-6
        assert abs(float(mask[i].mean()) - ratio) < 1e-6


def test_labels_mix_by_the_mean_of_the_mask() -> None:
    method = make()
    x, saliency = sample(6, 16)
    target = torch.eye(6)
    seen = []

    class Watched(registry.method_class("puzzlemix")):  # type: ignore[misc]
        def mask(self, *args: Any) -> Any:
            seen.append((args[2], super().mask(*args)))
            return seen[-1][1]

    mixed, soft = Watched().mix(x, target, saliency, 4, torch.Generator().manual_seed(0))
    perm, mask = seen[0]
    ratio = mask.mean((1, 2))[:, None]
    assert torch.equal(soft, ratio * target + (1 - ratio) * target[perm])
    assert set(mask.unique().tolist()) <= {0.0, 0.5, 1.0}
    again = method.mix(x, target, saliency, 4, torch.Generator().manual_seed(0))
    assert torch.equal(mixed, again[0]) and torch.equal(soft, again[1])


@given(st.sampled_from([2, 4, 8, 16]), st.floats(0, 1), st.integers(0, 100))
def test_swapping_the_images_and_lam_turns_the_mask_over(b: int, lam: float, seed: int) -> None:
    method = make()
    x, saliency = sample(2, 32, seed)
    share, perm = helpers.shares(saliency, b), torch.tensor([1, 0])
    one, other = (method.problem(x, share, perm, torch.tensor(v)) for v in (lam, 1 - lam))
    labels = grid.minimise(*one, 60, convex=True)
    turned = grid.energy(2 - labels.flip(0), *other)
    assert torch.allclose(turned, grid.energy(labels, *one).flip(0), atol=1e-5, rtol=0)
    assert (grid.energy(grid.minimise(*other, 60, convex=True), *other) <= turned + 1e-3 * turned.abs()).all()


@given(st.sampled_from([2, 4, 8, 16]), st.integers(0, 100))
def test_weights_are_positive(b: int, seed: int) -> None:
    x, saliency = sample(3, 32, seed)
    _, _, down, across = make().problem(x, helpers.shares(saliency, b), torch.tensor([1, 2, 0]), torch.tensor(0.5))
    assert min(down.min(), across.min()) >= 1.2 / (16 * b) * 0.5


def test_without_prior_and_smoothness_each_cell_shows_the_more_salient_image() -> None:
    x, saliency = sample(5, 16)
    perm, share = torch.tensor([1, 2, 3, 4, 0]), helpers.shares(saliency, 4)
    mask = make(eta=0, beta=0).mask(x, share, perm, torch.tensor(0.3))
    assert torch.equal(mask, (share > share[perm]).float())


@pytest.mark.parametrize("b", [2, 4, 8, 16])
def test_constant_images_of_flat_saliency_stay_whole_at_lam_one(b: int) -> None:
    x = torch.rand(3, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(3, 3, 32, 32)
    mask = make().mask(x, helpers.shares(torch.ones(3, 32, 32), b), torch.tensor([1, 2, 0]), torch.tensor(1.0))
    assert (mask == 1).all()


def test_a_mask_of_ones_gives_the_image_back() -> None:
    x, saliency = sample(3, 16)
    whole = make(transport=False).puzzle(x, saliency, torch.tensor([1, 2, 0]), torch.ones(3, 4, 4))
    assert torch.equal(whole, x)
    assert torch.equal(patches.join(patches.cut(x, 8), x), x)


def test_saliency_that_overflows_32_bits_in_the_released_code_is_solved_exactly() -> None:
    x, saliency = sample(4, 32)
    share = helpers.shares(saliency**4, 8)
    parts = make().problem(x, share, torch.tensor([1, 2, 3, 0]), torch.tensor(0.4))
    assert (parts[0] * 64 * 1000 * 1e5).max() > 2**31
    exact = grid.frontier(*(t.expand(4, *t.shape[1:]) for t in parts), torch.empty(64, 4, 3**8))
    assert torch.allclose(
        grid.energy(grid.minimise(*parts, 60, convex=True), *parts), grid.energy(exact, *parts), atol=1e-6, rtol=0
    )


@given(st.sampled_from([2, 4, 8]), st.floats(0.05, 2), st.floats(0, 1), st.integers(0, 200))
def test_transport_agrees_with_the_full_matrix_where_it_shows(n: int, eps: float, part: float, seed: int) -> None:
    gen = torch.Generator().manual_seed(seed)
    share = torch.rand(2, n, n, generator=gen, dtype=torch.float64) ** 4
    share = share / share.sum((1, 2), keepdim=True)
    wanted = torch.rand(2, n, n, generator=gen) < part
    source = patches.arrange(share, wanted, eps)
    for i in range(2):
        slow = slow_transport(wanted[i].double().numpy(), share[i].numpy(), eps)
        shown = wanted[i].flatten().nonzero()[:, 0].tolist()
        assert [slow[j] for j in shown] == source[i, shown].tolist()
        assert len(set(source[i, shown].tolist())) == len(shown)


def test_patches_stay_where_moving_is_dear() -> None:
    share = helpers.shares(sample(3, 32)[1], 8)
    assert torch.equal(patches.arrange(share, share > 0.01, 1e6), torch.arange(64).expand(3, -1))


def test_any_even_size_is_mixed_and_others_are_refused() -> None:
    for side in (28, 6):
        x, saliency = sample(3, side)
        mixed, soft = make().mix(x, torch.eye(3), saliency, 16, torch.Generator().manual_seed(0))
        assert mixed.shape == x.shape and bool(mixed.isfinite().all()) and bool(soft.isfinite().all())
    for shape in ((1, 3, 9, 9), (1, 3, 16, 32)):
        with pytest.raises(ValueError, match="image size"):
            helpers.divisible(torch.empty(shape), 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_mask_dtype_and_format(dtype: torch.dtype) -> None:
    x, saliency = sample(4, 16)
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    mixed, soft = make().mix(x, torch.eye(4), saliency, 4, torch.Generator().manual_seed(0))
    plain, same = make().mix(x.float().contiguous(), torch.eye(4), saliency, 4, torch.Generator().manual_seed(0))
    assert mixed.dtype == dtype and mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(soft, same) and torch.equal(mixed, plain.to(dtype))


def test_plans_are_the_grid_sizes() -> None:
    rng, method, never = np.random.default_rng(0), make(), make(prob=0.0)
    drawn = [method.plan(rng) for _ in range(2000)]
    assert all(abs(drawn.count(b) / 2000 - 0.25) < 0.04 for b in (2, 4, 8, 16))
    assert {never.plan(rng) for _ in range(50)} == {None}


@pytest.mark.parametrize(
    ("field", "value"), [("gamma", 1.0), ("blocks", ()), ("labels", 1), ("prob", 1.5), ("neigh", 0)]
)
def test_fields_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        make(**{field: value})
