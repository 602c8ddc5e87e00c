"""Statistics against SciPy, brute force on fractions, simulated boards and known answers."""

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catchup_bench.leaderboard import statistics
from tests.support import simulate_tiers

ALL = statistics.Images("test", 12)
SOME = statistics.Images("test", 4, (1, 3, 4, 9))
OTHER = statistics.Images("other test set", 6)
COLUMN = {
    "clean": (Fraction(1, 3), ALL),
    "noise": (Fraction(1, 6), ALL),
    "blur": (Fraction(1, 6), ALL),
    "attack": (Fraction(1, 4), SOME),
    "elsewhere": (Fraction(1, 12), OTHER),
}
Bits = dict[str, Any]


def runs(least: int = 2, most: int = 4) -> st.SearchStrategy[list[Bits]]:
    """The bits of a method's seeds, unpacked."""
    ends = np.cumsum([images.n for _, images in COLUMN.values()])

    def split(blob: bytes) -> Bits:
        bits = np.unpackbits(np.frombuffer(blob, np.uint8), count=ends[-1]).astype(bool)
        return dict(zip(COLUMN, np.split(bits, ends[:-1]), strict=True))

    length = -(-int(ends[-1]) // 8)
    return st.lists(st.binary(min_size=length, max_size=length).map(split), min_size=least, max_size=most)


def scored(seeds: Sequence[Bits]) -> statistics.Scores:
    packed = [{c: np.packbits(bits).tobytes() for c, bits in seed.items()} for seed in seeds]
    return statistics.WeightedError(COLUMN).scores(packed)


def one_set(errors: Sequence[Sequence[int]]) -> statistics.Scores:
    """Scores of one condition from a seeds×images array of 0 and 1, where 1 is wrong."""
    wrong = np.asarray(errors, bool)
    column = statistics.WeightedError({"clean": (Fraction(1), statistics.Images("test", wrong.shape[1]))})
    return column.scores([{"clean": np.packbits(~seed).tobytes()} for seed in wrong])


def method(error: float, seeds: int = 5, n: int = 400, rng: int = 0) -> statistics.Scores:
    draw = np.random.default_rng(rng)
    return one_set((draw.random((seeds, n)) < error).astype(int).tolist())


def constant(*errors: Fraction) -> statistics.Scores:
    """A method whose seeds have these errors in percent, and no difference between images."""
    unit = math.lcm(*(e.denominator for e in errors)) * 100
    each = int(sum(errors) * unit / 100)
    return statistics.Scores(errors, {ALL: np.full(ALL.n, each)}, unit)


# ------------------------------------------------------------------------------------------------------ exact scores


@given(runs())
def test_a_column_is_the_weighted_mean_of_its_conditions(seeds: list[Bits]) -> None:
    scores = scored(seeds)
    for seed, error in zip(seeds, scores.errors, strict=True):
        mean = sum(w * Fraction(int((~seed[c]).sum()), images.n) for c, (w, images) in COLUMN.items())
        assert error == 100 * mean
        assert statistics.WeightedError(COLUMN).error({c: int(bits.sum()) for c, bits in seed.items()}) == 100 * mean
    shares = [Fraction(int(total.sum()), images.n) for images, total in scores.images.items()]
    assert 100 * sum(shares) / scores.unit == sum(scores.errors)


def test_more_conditions_than_a_byte_counts() -> None:
    images = statistics.Images("test", 9)
    column = statistics.WeightedError({i: (Fraction(1, 600), images) for i in range(600)})
    none, every = np.packbits(np.zeros(9, bool)).tobytes(), np.packbits(np.ones(9, bool)).tobytes()
    scores = column.scores([dict.fromkeys(range(600), none), dict.fromkeys(range(600), every)])
    assert scores.errors == (100, 0)
    assert scores.images[images].tolist() == [600] * 9 and scores.unit == 600


def test_weights_beyond_64_bits_stay_exact() -> None:
    odd = Fraction(1, 3**50)
    column = statistics.WeightedError({"a": (odd, ALL), "b": (1 - odd, ALL)})
    draw = np.random.default_rng(0)
    bits = [[{c: draw.bytes(2) for c in "ab"} for _ in range(3)] for _ in range(2)]
    found = statistics.Comparisons({str(i): column.scores(seeds) for i, seeds in enumerate(bits)}).difference("0", "1")
    plain = statistics.WeightedError({"b": (Fraction(1), ALL)})
    near = statistics.Comparisons({str(i): plain.scores(seeds) for i, seeds in enumerate(bits)}).difference("0", "1")
    assert found.error == pytest.approx(near.error, rel=1e-12) and found.value != near.value


@pytest.mark.parametrize("seed", range(5))
def test_unknown_positions_have_the_largest_covariance(seed: int) -> None:
    """Root mean squares add up, and the test is more conservative than with the positions."""
    draw, n, small = np.random.default_rng(seed), 200, 40
    index = tuple(sorted(draw.choice(n, small, replace=False).tolist()))
    hard = draw.random(n)
    bits = [[draw.random((2, n)) > hard * error for _ in range(3)] for error in (0.6, 0.9)]
    found = {}
    for images in (statistics.Images("t", small, index), statistics.Images("t", small, None, False)):
        column = statistics.WeightedError(
            {"all": (Fraction(1, 2), statistics.Images("t", n)), "some": (Fraction(1, 2), images)}
        )
        scores = {
            str(i): column.scores(
                [{"all": np.packbits(a).tobytes(), "some": np.packbits(b[list(index)]).tobytes()} for a, b in own]
            )
            for i, own in enumerate(bits)
        }
        found[images.known] = statistics.Comparisons(scores)._sets[0].variance(0, 1, 3, 3)
    difference = np.mean(bits[1], 0) - np.mean(bits[0], 0)  # of correct bits, for each condition and image
    parts = [np.sum((d - d.mean()) ** 2) / len(d) ** 2 for d in (difference[0], difference[1][list(index)])]
    bound = parts[0] + parts[1] + 2 * math.sqrt(parts[0] * parts[1] * small / n)
    assert float(found[False]) == pytest.approx(100**2 / 4 * bound * small / (small - 1), rel=1e-6)
    assert found[True] < found[False]


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="1 bytes are not the bits of 12 images"):
        statistics.WeightedError({"a": (Fraction(1), ALL)}).scores([{"a": b"1"}])
    with pytest.raises(ValueError, match="at least one condition"):
        statistics.WeightedError({})
    for index in ((1, 1), (1, 2, 3)):
        with pytest.raises(ValueError, match="index must be the 2 images"):
            statistics.Images("test", 2, index)
    with pytest.raises(ValueError, match="the same conditions on the same images"):
        statistics.Comparisons({"a": method(0.1, n=100), "b": method(0.1, n=101)})


