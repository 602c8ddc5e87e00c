"""SaliencyMix against a plain reference, image by image and pixel by pixel."""

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
from catchup_bench.method import beta, permutation

saliencymix = importlib.import_module("catchup_bench.methods.saliencymix")

cutmix = importlib.import_module("catchup_bench.methods.cutmix")

Array = npt.NDArray[np.float64]


def make(**options: Any) -> Any:
    return registry.method_class("saliencymix")(**options)


def images(count: int, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def slow_map(image: Array) -> Array:
    """Fine-grained saliency of one image 3×H×W."""
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    height, width = grey.shape
    kernel = np.outer((1, 2, 1), (1, 2, 1)) / 16
    for _ in range(2):
        padded = np.pad(grey, 1, mode="reflect")
        grey = np.array([[(padded[r : r + 3, c : c + 3] * kernel).sum() for c in range(width)] for r in range(height)])
    above, below = np.zeros_like(grey), np.zeros_like(grey)
    for reach, r, c in product((12, 24, 28, 48, 56, 112), range(height), range(width)):
        window = grey[max(0, r - reach + 1) : r + reach + 1, max(0, c - reach + 1) : c + reach + 1]
        contrast = grey[r, c] - (window.sum() - grey[r, c]) / (window.size - 1)
        above[r, c] += max(contrast, 0)
        below[r, c] += max(-contrast, 0)
    return (above / above.max() + below / below.max()) / 2


def slow_mix(x: Array, perm: list[int], lam: float) -> tuple[Array, list[float]]:
    out, kept = x.copy(), []
    height, width = x.shape[2:]
    for i, j in enumerate(perm):
        saliency = slow_map(x[j])
        row, column = np.unravel_index(saliency.argmax(), saliency.shape)
        tall, wide = int(height * (1 - lam) ** 0.5) // 2, int(width * (1 - lam) ** 0.5) // 2
        top, bottom = max(0, row - tall), min(height, row + tall)
        left, right = max(0, column - wide), min(width, column + wide)
        out[i, :, top:bottom, left:right] = x[j, :, top:bottom, left:right]
        kept.append(1 - (bottom - top) * (right - left) / (height * width))
    return out, kept


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 32), (20, 28)])
def test_map_is_that_of_the_formulas(height: int, width: int) -> None:
    x = images(2, height, width)
    for image, got in zip(x, saliencymix.fine_grained(x), strict=True):
        assert np.abs(slow_map(image.double().numpy()) - got.numpy()).max() < 1e-5


def test_mixed_batch_is_that_of_the_formulas() -> None:
    x, method = images(6), make()
    perm = permutation(6, torch.Generator().manual_seed(2))
    mixed, lam = method.mix_images(x, perm, torch.Generator().manual_seed(1))
    drawn = float(beta(1.0, torch.Generator().manual_seed(1)))
    expected, kept = slow_mix(x.double().numpy(), perm.tolist(), drawn)
    assert np.abs(mixed.numpy() - expected).max() < 1e-6
    assert np.abs(lam.numpy() - kept).max() < 1e-6


@given(st.floats(0, 1), st.integers(1, 6), st.integers(4, 33), st.integers(4, 33))
def test_lam_is_the_share_of_pixels_kept(lam: float, count: int, height: int, width: int) -> None:
    x = images(count, height, width)
    perm = torch.arange(count).roll(1)
    mixed, kept = saliencymix.paste_salient(x, perm, saliencymix.fine_grained(x), torch.tensor(lam))
    own = (mixed == x).all(1) if count > 1 else torch.ones(1, height, width, dtype=torch.bool)
    if count > 1:
        assert torch.allclose(kept, own.double().mean((1, 2)))
        assert bool(((mixed == x) | (mixed == x[perm])).all())
    assert kept.shape == (count,)


def test_bright_squares_are_found() -> None:
    gen = torch.Generator().manual_seed(0)
    x = 0.3 + 0.1 * torch.rand(100, 3, 32, 32, generator=gen)
    corner = torch.randint(0, 26, (100, 2), generator=gen)
    inside = torch.zeros(100, 32, 32, dtype=torch.bool)
    for i, (r, c) in enumerate(corner.tolist()):
        inside[i, r : r + 6, c : c + 6] = True
    peak = saliencymix.fine_grained(torch.where(inside[:, None], x + 0.5, x)).flatten(1).argmax(1)
    assert inside.flatten(1).gather(1, peak[:, None]).float().mean() > 0.5


def test_flat_images_have_a_finite_map() -> None:
    assert bool(saliencymix.fine_grained(torch.full((2, 3, 8, 8), 0.5)).isfinite().all())


def test_map_does_not_depend_on_precision_or_format() -> None:
    x = images(4).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        got = saliencymix.fine_grained(x)
    assert torch.equal(got, saliencymix.fine_grained(x.float().contiguous()))
    mixed, _ = make().mix_images(x, torch.tensor([1, 2, 3, 0]), torch.Generator().manual_seed(0))
    assert mixed.dtype == x.dtype and mixed.is_contiguous(memory_format=torch.channels_last)


def test_official_is_cutmix() -> None:
    x, perm = images(4), torch.tensor([1, 2, 3, 0])
    mixed, lam = make(official=True).mix_images(x, perm, torch.Generator().manual_seed(5))
    expected, same = registry.method_class("cutmix")().mix_images(x, perm, torch.Generator().manual_seed(5))
    assert torch.equal(mixed, expected) and torch.equal(lam, same) and lam.ndim == 0


@pytest.mark.parametrize(("field", "bad"), [("alpha", 0.0), ("layers", (1,))])
def test_fields_are_checked(field: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=field):
        make(**{field: bad})
