"""The named constants of normalisation."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catchup_bench import data
from catchup_bench.data.normalisation import CONSTANTS, parse_constants
from catchup_bench.errors import UsageError
from tests.support import real_data

DIGITS = data.get("digits")

share = st.floats(0, 1)


def test_cifar100s_constants_are_those_of_its_training_images() -> None:
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for part in range(3):
        found = real_data.arrays(f"cifar100_train_{part}.npz")
        blob, offsets = found["blob"].tobytes(), found["offsets"].tolist()
        for a, b in pairwise(offsets):
            pixels = np.asarray(Image.open(io.BytesIO(blob[a:b])).convert("RGB")).reshape(-1, 3) / 255
            count, total, squares = count + len(pixels), total + pixels.sum(0), squares + (pixels**2).sum(0)
    mean, std = CONSTANTS["cifar100"]
    assert count == 50_000 * 32 * 32
    assert total / count == pytest.approx(mean, abs=5e-5)
    assert np.sqrt(squares / count - (total / count) ** 2) == pytest.approx(std, abs=5e-5)


def test_names_stand_for_their_constants() -> None:
    assert parse_constants("dataset", DIGITS) == (DIGITS.mean, DIGITS.std)
    assert parse_constants("none", DIGITS) == ((0,) * 3, (1,) * 3)
    assert all(parse_constants(name, DIGITS) == values for name, values in CONSTANTS.items())


@given(st.lists(share, min_size=3, max_size=3), st.lists(share.filter(bool), min_size=3, max_size=3))
def test_numbers_are_read_as_they_are_written(mean: list[float], std: list[float]) -> None:
    assert parse_constants(",".join(map(repr, mean + std)), DIGITS) == (tuple(mean), tuple(std))
    assert parse_constants(f"{mean[0]!r}, {std[0]!r}", DIGITS) == ((mean[0],) * 3, (std[0],) * 3)


@given(st.floats(), st.floats())
def test_only_constants_of_images_in_0_to_1_are_taken(mean: float, std: float) -> None:
    if 0 <= mean <= 1 and 0 < std <= 1:
        return
    with pytest.raises(UsageError, match="divide constants of images in 0 to 255"):
        parse_constants(f"{mean!r},{std!r}", DIGITS)