# ------------------------------------------------------------------------------------------------- summaries and text


@given(st.lists(st.fractions(), min_size=2, max_size=6))
def test_summaries_are_exact(values: list[Fraction]) -> None:
    summary = statistics.summarize(values)
    mean = sum(values) / len(values)
    assert summary.mean == mean and summary.n == len(values)
    assert summary.variance == sum((v - mean) ** 2 for v in values) / (len(values) - 1)


def test_one_value_has_no_variance_and_no_interval() -> None:
    one = statistics.summarize([Fraction(3)])
    assert one == statistics.Summary(Fraction(3), None, 1)
    assert statistics.interval(one) is statistics.prediction(one) is None


@given(st.fractions(-1000, 1000), st.integers(0, 4), st.booleans())
def test_decimals_are_rounded_half_to_even(value: Fraction, places: int, plus: bool) -> None:
    with localcontext(prec=400):
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        expected = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    text = statistics.decimal(value, places, plus)
    assert Decimal(text) == expected
    assert text.startswith("+") == (plus and expected >= 0) and not (text.startswith("-") and expected == 0)


@given(st.fractions(0, 1000), st.integers(0, 4))
def test_roots_are_rounded_correctly(value: Fraction, places: int) -> None:
    with localcontext(prec=200):
        root = (Decimal(value.numerator) / Decimal(value.denominator)).sqrt()
        assert Decimal(statistics.decimal_root(value, places)) == root.quantize(
            Decimal(1).scaleb(-places), ROUND_HALF_EVEN
        )


