"""The five corruptions that ImageNet-C-bar has beside CIFAR-10-C-bar's, against definitions pixel by pixel."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from catchup_bench import corruptions_bar
from catchup_bench.corruptions_bar.imagenet import LARGEST, NAMES, caustic, corrupt, perlin, waves
from catchup_bench.errors import UsageError
from catchup_bench.system import cache

from .test_corruptions_bar import pictures

OWN = tuple(name for name in NAMES if name not in corruptions_bar.NAMES)
SIDE = 16


def one(*values: float) -> torch.Tensor:
    """Return a number, or several, of one image."""
    return torch.tensor([values if len(values) > 1 else values[0]], dtype=torch.float64)


def as_bytes(levels: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    return np.clip(levels, 0, 255).astype(np.uint8)


def test_there_are_ten_and_five_are_not_those_of_cifar() -> None:
    assert len(NAMES) == 10 and len(OWN) == 5


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_corrupted_alike_in_any_batch(name: str) -> None:
    x = pictures(5)
    index = [3, 501, 4, 90, 1]
    whole = corrupt(x, name, 4, indices=index, dataset="some")
    assert whole.dtype == torch.uint8 and whole.shape == x.shape and not torch.equal(whole, x)
    for k in (0, 1, 4):
        assert torch.equal(corrupt(x[k : k + 1], name, 4, indices=index[k : k + 1], dataset="some")[0], whole[k])
    assert not torch.equal(corrupt(x, name, 4, indices=index, dataset="some", seed=1), whole)


@pytest.mark.parametrize("name", NAMES)
def test_the_highest_severity_changes_more_than_the_lowest(name: str) -> None:
    x = pictures(20, 24)
    changes = [
        (corrupt(x, name, s, indices=range(20), dataset="some").double() - x.double()).abs().mean() for s in (1, 5)
    ]
    assert 0 < changes[0] < changes[1]


@pytest.mark.parametrize("name", sorted(set(NAMES) & set(corruptions_bar.NAMES)))
def test_what_both_have_has_other_amounts(name: str) -> None:
    x = pictures(4)
    both = [c(x, name, 5, indices=range(4), dataset="some") for c in (corrupt, corruptions_bar.corrupt)]
    assert not torch.equal(*both)


@pytest.mark.parametrize("name", OWN)
def test_images_of_the_published_size_are_corrupted(name: str) -> None:
    x = pictures(1, 224)
    assert not torch.equal(corrupt(x, name, 1, indices=[7], dataset="some"), x)


def test_what_cannot_be_corrupted_is_said() -> None:
    with pytest.raises(UsageError, match="perlin_noise"):
        corrupt(pictures(1), "perlin", 1, indices=[0], dataset="some")
    with pytest.raises(UsageError, match="severity"):
        corrupt(pictures(1), "perlin_noise", 0, indices=[0], dataset="some")
    with pytest.raises(UsageError, match=f"square images of 12 to {LARGEST} px.*16×8"):
        corrupt(pictures(1)[:, :, :8], "sparkles", 1, indices=[0], dataset="some")


def test_what_is_stored_of_cifar_does_not_depend_on_this_package() -> None:
    own = Path(corruptions_bar.__file__).parent
    assert (own / "imagenet").is_dir()
    assert cache.code_digest("corruptions_bar") != cache.code_digest("corruptions_bar/imagenet")
    before = [p for p in own.iterdir() if p.is_file()]
    assert not any("imagenet" in p.name for p in before)


@given(st.floats(-3.14, 3.14), st.floats(-3.14, 3.14), st.floats(0, 6.28), st.floats(10, 98))
def test_a_plane_wave_is_a_sine_of_the_place(along: float, down: float, phase: float, intensity: float) -> None:
    x = pictures(1)
    found = waves.waved(x, intensity, one(along, down), one(phase))[0].numpy()
    for row, col in ((0, 0), (3, 11), (15, 8)):
        light = intensity * math.sin(col * along + row * down + phase)
        assert np.abs(found[row, col].astype(float) - as_bytes(x[0, row, col].numpy() + light)).max() <= 1


@given(st.floats(0, 15), st.floats(0, 15), st.floats(0, 10), st.floats(0, 1.6), st.floats(0.1, 1.6))
def test_rings_are_a_sawtooth_of_the_distance(cx: float, cy: float, turns: float, sway: float, width: float) -> None:
    x = torch.full((1, SIDE, SIDE, 3), 128, dtype=torch.uint8)
    found = waves.ringed(x, 100.0, one(cx, cy), one(turns), one(sway), one(width))[0].numpy()
    assert (found[..., 0] == found[..., 1]).all() and found.min() >= 78 and found.max() <= 178
    for row, col in ((0, 0), (3, 11), (15, 8)):
        distance = math.hypot(col - cx, row - cy) + sway * math.sin(turns * math.atan2(col - cx, row - cy))
        share = distance / width % 1
        if min(share, 1 - share) > 1e-6:
            assert abs(int(found[row, col, 0]) - (128 + 100 * (share - 0.5))) <= 1


@settings(max_examples=20)
@given(st.floats(0, 18.8), st.integers(4, 6), st.floats(0.5, 1), st.floats(1.2, 3.2))
def test_plasma_bends_each_place_by_the_other_direction(time: float, bends: int, sharp: float, scale: float) -> None:
    x = pictures(1)
    found = waves.plasma(x, one(time), one(bends), one(sharp), one(scale))[0]
    for row, col in ((0, 0), (3, 11), (15, 8)):
        place = complex(col / scale, row / scale)
        for k in range(bends):
            bend = complex(
                math.cos(place.imag * 1.93**k + time / 1.15**k), math.sin(place.real * 1.93**k + time / 1.15**k)
            )
            place += bend * complex(1, 0.3) / (2.25 - sharp) ** k
        wanted = [
            math.sin(place.real - time),
            math.sin((place.real + place.imag + math.sin(time)) / 2),
            math.sin(place.imag + time),
        ]
        assert found[row, col].tolist() == pytest.approx(wanted, abs=1e-9)
    assert torch.equal(waves.blended(x, 0.0, found[None]), x)


@settings(max_examples=10)
@given(st.integers(0, 99))
def test_mist_is_perlins_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order, angle = rng.permutation(256), rng.uniform(0, 2 * np.pi, 256)
    gradients = np.stack([np.cos(angle), np.sin(angle)], 1)
    found = perlin.turbulence(SIDE, torch.tensor(order)[None], torch.tensor(gradients)[None])[0]

    def noise(row: float, col: float) -> float:
        i, j = math.floor(row), math.floor(col)
        ease = [3 * p**2 - 2 * p**3 for p in (row - i, col - j)]
        total = 0.0
        for down in (0, 1):
            for along in (0, 1):
                g = gradients[order[(order[(i + down) % 256] + j + along) % 256]]
                weight = (ease[0] if down else 1 - ease[0]) * (ease[1] if along else 1 - ease[1])
                total += weight * (g[0] * (row - i - down) + g[1] * (col - j - along))
        return 1.5 * total

    for row, col in ((1, 0), (3, 11), (15, 8)):
        wanted = sum(abs(noise(f * row * 7 / SIDE, f * col * 7 / SIDE)) / f for f in (1, 2, 4, 8, 16))
        assert float(found[row, col]) == pytest.approx(wanted, abs=1e-9)
    assert float(perlin.unit(torch.zeros(2)).abs().sum()) == 0


def test_water_is_smoothed_as_scipy_does() -> None:
    light = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()
    wanted = np.stack([ndimage.gaussian_filter(one.numpy(), 1.0) for one in light])
    assert np.abs(caustic.smoothed(light).numpy() - wanted).max() < 1e-12


def test_light_under_water_is_that_of_its_recurrence() -> None:
    x, time, size = pictures(1), 1.3, 14.0
    found = caustic.caustics(x, one(time), one(size))[0]
    assert float(found.min()) >= 0 and float(found.max()) <= 1 and float(found.std()) > 0.01
    for row, col in ((0, 0), (3, 11), (15, 8)):
        start = [(place / size % 1) * 6.28318530718 - 250 for place in (row, col)]
        a, b, total = *start, 1.0
        for k in range(5):
            t = time * (1 - 3.5 / (k + 1))
            turn = math.cos(t - a) + math.sin(t + b), math.sin(t - b) + math.cos(t + a)
            a, b = start[0] + turn[0], start[1] + turn[1]
            total += 1 / math.hypot(start[0] * 0.005 / math.sin(a + t), start[1] * 0.005 / math.cos(b + t))
        wanted = min(1, abs(1.17 - (total / 5) ** 1.4) ** 8)
        assert float(found[row, col]) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def snell(down: float, along: float) -> npt.NDArray[np.float64]:
    """Return the sideways part of a ray of length 1 that falls straight onto a slope and is refracted by 4."""
    normal = np.array([down, along, 1.0]) / math.sqrt(down**2 + along**2 + 1)
    if normal[2] >= 1 - 1e-3:
        return np.zeros(2)
    inside = math.asin(math.sin(math.acos(normal[2])) / 4)
    upright = np.array([0.0, 0.0, 1.0])
    side = normal - normal[2] * upright  # the ray lies in the plane of the normal and of where it came from
    tilt = math.acos(normal[2]) - inside
    part: npt.NDArray[np.float64] = math.sin(tilt) * side[:2] / np.linalg.norm(side)
    return part


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.02, 0.03), (0.4, -0.3), (-1.5, 0.2)])
def test_slopes_refract_by_snells_law(slope: tuple[float, float]) -> None:
    x = pictures(1)
    place = torch.arange(SIDE, dtype=torch.float64)
    light = (place[:, None] * slope[0] + place * slope[1])[None] / 2
    depth, lighting = 2.0, 0.1
    found = caustic.refracted(x, light, depth, lighting)[0].numpy()
    move = np.round(depth * snell(*slope), 3)
    where = np.array([7.0, 8.0]) + move
    for channel in range(3):
        seen = ndimage.map_coordinates(x[0, :, :, channel].double().numpy() / 255, where[:, None], order=1)[0]
        wanted = 255 * min(1, max(0, seen + (slope[0] - slope[1]) * lighting))
        assert abs(found[7, 8, channel] - wanted) <= 1 + 1e-3
