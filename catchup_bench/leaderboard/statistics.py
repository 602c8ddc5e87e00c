"""Compare methods by the bits of their records: one test, tiers, verdicts against a baseline, and intervals.

Everything up to a variance is exact: integers, and fractions of them. Floats come last, one at a time and in a fixed
order, so that neither the order of summation nor BLAS nor the processor can change a decision. All values are in
percent. ``docs/statistics.md`` explains what the tests mean; formulas are in the functions.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, combinations_with_replacement
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

LEVEL = 0.05
"""Probability, at most, of any false statement in a family of comparisons."""
NO_TIER = "–"
"""Tier of a method with one seed."""

Integers = npt.NDArray[Any]
"""int64, or Python integers where int64 could overflow."""
Verdict = Literal["better", "worse", "not separable"]


# ---------------------------------------------------------------------------------------------------- exact scores


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
    """The weighted mean error over conditions that a column shows, on integers.

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
            total = np.zeros(block.n, dtype)
            for seed, counts in zip(seeds, correct, strict=True):
                for weight, keys in by_weight.items():
                    right = np.zeros(block.n, np.int64)
                    for chunk in (keys[i : i + 255] for i in range(0, len(keys), 255)):
                        bits = _unpack([seed[key] for key in chunk], block.n)
                        counts.update(zip(chunk, bits.sum(1, dtype=np.int64).tolist(), strict=True))
                        right += bits.sum(0, dtype=np.uint8)  # at most 255 ones: no wider type is needed, 4× as fast
                    total += weight * (len(keys) - right).astype(dtype)
            images[block] = total
        return Scores(tuple(map(self.error, correct)), images, self.unit)


def _unpack(packed: Sequence[bytes], n: int) -> npt.NDArray[np.uint8]:
    """Return a conditions×n array of 0 and 1."""
    length = -(-n // 8)
    if wrong := [len(bits) for bits in packed if len(bits) != length]:
        raise ValueError(f"{wrong[0]} bytes are not the bits of {n} images")
    raw = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), length)
    return np.unpackbits(raw, axis=1, count=n)


# --------------------------------------------------------------------------------------------------- summaries, text


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


# ---------------------------------------------------------------------------------------------------- Student's t


def two_sided(t: float, df: float) -> float:
    """Return the probability of a Student's t beyond ±``t``."""
    from scipy.special import betainc

    return float(betainc(df / 2, 0.5, df / (df + t * t)))


def critical(level: float, df: float) -> float:
    """Return the smallest t with ``two_sided(t, df) <= level``.

    Bisected instead of taken from an inverse, whose precision was another in other versions of SciPy; and so that an
    interval excludes zero exactly where the test rejects.
    """
    low, high = 0.0, 1.0
    while two_sided(high, df) > level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if two_sided(middle, df) > level else (low, middle)
    return high