def test_ties_of_decimals() -> None:
    eighth = Fraction(1, 8)
    assert [statistics.decimal(eighth), statistics.decimal(3 * eighth), statistics.decimal(-eighth / 100)] == [
        "0.12",
        "0.38",
        "0.00",
    ]
    assert [statistics.decimal_root(eighth**2), statistics.decimal_root((3 * eighth) ** 2)] == ["0.12", "0.38"]
    assert statistics.decimal(Fraction(1), plus=True) == "+1.00" and statistics.decimal(Fraction(-5, 2), 0) == "-2"


# ------------------------------------------------------------------------------------------------------- Student's t


@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilson_equals_the_root_of_its_equation(n: int, share: float) -> None:
    """An error p is inside when |p − w/n| ≤ z·√(p(1 − p)/n) (Wilson, 1927)."""
    wrong = int(share * n)
    for end in (e / 100 for e in statistics.wilson(wrong, n)):
        distance, allowed = abs(end - wrong / n), 1.959963985 * math.sqrt(max(0, end * (1 - end)) / n)
        assert distance == pytest.approx(allowed, abs=1e-8)


@given(st.floats(0.02, 30), st.floats(1, 1e4))
def test_p_values_equal_scipy(t: float, df: float) -> None:
    from scipy.stats import t as student

    assert statistics.two_sided(t, df) == pytest.approx(2 * student.sf(t, df), rel=1e-8)


@given(st.floats(1e-6, 0.9), st.floats(1, 1e4))
def test_critical_is_the_first_value_that_rejects(level: float, df: float) -> None:
    from scipy.stats import t as student

    limit = statistics.critical(level, df)
    assert statistics.two_sided(limit, df) <= level < statistics.two_sided(limit * (1 - 1e-12), df) * (1 + 1e-9)
    assert limit == pytest.approx(student.isf(level / 2, df), rel=1e-7)


def test_an_interval_of_the_mean_equals_scipy() -> None:
    from scipy.stats import t as student

    values = [Fraction(v, 10) for v in (101, 109, 97, 112)]
    ends = statistics.interval(statistics.summarize(values))
    assert ends is not None
    floats = np.array(values, float)
    expected = student.interval(0.95, 3, floats.mean(), floats.std(ddof=1) / 2)
    assert [float(e) for e in ends] == pytest.approx(expected, rel=1e-9)


def test_a_prediction_interval_has_both_numbers_of_runs() -> None:
    summary = statistics.summarize([Fraction(10), Fraction(12), Fraction(17)])
    t = 0.95 / math.sqrt(2 * 0.975 * 0.025)  # closed form of 2 degrees of freedom
    for m in (1, 3):
        ends = statistics.prediction(summary, m)
        assert ends is not None
        half = t * math.sqrt(13) * math.sqrt(1 / 3 + 1 / m)
        assert [float(e) for e in ends] == pytest.approx([13 - half, 13 + half], rel=1e-9)
    with pytest.raises(ValueError, match="at least one run"):
        statistics.prediction(summary, 0)


def test_one_more_run_lies_in_the_prediction_interval() -> None:
    """As often as promised, with the residuals of digits, and in a confidence interval far less often."""
    confidence, prediction = simulate_tiers.paper_inside(simulate_tiers.source(), n=5, draws=1000)
    assert confidence < 0.75 and prediction > 0.95 - 3.1 * math.sqrt(0.05 * 0.95 / 1000)


# ----------------------------------------------------------------------------------------------------------- the test


@pytest.mark.filterwarnings("ignore:Precision loss occurred")
@given(st.lists(st.integers(0, 50), min_size=2, max_size=6), st.lists(st.integers(0, 50), min_size=2, max_size=6))
def test_without_image_variance_it_is_welchs_test(a: list[int], b: list[int]) -> None:
    from scipy.stats import t as student
    from scipy.stats import ttest_ind

    if len(set(a)) == len(set(b)) == 1:
        return
    found = statistics.Comparisons({"a": constant(*map(Fraction, a)), "b": constant(*map(Fraction, b))}).difference(
        "a", "b"
    )
    theirs = ttest_ind(a, b, equal_var=False)
    most = 2 * (min(len(a), len(b)) - 1)
    assert found.df == pytest.approx(min(theirs.df, most))
    assert found.p == pytest.approx(2 * student.sf(abs(theirs.statistic), min(theirs.df, most)), rel=1e-7)
    if len(a) == len(b):
        assert found.p == pytest.approx(theirs.pvalue, rel=1e-7)


