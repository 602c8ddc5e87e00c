"""GuidedMixup against a plain reference in numpy."""

import importlib
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench import registry
from catchup_bench.verification.method import make_batch, make_net

guided = importlib.import_module("catchup_bench.methods.guidedmixup")

helpers = importlib.import_module("catchup_bench.methods._saliency")

Array = npt.NDArray[np.float64]


def make(**options: Any) -> Any:
    return registry.method_class("guidedmixup")(**options)


def some(count: int, side: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=gen), torch.randn(count, side, side, generator=gen).exp()


def slow_blur(t: Array) -> Array:
    weights = np.exp(-0.5 * (np.arange(-3, 4) / 3.0) ** 2)
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    padded = np.pad(t, 3, mode="reflect")
    places = product(range(t.shape[0]), range(t.shape[1]))
    return np.array([(padded[r : r + 7, c : c + 7] * kernel).sum() for r, c in places]).reshape(t.shape)


def slow_residual(image: Array) -> Array:
    grey = 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    spectrum = np.fft.fft2(grey)
    amplitude = np.sqrt(np.abs(spectrum) ** 2 + 1e-10)
    padded = np.pad(np.log(amplitude), 1, mode="edge")
    places = product(range(grey.shape[0]), range(grey.shape[1]))
    mean = np.array([padded[r : r + 3, c : c + 3].mean() for r, c in places]).reshape(grey.shape)
    residual = np.exp(np.log(amplitude) - mean)
    return slow_blur(np.abs(np.fft.ifft2(residual * spectrum / amplitude)))


def slow_cycle(maps: Array) -> list[int]:
    """Partners by walking: from the farthest pair, always to the farthest map that is left."""
    count = len(maps)
    apart = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in maps] for a in maps])
    partner = [0] * count
    first = here = int(np.unravel_index((apart - np.eye(count)).argmax(), apart.shape)[0]) if count > 1 else 0
    left = set(range(count)) - {here}
    while left:
        nearest_last = max(sorted(left), key=lambda j: apart[here, j])
        partner[here] = nearest_last
        here = nearest_last
        left.remove(here)
    partner[here] = first
    return partner


def slow_mix(x: Array, saliency: Array) -> tuple[Array, Array, list[int]]:
    maps = np.array([slow_blur(s) for s in saliency])
    maps /= maps.sum((1, 2), keepdims=True)
    perm = slow_cycle(maps)
    mask = maps / (maps + maps[perm])
    return mask[:, None] * x + (1 - mask[:, None]) * x[perm], mask.mean((1, 2)), perm


@pytest.mark.parametrize("seed", range(3))
def test_mixed_batch_is_that_of_the_formulas(seed: int) -> None:
    x, saliency = some(7, seed=seed)
    mixed, target = make().mix(x, torch.eye(7), saliency, "mix", torch.Generator())
    expected, ratio, perm = slow_mix(x.double().numpy(), saliency.double().numpy())
    assert np.abs(mixed.numpy() - expected).max() < 1e-5
    rows = np.diag(ratio) + (1 - ratio)[:, None] * np.eye(7)[perm]
    assert np.abs(target.numpy() - rows).max() < 1e-5


@pytest.mark.parametrize("side", [16, 32])
def test_spectral_residual_is_that_of_the_formulas(side: int) -> None:
    x = some(3, side)[0] - 0.4
    for image, got in zip(x, guided.spectral_residual(x), strict=True):
        slow = slow_residual(image.double().numpy())
        assert np.abs(got.numpy() - slow).max() < 1e-3 * slow.max()


def test_large_images_are_shrunk_for_their_spectrum() -> None:
    x = some(2, 160)[0]
    got = guided.spectral_residual(x)
    small = torch.nn.functional.interpolate(x, size=(128, 128), mode="bilinear", antialias=True)
    back = torch.nn.functional.interpolate(guided.spectral_residual(small)[:, None], size=(160, 160), mode="bilinear")
    assert got.shape == (2, 160, 160) and torch.allclose(got, back[:, 0], atol=1e-4, rtol=1e-3)


def test_constant_images_have_a_finite_residual() -> None:
    assert bool(guided.spectral_residual(torch.full((2, 3, 16, 16), 0.3)).isfinite().all())
    assert bool(guided.spectral_residual(torch.zeros(2, 3, 16, 16)).isfinite().all())


@given(st.integers(1, 12), st.integers(0, 100))
def test_partners_form_one_cycle(count: int, seed: int) -> None:
    maps = some(count, 8, seed)[1]
    perm = guided.farthest_cycle(maps).tolist()
    here, visited = 0, []
    for _ in range(count):
        visited.append(here)
        here = perm[here]
    assert here == 0 and sorted(visited) == list(range(count))
    assert perm == slow_cycle(maps.double().numpy())


@given(st.integers(0, 100))
def test_masks_of_a_pair_add_up_to_one(seed: int) -> None:
    one, other = some(2, 8, seed)[1]
    mask = guided.proportion(one, other)
    assert float(mask.min()) >= 0 and torch.allclose(mask + guided.proportion(other, one), torch.ones(8, 8))
    assert (guided.proportion(one, one) == 0.5).all() and (guided.proportion(0 * one, 0 * one) == 0.5).all()


def test_official_pairs_at_random() -> None:
    x, saliency = some(8)
    sums = [
        make(official=True).mix(x, torch.eye(8), saliency, "mix", torch.Generator().manual_seed(s))[1] for s in (0, 1)
    ]
    assert not torch.equal(*sums)
    assert all(torch.allclose(t.sum(1), torch.ones(8)) for t in sums)


@pytest.mark.parametrize(("saliency", "clean", "passes"), [("sr", 0.0, 1), ("ap", 0.0, 2), ("ap", 1.0, 2)])
def test_batchnorm_sees_as_many_batches_as_in_the_released_code(saliency: Any, clean: float, passes: int) -> None:
    net, (x, y) = make_net(), make_batch(6)
    make(saliency=saliency, clean_lam=clean).loss(net, x, y, "mix", torch.Generator().manual_seed(0)).backward()
    assert int(net.stages[1][0].bn1.num_batches_tracked) == passes


@pytest.mark.parametrize(("options", "chance"), [({}, 0.5), ({"saliency": "ap"}, 0.8), ({"prob": 0.2}, 0.2)])
def test_share_of_batches_that_are_mixed(options: dict[str, Any], chance: float) -> None:
    rng, method = np.random.default_rng(0), make(**options)
    plans = [method.plan(rng) for _ in range(2000)]
    assert abs(plans.count("mix") / 2000 - chance) < 0.04 and set(plans) == {"mix", None}


def test_saliency_is_of_normalised_images_in_full_precision() -> None:
    net, (x, y) = make_net(), make_batch(4)
    with torch.autocast("cpu", torch.bfloat16):
        seen, _ = make().look(net, x.bfloat16(), y)
    assert torch.equal(seen, guided.spectral_residual((x.bfloat16().float() - net.mean) / net.std))


def test_format_and_dtype_are_kept() -> None:
    x, saliency = some(4)
    half = x.bfloat16().contiguous(memory_format=torch.channels_last)
    mixed, _ = make().mix(half, torch.eye(4), saliency, "mix", torch.Generator())
    plain, _ = make().mix(half.float().contiguous(), torch.eye(4), saliency, "mix", torch.Generator())
    assert mixed.dtype == torch.bfloat16 and mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed, plain.bfloat16())


@pytest.mark.parametrize(("field", "bad"), [("saliency", "none"), ("prob", -0.1), ("clean_lam", -1.0)])
def test_fields_are_checked(field: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=field):
        make(**{field: bad})
