"""Score methods exactly: integers per image, fractions of them per seed, and their decimals on a page."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[Any]
"""int64, or Python integers where int64 could overflow."""


@dataclass(frozen=True)
class Images:
    """The ``n`` images of the set ``test_set`` (its digest) behind a condition's bits, in their order.

    ``index`` are their positions in that set; ``None`` when all of it was used, or, with ``known`` false, when they are
    some of it and nothing says which.
    """

    test_set: str
    n: int
    index: tuple[int, ...] | None = None
    known: bool = True

    def __post_init__(self) -> None:
        if self.n < 1 or (self.index is not None and not len(set(self.index)) == len(self.index) == self.n):
            raise ValueError(f"index must be the {self.n} images that the bits are of, each once")

    def positions(self) -> npt.NDArray[np.int64]:
        """Return the n positions in the test set; those in the subset where they are not known."""
        return np.arange(self.n) if self.index is None else np.array(self.index, np.int64)


@dataclass(frozen=True)
class Scores:
    """One method in one column.

    ``errors`` are the values of the seeds, in percent. ``images`` holds per set of images the integer score of each
    image, summed over conditions and seeds: the column, as a share, is the sum over sets of their mean score, divided
    by ``unit`` and by the number of seeds.
    """

    errors: tuple[Fraction, ...]
    images: Mapping[Images, Integers]
    unit: int

    @property
    def n(self) -> int:
        """Return the number of seeds."""
        return len(self.errors)


class WeightedError:
    """The weighted sum of errors over conditions that a column shows, on integers; its mean where the weights sum to 1.

    ``conditions`` maps a condition to its weight and the images that it was measured on. Weights get one common
    denominator, ``unit``. Conditions on the same images add up image by image, so that the variance over images has
    their covariance.
    """

    def __init__(self, conditions: Mapping[Hashable, tuple[Fraction, Images]]) -> None:
        if not conditions:
            raise ValueError("a column needs at least one condition")
        self.unit = math.lcm(*(weight.denominator for weight, _ in conditions.values()))
        whole = self.unit * math.lcm(*(images.n for _, images in conditions.values()))
        self._whole = whole
        self._of_count = {key: int(weight * whole) // images.n for key, (weight, images) in conditions.items()}
        self._n = {key: images.n for key, (_, images) in conditions.items()}
        self._blocks: dict[Images, dict[int, list[Hashable]]] = {}
        for key, (weight, images) in conditions.items():
            self._blocks.setdefault(images, {}).setdefault(int(weight * self.unit), []).append(key)

    def error(self, correct: Mapping[Hashable, int]) -> Fraction:
        """Return the column's value in percent from the number of ``correct`` images per condition."""
        total = sum(factor * (self._n[key] - correct[key]) for key, factor in self._of_count.items())
        return Fraction(100 * total, self._whole)

    def scores(self, seeds: Sequence[Mapping[Hashable, bytes]]) -> Scores:
        """Return the scores of a method from the bits of each of its ``seeds``.

        A seed maps conditions to packed bits, one per image and set where it was classified correctly, the first image
        in the highest bit (as :func:`numpy.packbits`). Raises :class:`ValueError` for bits of another length.
        """
        correct: list[dict[Hashable, int]] = [{} for _ in seeds]
        images: dict[Images, Integers] = {}
        for block, by_weight in self._blocks.items():
            largest = len(seeds) * sum(abs(weight) * len(keys) for weight, keys in by_weight.items())
            dtype: Any = np.int64 if largest < 2**62 else object
            wrong = {weight: np.zeros(block.n, np.int64) for weight in by_weight}
            for seed, counts in zip(seeds, correct, strict=True):
                for weight, keys in by_weight.items():
                    right = np.zeros(block.n, np.int64)
                    for chunk in (keys[i : i + 255] for i in range(0, len(keys), 255)):
                        bits = _unpack([seed[key] for key in chunk], block.n)
                        counts.update(zip(chunk, bits.sum(1, dtype=np.int64).tolist(), strict=True))
                        right += bits.sum(0, dtype=np.uint8)  # at most 255 ones: no wider type is needed, 4× as fast
                    wrong[weight] += len(keys) - right
            images[block] = sum(
                (weight * count.astype(dtype) for weight, count in wrong.items()), np.zeros(block.n, dtype)
            )
        return Scores(tuple(map(self.error, correct)), images, self.unit)


def _unpack(packed: Sequence[bytes], n: int) -> npt.NDArray[np.uint8]:
    """Return a conditions×n array of 0 and 1."""
    length = -(-n // 8)
    if wrong := [len(bits) for bits in packed if len(bits) != length]:
        raise ValueError(f"{wrong[0]} bytes are not the bits of {n} images")
    raw = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), length)
    return np.unpackbits(raw, axis=1, count=n)


@dataclass(frozen=True)
class Summary:
    """Exact ``mean`` and ``variance`` (n−1; ``None`` for one value) of the ``n`` seeds of a row."""

    mean: Fraction
    variance: Fraction | None
    n: int


def summarize(values: Sequence[Fraction]) -> Summary:
    """Return the mean and the variance of ``values``; a float goes in as ``Fraction(x)``, which is exact."""
    n, total = len(values), sum(values, Fraction(0))
    if n < 2:
        return Summary(total, None, n)
    squares = sum((v * v for v in values), Fraction(0))
    return Summary(total / n, (squares - total * total / n) / (n - 1), n)


def decimal(value: Fraction, places: int = 2, plus: bool = False) -> str:
    """Return ``value`` with ``places`` decimals, halves to even; never ``-0.00``. ``plus`` signs 0 and above."""
    return _point(round(value * 10**places), places, plus)


def decimal_root(value: Fraction, places: int = 2) -> str:
    """Return the square root of ``value`` with ``places`` decimals, rounded correctly: a variance's deviation."""
    scaled = value * 100**places
    floor = math.isqrt(scaled.numerator // scaled.denominator)
    half = Fraction(2 * floor + 1, 2) ** 2
    return _point(floor + (scaled > half or (scaled == half and floor % 2 == 1)), places, False)


def _point(scaled: int, places: int, plus: bool) -> str:
    sign = "-" if scaled < 0 else "+" * plus
    digits = str(abs(scaled)).zfill(places + 1)
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