@given(runs(), runs())
def test_the_variance_over_images_is_that_of_the_residuals(a: list[Bits], b: list[Bits]) -> None:
    """By brute force: image by image in fractions, with overlapping sets and a test set of its own."""
    found = statistics.Comparisons({"a": scored(a), "b": scored(b)}).difference("a", "b")
    variances = [statistics.summarize(scored(x).errors).variance or Fraction(0) for x in (a, b)]
    parts = [(variances[0] / len(a), len(a) - 1), (variances[1] / len(b), len(b) - 1)]
    for sets in ([ALL, SOME], [OTHER]):
        residuals: dict[int, Fraction] = {}
        for images in sets:
            mean_wrong = [
                {
                    i: sum(w * int(not seed[c][at]) for seed in x for c, (w, used) in COLUMN.items() if used == images)
                    / Fraction(len(x))
                    for at, i in enumerate(images.index or range(images.n))
                }
                for x in (a, b)
            ]
            d = {i: 100 * (mean_wrong[0][i] - mean_wrong[1][i]) for i in mean_wrong[0]}
            mean = sum(d.values()) / images.n
            for i, value in d.items():
                residuals[i] = residuals.get(i, Fraction(0)) + (value - mean) / images.n
        least = min(images.n for images in sets)
        parts.append((sum(r * r for r in residuals.values()) * Fraction(least, least - 1), least - 1))
    total = sum(v for v, _ in parts)
    assert found.error == pytest.approx(math.sqrt(total), rel=1e-12)
    if total:
        satterthwaite = total**2 / sum(v * v / f for v, f in parts)
        assert found.df == pytest.approx(float(min(satterthwaite, 2 * (min(len(a), len(b)) - 1))), rel=1e-12)


@given(arrays(np.int8, (2, 3, 10), elements=st.integers(0, 1)))
def test_on_one_set_of_images_it_is_the_plain_variance_of_paired_differences(wrong: Any) -> None:
    found = statistics.Comparisons({"a": one_set(wrong[0]), "b": one_set(wrong[1])}).difference("a", "b")
    seeds, images = 100 * wrong.mean(2), 100 * wrong.mean(1)
    expected = seeds.var(1, ddof=1).sum() / 3 + (images[0] - images[1]).var(ddof=1) / 10
    assert found.error**2 == pytest.approx(expected, abs=1e-9)


@given(runs(), runs())
def test_the_test_is_symmetric(a: list[Bits], b: list[Bits]) -> None:
    compared = statistics.Comparisons({"a": scored(a), "b": scored(b)})
    one, other = compared.difference("a", "b"), compared.difference("b", "a")
    assert (one.value, one.error, one.df, one.p) == (-other.value, other.error, other.df, other.p)
    assert 0 <= one.p <= 1 and (one.p == 1) == (one.value == 0)


def test_nothing_varies() -> None:
    """Equal methods are not separable; methods that differ in every seed and image alike are."""
    ten, twenty = constant(Fraction(10), Fraction(10)), constant(Fraction(20), Fraction(20))
    compared = statistics.Comparisons({"a": ten, "b": twenty, "c": ten})
    assert compared.difference("a", "c").p == 1 and compared.difference("a", "b").p == 0
    assert compared.difference("a", "b").interval(0.05) == (-10, -10)
    ranking = statistics.rank({"a": ten, "b": twenty, "c": ten})
    assert ranking.tier == {"a": "A", "c": "A", "b": "B"}
    assert ranking.rank == {"a": (1, 2), "c": (1, 2), "b": (3, 3)}


@given(runs(), runs(), st.floats(0.001, 0.5))
def test_an_interval_excludes_zero_where_the_test_rejects(a: list[Bits], b: list[Bits], level: float) -> None:
    found = statistics.Comparisons({"a": scored(a), "b": scored(b)}).difference("a", "b")
    low, high = found.interval(level)
    assert low <= found.value <= high
    if abs(found.p - level) > 1e-9:
        assert (low > 0 or high < 0) == (found.p < level)


# ----------------------------------------------------------------------------------------------------------- families


