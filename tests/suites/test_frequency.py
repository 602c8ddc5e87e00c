"""The Fourier heat map: the spectrum of its waves, and that counts and bits are of the images under them."""

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench.data import Images
from catchup_bench.errors import UsageError
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.suites import Context, Suite, suite_class

from ..conftest import Cli
from ..conftest import as_json as read

Frequency = suite_class("frequency")
frequency = importlib.import_module("catchup_bench.suites.frequency")


def context(net: nn.Module, n: int = 20, size: int = 16, value: int | None = 128, batch_size: int = 6) -> Context:
    gen = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, size, size, 3), generator=gen, dtype=torch.uint8)
    if value is not None:
        x = torch.full_like(x, value)
    return Context(
        net=net,
        images=Images(x, torch.arange(n) % 2, torch.arange(n)),
        dataset="some",
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )


class Watches(nn.Module):
    """Says 1 where the first pixel has become brighter than grey in its first channel."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        bright = (x[:, 0, 0, 0] > 128 / 255).long()
        return torch.eye(2)[bright]


@given(st.integers(1, 7), st.sampled_from([16, 15, 32]), st.floats(0.01, 1))
def test_a_wave_has_one_frequency_and_the_amplitude(ring: int, size: int, amplitude: float) -> None:
    for i, j in frequency.waves(ring):
        wave = frequency.wave((i, j), amplitude, torch.zeros(1, 3, size, size)).double()
        assert wave.square().mean().sqrt() == pytest.approx(amplitude, rel=1e-5)
        spectrum = torch.fft.fft2(wave).abs() / wave.numel()
        places = {tuple(p) for p in (spectrum > 1e-4 * amplitude).nonzero().tolist()}
        assert places == {(i % size, j % size), (-i % size, -j % size)}


def test_the_norm_at_32_pixels() -> None:
    wave = frequency.wave((3, -5), Frequency().amplitude, torch.zeros(1, 3, 32, 32))
    assert wave.norm() == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("radius", [0, 1, 4, 15])
def test_rings_hold_every_frequency_up_to_its_opposite_once(radius: int) -> None:
    found = [w for ring in range(radius + 1) for w in frequency.waves(ring)]
    both = found + [(-i, -j) for i, j in found if (i, j) != (0, 0)]
    side = range(-radius, radius + 1)
    assert sorted(both) == [(i, j) for i in side for j in side]


def test_images_are_shown_with_waves_of_either_sign_per_channel() -> None:
    net = Watches()
    suite = Frequency(radius=2, images=0)
    found = dict(suite.run(context(net, batch_size=20), suite.conditions()))
    number = 0
    for ring in range(3):
        for wave in frequency.waves(ring):
            added = net.seen[number] - 128 / 255
            number += 1
            plain = frequency.wave(wave, 0.125, added)
            signs = added[:, :, 0, 0].sign()
            assert torch.allclose(added, signs[:, :, None, None] * plain, atol=1e-6)
            assert {-1, 1} == set(signs.unique().tolist()) and len(signs.unique(dim=0)) > 3
    right = torch.stack([(seen[:, 0, 0, 0] > 128 / 255) == (torch.arange(20) % 2 == 1) for seen in net.seen[1:5]])
    ring = found["frequency-0.125-1-n0"]
    assert ring.values["wrong"] == (~right).sum(1).tolist() and torch.equal(ring.bits, right.all(0))


def test_images_stay_in_their_range() -> None:
    net = Watches()
    suite = Frequency(radius=1, images=0, amplitude=1.0)
    list(suite.run(context(net, value=None), suite.conditions()))
    assert min(float(x.min()) for x in net.seen) == 0 and max(float(x.max()) for x in net.seen) == 1


def test_without_amplitude_every_count_is_the_clean_one() -> None:
    suite: Suite = Frequency(radius=2, images=0, amplitude=0.0)
    where = context(Watches(), value=None)
    clean = dict(suite_class("clean")().run(where, ["clean"]))["clean"]
    for found in dict(suite.run(where, suite.conditions())).values():
        assert torch.equal(found.bits, clean) and set(found.values["wrong"]) == {int((~clean).sum())}


def outcomes(suite: Suite, where: Context) -> dict[str, Outcome]:
    return {
        c: Outcome.of(f.bits.numpy(), "frequency", as_json(suite.protocol(c)), f.values)
        for c, f in suite.run(where, suite.conditions())
    }


def test_the_heat_map_is_symmetric_and_whole_and_some_images_are_enough() -> None:
    suite = Frequency(radius=3, images=10)
    found = outcomes(suite, context(Watches(), value=None))
    assert {o.n for o in found.values()} == {10} and len(found["frequency-0.125-0-n10"].values["index"]) == 10
    errors = frequency.heat_map(found)
    assert errors.shape == (7, 7) and np.array_equal(errors, errors[::-1, ::-1]) and not np.isnan(errors).any()
    figures = suite.figures(found)
    assert figures["worst wave"] == errors.max()
    half = [errors[3 + i, 3 + j] for r in range(4) for i, j in frequency.waves(r)]
    assert figures["waves of up to 3 periods, mean error, %"] == pytest.approx(np.mean(half))


def test_small_images_have_fewer_rings() -> None:
    assert Frequency().resolve("digits", Path()).radius == 7 and Frequency().resolve("cifar100", Path()).radius == 15
    with pytest.raises(UsageError, match=r"frequency.radius = 8: images of 16 px hold waves of at most 7 periods"):
        next(iter(Frequency(radius=8).run(context(Watches()), ["frequency-0.125-0"])))


def test_protocols_give_the_suite_again() -> None:
    suite = Frequency(radius=3, images=7, amplitude=0.07)
    again = Frequency(**Frequency.options_of([suite.protocol(c) for c in suite.conditions()]))
    assert again == suite


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["waves"].reverse(), "not those of the ring"),
        (lambda v: v["wrong"].pop(), "not those of the ring"),
        (lambda v: v.update(wrong=[0] * 4), "wrong under some wave"),
        (lambda v: v.update(wrong=[20] * 4), "wrong under some wave"),
        (lambda v: v["wrong"].__setitem__(0, 0.5), "not of its images"),
        (lambda v: v.pop("wrong"), "damaged"),
    ],
)
def test_counts_that_contradict_the_bits_are_found(change: Any, words: str) -> None:
    found = outcomes(Frequency(radius=1, images=0), context(Watches()))["frequency-0.125-1-n0"]
    assert Frequency.contradictions(found) == []
    change(found.values)
    assert re.search(words, "; ".join(Frequency.contradictions(found)))


@pytest.mark.parametrize("options", [{"amplitude": 2.0}, {"radius": -1}, {"images": -1}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not allowed: it takes"):
        Frequency(**options)


def test_digits_from_the_command_line(cli: Cli) -> None:
    assert cli("train", "--method", "baseline", "--epochs", 1, "--width", 4).exit_code == 0
    words = ("evaluate", "--suite", "frequency", "--set", "frequency.radius=2", "--set", "frequency.images=100")
    (found,) = read(cli(*words, "--json")).values()
    assert (
        list(found) == [f"frequency-0.125-{r}-n100" for r in range(3)] and found["frequency-0.125-0-n100"]["n"] == 100
    )
    assert "waves of up to 2 periods, mean error, %" in cli(*words).stdout
