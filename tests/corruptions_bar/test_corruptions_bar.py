"""The corruptions of C-bar against SciPy, scikit-image and definitions pixel by pixel; in batches as alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from catchup_bench.corruptions_bar import NAMES, corrupt, noise, occlusion, warp
from catchup_bench.errors import UsageError


def pictures(n: int, side: int = 16, seed: int = 0) -> Tensor:
    gen = torch.Generator().manual_seed(seed)
    small = torch.rand(n, 3, 5, 5, generator=gen)
    large = torch.nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 1)
    return (large * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_corrupted_alike_in_any_batch(name: str) -> None:
    x = pictures(7)
    index = [3, 501, 4, 90, 1, 2, 1000]
    whole = corrupt(x, name, 4, indices=index, dataset="some")
    assert whole.dtype == torch.uint8 and whole.shape == x.shape and not torch.equal(whole, x)
    for k in (0, 1, 6):
        assert torch.equal(corrupt(x[k : k + 1], name, 4, indices=index[k : k + 1], dataset="some")[0], whole[k])
    again = corrupt(x, name, 4, indices=index, dataset="some", seed=1)
    assert torch.equal(again, whole) == (name == "circular_motion_blur"), "all others are random"


@pytest.mark.parametrize("name", NAMES)
def test_the_highest_severity_changes_more_than_the_lowest(name: str) -> None:
    x = pictures(30, 24)
    changes = [
        (corrupt(x, name, s, indices=range(30), dataset="some").double() - x.double()).abs().mean() for s in (1, 5)
    ]
    assert 0 < changes[0] < changes[1]


def test_what_cannot_be_corrupted_is_said() -> None:
    with pytest.raises(UsageError, match="blue_noise"):
        corrupt(pictures(1), "blue_noise", 1, indices=[0], dataset="some")
    with pytest.raises(UsageError, match="severity"):
        corrupt(pictures(1), "lines", 6, indices=[0], dataset="some")
    with pytest.raises(UsageError, match=r"square images of 12 to 128 px.*16×8"):
        corrupt(pictures(1)[:, :, :8], "lines", 1, indices=[0], dataset="some")


@settings(max_examples=20)
@given(st.sampled_from([12, 15, 32]), st.integers(0, 1000))
def test_noise_has_unit_variance_and_the_spectrum_that_is_asked_for(side: int, seed: int) -> None:
    phase = torch.rand(noise.phases(side), generator=torch.Generator().manual_seed(seed)).double() * 2 * math.pi
    power = noise.distance(side, torch.device("cpu"))
    found = noise.coloured(power, phase)
    assert float(found.std(correction=0)) == pytest.approx(1)
    if side % 2:
        return
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(found.numpy())))[1:, 1:]  # without the frequencies of their own
    wanted = power.numpy()[1:, 1:]
    # the turned half is one off the conjugate one, so what is real is the mean of both: less, and never more
    assert np.corrcoef(spectrum.ravel(), wanted.ravel())[0, 1] > 0.3


@settings(max_examples=8)
@given(st.floats(0.5, 9), st.integers(12, 16))
def test_rotations_are_scipys(degrees: float, side: int) -> None:
    x = pictures(1, side)
    share = np.linspace(-1, 1, warp.TURNS)
    weights = np.exp(-2 * share**2)
    image = x[0].numpy().astype(np.float32) / 255
    turned = [ndimage.rotate(image, angle, reshape=False) for angle in share * degrees]
    mean = sum(w * t.astype(np.float64) for w, t in zip(weights, turned, strict=True)) / weights.sum()
    found = warp.circular_motion_blur(x, degrees / 1.5, None)[0].numpy()  # type: ignore[arg-type]
    assert np.abs(found - np.clip(mean * 255, 0, 255)).max() < 1 + 1e-4


@given(st.floats(1, 1.6), st.integers(12, 33))
def test_magnified_colours_are_scipys(scale: float, side: int) -> None:
    x = pictures(1, side)
    large = ndimage.zoom(x[0, :, :, 0].numpy(), scale, prefilter=False)
    edge = (len(large) - side) // 2
    found = warp.magnified(x, scale)[0, :, :, 0].numpy()
    assert np.array_equal(found, large[edge : edge + side, edge : edge + side])


def test_each_colour_has_its_own_factor() -> None:
    x = pictures(5)
    factors, which = (1.0, 1.1, 1.3), torch.stack([torch.randperm(3) for _ in range(5)])
    found = warp.dispersed(x, factors, which)
    for i, channel in ((0, 0), (1, 2), (4, 1)):
        assert torch.equal(found[i, ..., channel], warp.magnified(x, factors[which[i, channel]])[i, ..., channel])


@given(st.floats(0, 3), st.floats(1.6, 4.8), st.floats(0, 6.28), st.integers(0, 99))
def test_ripples_are_scipys_linear_interpolation(amplitude: float, wave: float, phase: float, seed: int) -> None:
    x = pictures(1, 16, seed)
    found = warp.rippled(x, amplitude, torch.tensor([[wave, 2.0]]).double(), torch.tensor([[phase, 1.0]]).double())
    place = np.arange(16.0)
    row, col = (
        place + amplitude * np.sin(2 * np.pi * place / w + p)
        for w, p in ((np.float64(np.float32(wave)), np.float64(np.float32(phase))), (2.0, 1.0))
    )
    places = np.meshgrid(row, col, indexing="ij")
    wanted = [
        ndimage.map_coordinates(x[0, :, :, c].numpy().astype(float), places, order=1, mode="grid-constant")
        for c in range(3)
    ]
    assert np.abs(found[0].numpy() - np.stack(wanted, -1)).max() <= 1 + 1e-6


def test_whirls_without_turn_and_pinch_change_nothing_and_keep_their_middle() -> None:
    x = pictures(3, 32)
    assert torch.equal(warp.whirled(x, torch.zeros(3, 3, 3).double(), 0.0), x)
    found = warp.whirled(x, torch.ones(3, 3, 3).double(), 0.5)
    assert torch.equal(found[:, 5::10, 5::10][:, :3, :3], x[:, 5::10, 5::10][:, :3, :3])
    assert torch.equal(found[:, 30:], x[:, 30:]) and not torch.equal(found[:, :30, :30], x[:, :30, :30])


def star(seed: int, side: int) -> occlusion.Star:
    gen = torch.Generator().manual_seed(seed)
    lengths = 3 + torch.rand(1, occlusion.RAYS, generator=gen).double()
    return occlusion.Star(torch.rand(1, 2, generator=gen).double() * side, torch.tensor([50 + seed]), lengths)


@given(st.integers(0, 149), st.floats(0.1, 2))
def test_light_is_that_of_its_definition(seed: int, exponent: float) -> None:
    one = star(seed, 12)
    found = occlusion.glow(12, one, exponent)[0, ..., 0]
    (cy, cx), rays = one.centre[0].tolist(), int(one.rays)
    for y, x in ((0, 0), (3, 7), (11, 5)):
        turn = (math.atan2(x - cx, y - cy) + math.pi) / (2 * math.pi) * rays
        ray, part = int(turn), turn - int(turn)
        a, b = (float(one.lengths[0, (ray + k) % rays]) for k in range(2))
        light = ((a + part * (b - a)) ** 2 / ((y - cy) ** 2 + (x - cx) ** 2 + 1e-4)) ** exponent
        assert float(found[y, x]) == pytest.approx(min(1, light * (1 - (part - 0.5) ** 2)), rel=1e-9)


def test_sparkles_lighten_and_vignettes_keep_the_middle() -> None:
    x = pictures(1, 16) // 2
    assert (occlusion.sparkling(x, [star(i, 16) for i in range(5)]) >= x).all()
    found, middle = occlusion.vignette(x, star(0, 16), 1.0), star(0, 16).centre.round().long().clamp(0, 15)[0]
    assert (found >= x).all() and torch.equal(found[0, middle[0], middle[1]], x[0, middle[0], middle[1]])


def test_a_board_without_holes_changes_nothing_and_a_full_one_half() -> None:
    x = pictures(4, 32)
    angle, scale = torch.tensor([0.0, 0.5, 2.0, 6.0]).double(), torch.full((4,), 4.0).double()
    assert torch.equal(occlusion.cut_out(x, angle, scale, torch.zeros(4, 40, 40, dtype=torch.bool)), x)
    full = occlusion.cut_out(x, angle, scale, torch.ones(4, 40, 40, dtype=torch.bool))
    grey = (full == 128).all(-1)
    row = torch.arange(32)
    assert torch.equal(grey[0], (row[:, None] // 4 + row // 4) % 2 == 0)
    assert all(0.4 < float(g.double().mean()) < 0.6 for g in grey)


def plain_line(r: int, c: int, r1: int, c1: int) -> dict[tuple[int, int], float]:
    """Coverage by distance: of two pixels across a steep or flat line, by Zingl's error term, one step at a time."""
    dr, dc = abs(r1 - r), abs(c1 - c)
    sr, sc = (1 if r < r1 else -1), (1 if c < c1 else -1)
    length, err, shares = max(math.hypot(dr, dc), 1), dc - dr, dict[tuple[int, int], float]()
    while True:
        shares[r, c] = 1 - abs(err - dc + dr) / length
        before, column = err, c
        if 2 * before >= -dc:
            if c == c1:
                return shares
            if before + dr < length:
                shares[r + sr, c] = 1 - abs(before + dr) / length
            err, c = err - dr, c + sc
        if 2 * before <= dr:
            if r == r1:
                return shares
            if dc - before < length:
                shares[r, column + sc] = 1 - abs(dc - before) / length
            err, r = err + dc, r + sr


ENDS = st.lists(st.integers(-12, 24), min_size=4, max_size=4)


@settings(max_examples=30)
@given(st.lists(ENDS, min_size=1, max_size=4))
def test_lines_cover_what_they_cover_one_at_a_time(ends: list[list[int]]) -> None:
    both = torch.tensor([ends])
    found = occlusion.coverage(both[..., :2], both[..., 2:], 12)[0]
    for share, line in zip(found, ends, strict=True):
        wanted = {k: v for k, v in plain_line(*line).items() if all(0 <= p < 12 for p in k)}
        assert {(i, j): float(share[i, j]) for i, j in (share >= 0).nonzero().tolist()} == pytest.approx(wanted)


def test_lines_are_as_grey_as_they_cover() -> None:
    x = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    found = occlusion.lined(x, torch.tensor([[[8.0, 8.0]]]).double(), torch.zeros(1, 1).double())[0, ..., 0]
    assert (found[:, 8] == 128).all() and int((found > 0).sum()) == 16
    assert torch.equal(corrupt(x, "lines", 1, indices=[0], dataset="some"), x)  # 5 % of 16 pixels are no line
