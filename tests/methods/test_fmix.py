"""FMix against NumPy's transform of its formulas, and the properties of its masks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.method_support import Draws, batch, make, module, seeded

fmix = module("fmix")


def grey(kind: str, height: int, width: int, seed: int, decay: float = 3.0) -> Tensor:
    draw = fmix.released_spectrum if kind == "released" else fmix.full_spectrum
    out: Tensor = torch.fft.irfft2(draw(height, width, decay, seeded(seed)), s=(height, width))
    return out


def numpy_grey(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    """The grey picture of ``released`` as the code's indices make it, of ``full`` by the paper's formula."""
    half, lowest = width // 2 + 1, 1 / max(height, width)
    if kind == "full":
        n = torch.randn(height, half, 2, generator=seeded(seed), dtype=torch.float64).numpy()
        f = np.sqrt(np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[:half] ** 2)
        return np.fft.irfft2((n[..., 0] + 1j * n[..., 1]) / np.maximum(f, lowest) ** 3, (height, width))
    n = torch.randn(half, 2, 2, generator=seeded(seed), dtype=torch.float64).numpy()
    spectrum = np.zeros((height, half), complex)
    for k in range(half):
        rows = [max(f, lowest) ** -3 for f in (k / width, np.hypot(k / width, 1 / height))]
        for j in range(2):
            spectrum[k, j] = n[k, j, 0] * rows[0] + 1j * n[k, j, 1] * rows[1]
    return np.fft.irfft2(spectrum, (height, width))


@pytest.mark.parametrize("kind", ["released", "full"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 16), (64, 64), (20, 30), (15, 17)])
def test_grey_pictures_are_numpys(kind: str, height: int, width: int) -> None:
    for seed in range(3):
        ours, theirs = grey(kind, height, width, seed), numpy_grey(kind, height, width, seed)
        assert np.abs(ours.numpy() - theirs).max() < 1e-10


def test_released_pictures_have_horizontal_frequencies_0_and_1_only() -> None:
    """Shares of the energy by horizontal frequency, either sign. Of the released amplitudes the inverse transform keeps
    half the energy at 0 and twice that at 1."""
    energy = {kind: torch.zeros(17, dtype=torch.float64) for kind in ("released", "full")}
    for kind, total in energy.items():
        for seed in range(400):
            total += torch.fft.rfft2(grey(kind, 32, 32, seed)).abs().square().sum(0)
        total[1:16] *= 2
    released, full = (e / e.sum() for e in energy.values())
    assert released[2:].sum() < 1e-20
    assert released[1].item() == pytest.approx(0.8, abs=0.03)
    assert full[2:].sum().item() == pytest.approx(0.021, abs=0.006)


@settings(max_examples=80)
@given(st.integers(0, 2**31), st.sampled_from(["released", "full"]), st.floats(0, 1), st.booleans())
def test_mask_holds_a_whole_number_of_largest_pixels(seed: int, kind: str, lam: float, up: bool) -> None:
    g = grey(kind, 16, 18, seed)
    mask = fmix.largest(g, torch.tensor(lam, dtype=torch.float64), torch.tensor(up))
    count = lam * g.numel()
    assert mask.sum().item() == (np.ceil(count) if up else np.floor(count))
    assert mask.all() or not mask.any() or g[mask].min() >= g[~mask].max()


def test_masks_are_nested() -> None:
    g, coin = grey("full", 16, 16, 0), torch.tensor(False)
    masks = [fmix.largest(g, torch.tensor(lam, dtype=torch.float64), coin) for lam in (0.1, 0.4, 0.9)]
    assert all(bool((small <= large).all()) for small, large in itertools.pairwise(masks))


@pytest.mark.parametrize("kind", ["released", "full"])
def test_every_pixel_is_the_images_or_its_partners_as_the_mask_says(kind: str) -> None:
    x, perm = batch(4)[0], torch.tensor([2, 3, 1, 0])
    for seed in range(6):
        out, lam = make("fmix", spectrum=kind).mix_images(x, perm, seeded(seed))
        draws = Draws(seed)
        weight = draws.beta(1.0)
        shape = (9, 2, 2) if kind == "released" else (16, 9, 2)
        torch.randn(shape, generator=draws.gen, dtype=torch.float64)
        up = bool(torch.rand((), generator=draws.gen) < 0.5)
        gen = seeded(seed)
        torch._sample_dirichlet(torch.ones(2, dtype=torch.float64), generator=gen)
        draw = fmix.released_spectrum if kind == "released" else fmix.full_spectrum
        g = torch.fft.irfft2(draw(16, 16, 3.0, gen), s=(16, 16)).numpy()
        count = int(np.ceil(weight * 256) if up else np.floor(weight * 256))
        own = set(np.argsort(-g.ravel(), kind="stable")[:count].tolist())
        for i in range(4):
            for p in range(256):
                source = x[i] if p in own else x[perm[i]]
                assert torch.equal(out[i, :, p // 16, p % 16], source[:, p // 16, p % 16])
        assert lam.item() == weight


def test_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, perm = batch(4)[0], torch.tensor([2, 3, 1, 0])
    for lam, expected in ((1.0, x), (0.0, x[perm])):
        weight = torch.tensor(lam, dtype=torch.float64)
        monkeypatch.setattr(fmix, "beta", lambda a, gen, weight=weight: weight)
        assert torch.equal(make("fmix").mix_images(x, perm, seeded(0))[0], expected)


@pytest.mark.parametrize(("kind", "low", "high"), [("full", 0.26, 0.34), ("released", 0.24, 0.36)])
def test_mean_mask_is_lam_everywhere(kind: str, low: float, high: float) -> None:
    lam = torch.tensor(0.3, dtype=torch.float64)
    mean = torch.stack([fmix.largest(grey(kind, 16, 16, s), lam, torch.tensor(False)) for s in range(3000)])
    mean = mean.double().mean(0)
    assert mean.min() > low and mean.max() < high


def test_rounding_is_a_fair_coin() -> None:
    x = torch.arange(256.0).view(1, 1, 16, 16)
    pair, ups, method = torch.cat((x, -x - 1)), 0, make("fmix")
    for seed in range(400):
        out, lam = method.mix_images(pair, torch.tensor([1, 0]), seeded(seed))
        ups += int((out[0] >= 0).sum().item() > lam.item() * 256)
    assert ups / 400 == pytest.approx(0.5, abs=0.1)