def test_holm_rejects_step_by_step() -> None:
    p = {("a", "b"): 0.01, ("a", "c"): 0.03, ("b", "c"): 0.04}
    assert statistics.holm(p) == {("a", "b")}
    assert statistics.holm({("a", "b"): 0.01, ("a", "c"): 0.02, ("b", "c"): 0.04}) == set(p)


@given(st.sets(st.sampled_from(list(combinations("abcdefgh", 2)))))
def test_letters_are_shared_if_and_only_if_methods_do_not_differ(differ: set[tuple[str, str]]) -> None:
    letters = statistics.letters("abcdefgh", differ)
    assert all(letters.values())
    for a, b in combinations("abcdefgh", 2):
        assert bool(set(letters[a]) & set(letters[b])) == ((a, b) not in differ)


@given(st.sets(st.sampled_from(list(combinations("abcdefgh", 2)))))
def test_no_letter_is_superfluous(differ: set[tuple[str, str]]) -> None:
    letters = statistics.letters("abcdefgh", differ)
    for letter in {x for own in letters.values() for x in own}:
        rest = {name: set(own) - {letter} for name, own in letters.items()}
        pairs = [(a, b) for a, b in combinations("abcdefgh", 2) if (a, b) not in differ]
        assert not all(rest.values()) or any(not rest[a] & rest[b] for a, b in pairs)


def test_letters_start_with_the_best() -> None:
    assert statistics.letters("xyz", {("x", "z"), ("y", "z")}) == {"x": ("A",), "y": ("A",), "z": ("B",)}
    assert statistics.letters("xyz", {("x", "z")}) == {"x": ("A",), "y": ("A", "B"), "z": ("B",)}
    assert statistics.letters("", []) == {} and statistics.letters("x", []) == {"x": ("A",)}


@pytest.mark.parametrize("k", [20, 60])
def test_letters_of_a_bad_pattern_are_few(k: int) -> None:
    """Every method differs from one other: 2^(k/2) maximal groups, of which few are needed."""
    order = [f"m{i}" for i in range(k)]
    differ = {(order[i], order[i + 1]) for i in range(0, k, 2)}
    letters = statistics.letters(order, differ)
    assert len({letter for own in letters.values() for letter in own}) <= k
    for a, b in combinations(order, 2):
        assert bool(set(letters[a]) & set(letters[b])) == ((a, b) not in differ)


def test_letters_beyond_z_stand_apart() -> None:
    order = [f"m{i:02}" for i in range(28)]
    ranking = statistics.Ranking(statistics.letters(order, combinations(order, 2)), {}, set(), "")
    assert [ranking.tier[order[i]] for i in (0, 25, 26, 27)] == ["A", "Z", "AA", "AB"]
    spread = {(a, b) for i, a in enumerate(order) for j, b in enumerate(order) if j > i + 1}
    ranking = statistics.Ranking(statistics.letters(order, spread), {}, set(), "")
    assert ranking.tier[order[1]] == "A B" and ranking.tier[order[26]] == "Z AA" and ranking.best == order[:2]


def test_a_clear_difference_is_a_tier_and_none_is_not() -> None:
    ranking = statistics.rank({"bad": method(0.3, rng=1), "good": method(0.1), "twin": method(0.3, rng=2)})
    assert ranking.tier["good"] == "A" and ranking.rank["good"] == (1, 1)
    assert ranking.tier["bad"] == ranking.tier["twin"] == "B" and ranking.rank["twin"] == (2, 3)
    assert ranking.separable("bad", "good") and not ranking.separable("bad", "twin")
    assert ranking.best == ["good"] and "Welch" in ranking.test and "3 pairs" in ranking.test


def test_one_seed_has_no_tier_and_any_rank() -> None:
    scores = {"a": method(0.1, 5, rng=1), "b": method(0.4, 6, rng=2), "c": method(0.2, 1, rng=3)}
    ranking = statistics.rank(scores)
    assert ranking.tier == {"a": "A", "b": "B", "c": "–"} and "one seed has no tier" in ranking.test
    assert ranking.rank == {"a": (1, 2), "c": (1, 3), "b": (2, 3)} and not ranking.separable("a", "c")
    alone = statistics.rank({"a": method(0.1, 1), "b": method(0.4, 1)})
    assert alone.tier == {"a": "–", "b": "–"} and alone.test == "one seed: no tiers" and alone.best == []
    assert list(statistics.against(scores, "b")) == ["a"] and statistics.against(scores, "c") == {}
    assert statistics.against(scores, "missing") == {}


