"""The test: differences between methods, with the noise of seeds and of test images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement

import numpy as np

from .intervals import critical, two_sided
from .scores import Images, Scores, Summary, summarize


@dataclass(frozen=True)
class Difference:
    """``value`` = error of one method − that of another, in percentage points, its standard ``error`` and the degrees
    of freedom ``df`` of that.

    Where nothing varies, neither seeds nor images, the standard error is 0 and ``df`` infinite: any difference is then
    certain (p = 0), and none is none (p = 1).
    """

    value: Fraction
    error: float
    df: float

    @property
    def p(self) -> float:
        """Return the two-sided p value."""
        if self.error == 0:
            return float(self.value == 0)
        return two_sided(abs(float(self.value)) / self.error, self.df)

    def interval(self, level: float) -> tuple[Fraction, Fraction]:
        """Return the interval with confidence 1 − ``level``; it excludes 0 where ``p < level``."""
        half = Fraction(0 if self.error == 0 else critical(level, self.df) * self.error)
        return self.value - half, self.value + half


def welch(value: Fraction, parts: Sequence[tuple[Fraction, int]], most: int) -> Difference:
    """Return a difference whose variance is the sum of independent ``parts``: (estimate, degrees of freedom).

    The degrees of freedom of the sum are (Σ v)² / Σ v²/f (Satterthwaite, 1946), and no more than ``most``.
    """
    variances = [float(v) for v, _ in parts]
    total = math.fsum(variances)
    if total == 0:
        return Difference(value, 0.0, math.inf)
    below = math.fsum(v * v / f for v, (_, f) in zip(variances, parts, strict=True))
    return Difference(value, math.sqrt(total), min(total * total / below, most))


class Comparisons:
    """All differences between methods that have the same column, of two seeds or more each.

    For methods a and b with seed values a_s, b_s and per-image mean scores x_i, y_i on the same N images::

        v_a = var(a_s)/n_a    v_b = var(b_s)/n_b    v_i = var(x_i − y_i)/N        (n−1 in each)
        t = (ā − b̄)/√(v_a + v_b + v_i),  degrees of freedom by Satterthwaite, at most 2·(min(n_a, n_b) − 1)

    The limit is ours. Few seeds that happen to lie close together leave little but v_i, which brings the thousands of
    degrees of freedom of N images, and boards of 2 or 3 seeds, or of 2 and 20, then have false tiers far more often
    than promised (``docs/statistics.md``). With equal n and v_i = 0 it changes nothing: that is Welch's own range.

    A column of several overlapping sets of images of a test set is a sum of means, Σ_g mean_g. Its variance over images
    is that of its linear part: with the residuals r_i = Σ_{g ∋ i} (d_gi − mean_g)/n_g, of images, v_i = Σ r_i² ·
    N/(N−1), where N is the smallest n_g; for one set this is the formula above. Where nothing says which images a
    smaller set has, its covariance with another set is taken as the largest that it can be (Cauchy and Schwarz, the
    smaller set being a random part of the larger): the test is then conservative. Test sets are independent: each adds
    a part of its own.

    Scores without images, of a column that has a number for each training and none for an image, have v_i = 0.

    Raises :class:`ValueError` when the methods were not scored by the same conditions on the same images.
    """

    def __init__(self, scores: Mapping[str, Scores]) -> None:
        self.methods = [name for name, s in scores.items() if s.n >= 2 and min((i.n for i in s.images), default=2) >= 2]
        kept = [scores[name] for name in self.methods]
        if len({(s.unit, frozenset(s.images)) for s in scores.values()}) > 1:
            raise ValueError("methods that are compared need the same conditions on the same images")
        self._at = {name: i for i, name in enumerate(self.methods)}
        self._n = [s.n for s in kept]
        self._seeds = [summarize(s.errors) for s in kept]
        self._sets = [_Moments(kept, blocks) for blocks in _by_test_set(kept)]

    def difference(self, a: str, b: str) -> Difference:
        """Return error of ``a`` − error of ``b``."""
        i, j = self._at[a], self._at[b]
        parts = [(_of_mean(self._seeds[k]), self._n[k] - 1) for k in (i, j)]
        parts += [(moments.variance(i, j, self._n[i], self._n[j]), moments.n - 1) for moments in self._sets]
        return welch(self._seeds[i].mean - self._seeds[j].mean, parts, 2 * (min(self._n[i], self._n[j]) - 1))


def _of_mean(seeds: Summary) -> Fraction:
    assert seeds.variance is not None
    return seeds.variance / seeds.n


def _by_test_set(scores: Sequence[Scores]) -> list[list[Images]]:
    by_test_set: dict[str, list[Images]] = {}
    for images in scores[0].images if scores else ():
        by_test_set.setdefault(images.test_set, []).append(images)
    return list(by_test_set.values())


class _Moments:
    """Sums and sums of products of the methods' image scores over one test set, from which the variance of any
    difference follows: k²N products for all pairs together."""

    def __init__(self, scores: Sequence[Scores], blocks: Sequence[Images]) -> None:
        self.n = min(block.n for block in blocks)
        self._size = [block.n for block in blocks]
        self._scale = math.lcm(*self._size)
        self._unit = scores[0].unit
        tables = [np.stack([s.images[block] for s in scores]) for block in blocks]
        peak = max(int(abs(table).max()) for table in tables)
        if peak * peak * max(self._size) >= 2**63:
            tables = [table.astype(object) for table in tables]
        self._sums = [table.sum(1).tolist() for table in tables]
        self._shared: dict[tuple[int, int], tuple[int, list[int], list[int], list[list[int]]]] = {}
        self._unknown: list[tuple[int, int]] = []
        for g, h in combinations_with_replacement(range(len(blocks)), 2):
            if g != h and not (blocks[g].known and blocks[h].known):
                self._unknown.append((g, h))
                continue
            _, at, to = np.intersect1d(
                blocks[g].positions(), blocks[h].positions(), assume_unique=True, return_indices=True
            )
            left, right = tables[g][:, at], tables[h][:, to]
            # integers: numpy multiplies them by itself, not through BLAS, and exactly
            products = (left @ right.T).tolist()
            self._shared[g, h] = len(at), left.sum(1).tolist(), right.sum(1).tolist(), products

    def variance(self, a: int, b: int, n_a: int, n_b: int) -> Fraction:
        """Return the variance over images of the difference of methods ``a`` and ``b``, of n_a and n_b seeds."""
        total, squares = 0, {}
        for (g, h), (count, left, right, products) in self._shared.items():
            n_g, n_h = self._size[g], self._size[h]
            # d = n_b·x − n_a·y in units of 1/(n_a·n_b·unit)
            s_g = n_b * self._sums[g][a] - n_a * self._sums[g][b]
            s_h = n_b * self._sums[h][a] - n_a * self._sums[h][b]
            d_g, d_h = n_b * left[a] - n_a * left[b], n_b * right[a] - n_a * right[b]
            dd = n_b * n_b * products[a][a] + n_a * n_a * products[b][b]
            dd -= n_a * n_b * (products[a][b] + products[b][a])
            # Σ (n_g·d_g − s_g)(n_h·d_h − s_h) over the shared images
            e = n_g * n_h * dd - n_g * s_h * d_g - n_h * s_g * d_h + count * s_g * s_h
            e *= (self._scale**2 // (n_g * n_h)) ** 2
            total += (1 if g == h else 2) * e
            if g == h:
                squares[g] = e
        for g, h in self._unknown:
            small, large = sorted((self._size[g], self._size[h]))
            square = squares[g] * squares[h] * small // large
            root = math.isqrt(square)
            total += 2 * (root + (root * root < square))
        return Fraction(100 * 100 * total * self.n, (self.n - 1) * self._scale**4 * (n_a * n_b * self._unit) ** 2)