def wilson(wrong: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of an error of ``wrong`` in ``n``, in percent."""
    from scipy.stats import binomtest

    interval = binomtest(wrong, n).proportion_ci(confidence_level=1 - LEVEL, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def interval(values: Summary) -> tuple[Fraction, Fraction] | None:
    """Return the 95 % t interval of the mean over seeds; ``None`` for fewer than two.

    It has the seeds' noise alone: the mean of many more runs, on these test images, lies in it.
    """
    return _around(values, Fraction(1, max(values.n, 1)))


def prediction(values: Summary, m: int = 1) -> tuple[Fraction, Fraction] | None:
    """Return the 95 % interval for the mean of ``m`` other runs of the same method; ``None`` for fewer than two seeds.

    Half-width t·s·√(1/n + 1/m): were a printed value the mean of m runs of exactly our method, it would lie inside in
    95 % of cases.
    """
    if m < 1:
        raise ValueError(f"m = {m}: a printed value is the mean of at least one run")
    return _around(values, Fraction(1, max(values.n, 1)) + Fraction(1, m))


def _around(values: Summary, share: Fraction) -> tuple[Fraction, Fraction] | None:
    if values.variance is None:
        return None
    half = Fraction(critical(LEVEL, values.n - 1) * math.sqrt(values.variance * share))
    return values.mean - half, values.mean + half


# --------------------------------------------------------------------------------------------------- the test


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

    Raises :class:`ValueError` when the methods were not scored by the same conditions on the same images.
    """

    def __init__(self, scores: Mapping[str, Scores]) -> None:
        self.methods = [name for name, s in scores.items() if s.n >= 2 and min(i.n for i in s.images) >= 2]
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


# --------------------------------------------------------------------------------------------------- families


def holm(p: Mapping[tuple[str, str], float], level: float = LEVEL) -> set[tuple[str, str]]:
    """Return the pairs that differ, at family-wise ``level`` (Holm, 1979)."""
    differ: set[tuple[str, str]] = set()
    for i, (pair, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        if value > level / (len(p) - i):
            break
        differ.add(pair)
    return differ


def letters(order: Sequence[str], differ: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the letters of each method (compact letter display): two methods share one if and only if they do not
    differ.

    Letters are groups of which no two members differ, and that together have every pair that does not. They are found
    greedily: the first pair in ``order`` that shares no letter yet opens a group, which then takes in whoever adds most
    such pairs. That is quadratic work a letter and at most a letter a pair, where all maximal groups (Piepho, 2004) can
    be 3^(k/3). Letters follow the order of their members; ``Z`` is followed by ``AA``.
    """
    k, at = len(order), {name: i for i, name in enumerate(order)}
    alike = [((1 << k) - 1) & ~(1 << i) for i in range(k)]
    for a, b in differ:
        alike[at[a]] &= ~(1 << at[b])
        alike[at[b]] &= ~(1 << at[a])
    missing = list(alike)
    groups = [1 << i for i in range(k) if not alike[i]]
    for i in range(k):
        while missing[i]:
            group, candidates = 1 << i, alike[i]
            taken = _lowest(missing[i])
            while True:
                group |= 1 << taken
                candidates &= alike[taken]
                if not candidates:
                    break
                taken = max(_members(candidates), key=lambda c: ((missing[c] & group).bit_count(), -c))
            for member in _members(group):
                missing[member] &= ~group
            groups.append(group)
    groups = sorted(_needed(groups, alike), key=_members)
    return {name: tuple(_letter(g) for g, group in enumerate(groups) if group >> at[name] & 1) for name in order}


def _needed(groups: list[int], alike: Sequence[int]) -> list[int]:
    """Return ``groups`` without those whose every pair other groups have, too."""
    for group in sorted(groups, key=int.bit_count):
        others = [other for other in groups if other != group]
        seen = [0] * len(alike)
        for other in others:
            for member in _members(other & group):
                seen[member] |= other
        if all(seen[member] >> member & 1 and not group & ~seen[member] for member in _members(group)):
            groups = others
    return groups


def _members(mask: int) -> list[int]:
    members = []
    while mask:
        members.append(_lowest(mask))
        mask &= mask - 1
    return members


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _letter(i: int) -> str:
    """Return A … Z, AA, AB, …"""
    text = ""
    while i >= 0:
        text = chr(ord("A") + i % 26) + text
        i = i // 26 - 1
    return text


@dataclass(frozen=True)
class Ranking:
    """Methods best first, by their mean error and then their name.

    ``letters`` are those of each method's tiers, none for a method that cannot be tested; ``rank`` are the ranks that
    it can have, (lowest, highest), all of them right together with probability 1 − :data:`LEVEL` or more; ``differ``
    has the pairs that differ, the better one first; ``test`` says how they were found.
    """

    letters: dict[str, tuple[str, ...]]
    rank: dict[str, tuple[int, int]]
    differ: set[tuple[str, str]]
    test: str
    tier: dict[str, str] = field(init=False)
    """Letters as one word; with spaces between them where one has two characters, and "–" where there are none."""

    def __post_init__(self) -> None:
        between = " " if any(len(letter) > 1 for own in self.letters.values() for letter in own) else ""
        tier = {name: between.join(own) or NO_TIER for name, own in self.letters.items()}
        object.__setattr__(self, "tier", tier)

    def separable(self, a: str, b: str) -> bool:
        """Return whether ``a`` and ``b`` differ; a method of one seed never does."""
        return not {(a, b), (b, a)}.isdisjoint(self.differ)

    @property
    def best(self) -> list[str]:
        """Return the methods of the first tier: those that share the first letter."""
        return [name for name, own in self.letters.items() if "A" in own]


def rank(scores: Mapping[str, Scores], compared: Comparisons | None = None) -> Ranking:
    """Return the order of the methods, and which of them differ: Holm over all pairs of :class:`Comparisons`.

    One seed is no evidence about another training: such a method has no tier, and could have any rank. A rank is at
    least 1 + the methods that are significantly better, and at most their number − those significantly worse.
    """
    compared = compared or Comparisons(scores)
    means = {name: summarize(s.errors).mean for name, s in scores.items()}
    order = sorted(scores, key=lambda name: (means[name], name))
    tested = [name for name in order if name in set(compared.methods)]
    differ = holm({(a, b): compared.difference(a, b).p for a, b in combinations(tested, 2)})
    ranks = {
        name: (1 + sum(b == name for _, b in differ), len(order) - sum(a == name for a, _ in differ)) for name in order
    }
    return Ranking(dict.fromkeys(order, ()) | letters(tested, differ), ranks, differ, _test_name(len(tested), order))


def _test_name(tested: int, order: Sequence[str]) -> str:
    if tested < 2:
        return "one seed: no tiers" if order else "no runs yet"
    pairs = tested * (tested - 1) // 2
    text = (
        f"Welch's t over seeds with the variance over test images, Holm at {LEVEL} over {pairs} pair{'s' * (pairs > 1)}"
    )
    return text + ("; a method of one seed has no tier" if tested < len(order) else "")


@dataclass(frozen=True)
class AgainstBaseline:
    """``difference`` = error of a method − error of the baseline in percentage points, its interval from ``low`` to
    ``high``, and the ``verdict`` that this gives."""

    difference: Fraction
    low: Fraction
    high: Fraction

    @property
    def verdict(self) -> Verdict:
        """Return ``better`` when the whole interval is below 0, ``worse`` when it is above."""
        return "better" if self.high < 0 else "worse" if self.low > 0 else "not separable"


def against(
    scores: Mapping[str, Scores], baseline: str, compared: Comparisons | None = None
) -> dict[str, AgainstBaseline]:
    """Return how each other method compares with the ``baseline``; empty when that has no two seeds.

    A family of its own, of k − 1 comparisons. Intervals are simultaneous: all of them contain their true difference
    with probability 1 − :data:`LEVEL` or more, by Bonferroni, whatever their correlation. A verdict is what its
    interval says, so that the two agree.
    """
    compared = compared or Comparisons(scores)
    if baseline not in compared.methods:
        return {}
    others = [name for name in compared.methods if name != baseline]
    differences = {name: compared.difference(name, baseline) for name in others}
    return {name: AgainstBaseline(d.value, *d.interval(LEVEL / len(others))) for name, d in differences.items()}


# --------------------------------------------------------------------------------------------------- planning


def power(difference: float, std: float, n: int, comparisons: int = 1, image_error: float = 0.0) -> float:
    """Return the probability that ``n`` seeds of each of two methods show their true ``difference``.

    ``std`` is the deviation between seeds of either, ``image_error`` the standard error of the difference that the test
    images give, which no number of seeds makes smaller; all in one unit. ``comparisons`` is the size of the family:
    k − 1 against a baseline, k(k−1)/2 for tiers, whose first step is then taken. Noncentral t.
    """
    from scipy.stats import nct  # scipy.special.nctdtr is wrong in the second digit in some versions

    if not (std > 0 and difference > 0 and image_error >= 0 and n >= 2 and comparisons >= 1):
        raise ValueError("power needs std > 0, difference > 0, image_error >= 0, n >= 2 and comparisons >= 1")
    df = 2 * (n - 1)
    error = math.sqrt(2 * std * std / n + image_error * image_error)
    return float(nct.sf(critical(LEVEL / comparisons, df), df, difference / error))


def seeds_to_separate(
    difference: float,
    std: float,
    comparisons: int = 1,
    image_error: float = 0.0,
    wanted: float = 0.8,
    most: int = 1000,
) -> int | None:
    """Return how many seeds of each of two methods show their ``difference`` with probability ``wanted``; ``None`` when
    more than ``most`` would be needed. Arguments as in :func:`power`."""
    low, high = 1, 2
    while power(difference, std, high, comparisons, image_error) < wanted:
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(difference, std, middle, comparisons, image_error) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high