def test_any_number_of_seeds_from_two_on_is_the_same_test() -> None:
    for seeds in (2, 3, 5, 8):
        scores = {"a": method(0.02, seeds, n=4000, rng=1), "b": method(0.6, seeds, n=4000, rng=2)}
        ranking = statistics.rank(scores)
        assert ranking.tier == {"a": "A", "b": "B"} and ranking.test == statistics.rank(
            scores | {"c": scores["a"]}
        ).test.replace("3 pairs", "1 pair")


@given(st.lists(runs(1, 3), min_size=1, max_size=5))
def test_ranks_agree_with_tiers_and_hold_the_place_in_the_table(methods: list[list[Bits]]) -> None:
    scores = {f"m{i}": scored(seeds) for i, seeds in enumerate(methods)}
    ranking = statistics.rank(scores)
    assert set(ranking.letters) == set(ranking.rank) == set(ranking.tier) == set(scores)
    for place, (low, high) in enumerate(ranking.rank.values(), 1):
        assert 1 <= low <= place <= high <= len(scores)
    for a, b in combinations([m for m in ranking.rank if scores[m].n > 1], 2):
        shared = set(ranking.letters[a]) & set(ranking.letters[b])
        assert ranking.separable(a, b) == (not shared) == ((a, b) in ranking.differ)


@given(st.lists(runs(2, 3), min_size=2, max_size=5))
def test_verdicts_against_the_baseline_are_what_their_intervals_say(methods: list[list[Bits]]) -> None:
    scores = {f"m{i}": scored(seeds) for i, seeds in enumerate(methods)}
    compared, found = statistics.Comparisons(scores), statistics.against(scores, "m0")
    assert list(found) == list(scores)[1:]
    for name, d in found.items():
        assert d.low <= d.difference <= d.high
        assert (
            d.difference
            == statistics.summarize(scores[name].errors).mean - statistics.summarize(scores["m0"].errors).mean
        )
        expected = "better" if d.high < 0 else "worse" if d.low > 0 else "not separable"
        assert d.verdict == expected
        p = compared.difference(name, "m0").p
        if abs(p - 0.05 / len(found)) > 1e-9:
            assert (p < 0.05 / len(found)) == (d.verdict != "not separable")


def test_the_family_against_the_baseline_is_smaller_than_that_of_the_tiers() -> None:
    """A difference that 45 pairs cannot show and 9 comparisons can."""
    scores = {f"m{i}": constant(*map(Fraction, (99, 100, 101, 100))) for i in range(9)}
    scores["better"] = constant(*map(Fraction, (96, 97, 97, 98)))
    p = statistics.Comparisons(scores).difference("better", "m0").p
    assert 0.05 / 45 < p < 0.05 / 9
    assert (
        statistics.against(scores, "m0")["better"].verdict == "better"
        and statistics.against(scores, "better")["m0"].verdict == "worse"
    )
    assert statistics.rank(scores).differ == set()


# --------------------------------------------------------------------------------------------------- simulated boards


@pytest.mark.parametrize("case", ["20 × 5, all equal", "6 × 3, all equal", "14 × 3, all equal", "14 × 2, all equal"])
def test_equal_methods_rarely_get_different_tiers(case: str) -> None:
    """Boards from the residuals of digits, with test images drawn again, at 0.05 + binomial error (99.9 %)."""
    from scipy.stats import binom

    count = simulate_tiers.simulate(simulate_tiers.source(), case, 30, redrawn=True)
    allowed = binom.ppf(0.999, 30, statistics.LEVEL)
    assert count.false_tiers <= allowed and count.missed <= allowed


def test_real_differences_are_found_and_no_others() -> None:
    from scipy.stats import binom

    source = simulate_tiers.source()
    many = simulate_tiers.simulate(source, "23 × 5, 12 equal, 11 as on digits", 20, redrawn=True)
    allowed = binom.ppf(0.999, 20, statistics.LEVEL)
    assert many.false_tiers <= allowed and many.missed <= allowed
    assert many.pairs_found > 0.05 * many.pairs and many.others_found > many.others * many.pairs_found / many.pairs
    two = simulate_tiers.simulate(source, "2 × 20, 2 deviations apart", 30, redrawn=True)
    assert two.pairs_found >= 29
    among = simulate_tiers.simulate(source, "20 × 20, one 2 deviations better", 10, redrawn=True)
    assert among.pairs_found > 0.8 * among.pairs and among.others_found >= 9


# ----------------------------------------------------------------------------------------------------------- planning


def test_power_equals_a_simulation_of_the_test() -> None:
    draw, n = np.random.default_rng(0), 6
    a, b = draw.normal(0, 1, (4000, n)), draw.normal(2, 1, (4000, n))
    from scipy.stats import ttest_ind

    found = (ttest_ind(a, b, axis=1).pvalue <= 0.05 / 5).mean()
    assert statistics.power(2, 1, n, comparisons=5) == pytest.approx(found, abs=3.1 * math.sqrt(0.25 / 4000))


@pytest.mark.parametrize(("difference", "comparisons"), [(0.75, 1), (1.0, 19), (2.0, 190), (9.0, 1)])
def test_seeds_to_separate_are_the_fewest(difference: float, comparisons: int) -> None:
    n = statistics.seeds_to_separate(difference, 1, comparisons)
    assert n is not None and statistics.power(difference, 1, n, comparisons) >= 0.8
    assert n == 2 or statistics.power(difference, 1, n - 1, comparisons) < 0.8


def test_seeds_do_not_help_against_few_images() -> None:
    assert statistics.seeds_to_separate(1, 1, image_error=1) is None
    assert statistics.seeds_to_separate(0.01, 1) is None
    with pytest.raises(ValueError, match="difference > 0"):
        statistics.power(0, 1, 5)


def test_the_seeds_in_the_documentation_are_those_of_the_function() -> None:
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    for d in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        values = [statistics.seeds_to_separate(d, 1, comparisons) for comparisons in (1, 5, 19, 190)]
        assert f"| {d:g} s | {' | '.join(map(str, values))} |" in text


# --------------------------------------------------------------------------------------------------------- same bytes

SCRIPT = """
import random, sys
from tests.support import simulate_tiers
from catchup_bench.leaderboard import statistics
order = int(sys.argv[1])
scores = {}
for name, runs in simulate_tiers.read_scores().items():
    runs = list(runs)
    random.Random(order).shuffle(runs)
    images, total = next(iter(runs[0].images)), sum(next(iter(s.images.values())) for s in runs)
    scores[name] = statistics.Scores(tuple(s.errors[0] for s in runs), {images: total}, runs[0].unit)
names = list(scores)
random.Random(order).shuffle(names)
compared = statistics.Comparisons({name: scores[name] for name in names})
ranking = statistics.rank({name: scores[name] for name in names}, compared)
print(ranking.tier, ranking.rank, sorted(ranking.differ))
print([compared.difference(a, b).p.hex() for a in sorted(names) for b in sorted(names) if a < b])
print(sorted((name, str(d)) for name, d in statistics.against(scores, "baseline", compared).items()))
"""


def test_another_blas_other_threads_and_another_order_give_the_same_bytes() -> None:
    """Every p value to its last bit."""
    settings = [{}, {"OPENBLAS_CORETYPE": "Prescott"}, {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}]
    settings.append({"NPY_DISABLE_CPU_FEATURES": " ".join(cpu_features())})
    outputs = set()
    for order, extra in enumerate(settings):
        words = [sys.executable, "-c", SCRIPT, str(order)]
        env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": str(order)} | extra
        root = Path(__file__).parents[2]
        outputs.add(subprocess.run(words, env=env, cwd=root, capture_output=True, text=True, check=True).stdout)
    assert len(outputs) == 1 and "better" not in outputs.pop().splitlines()[0]


def cpu_features() -> list[str]:
    """Instruction sets that NumPy chooses at run time here."""
    try:
        from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    except ImportError:
        from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    return [name for name in __cpu_dispatch__ if __cpu_features__[name]]


def test_importing_it_loads_neither_torch_nor_scipy() -> None:
    code = "import sys, catchup_bench.leaderboard.statistics; print(sorted({'torch', 'scipy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
