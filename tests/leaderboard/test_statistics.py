"""Statistics against SciPy, brute force and known answers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench.leaderboard import statistics


@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilson_equals_scipy(n: int, share: float) -> None:
    from scipy.stats import binomtest

    wrong = int(share * n)
    theirs = binomtest(wrong, n).proportion_ci(method="wilson")
    assert statistics.wilson(wrong, n) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=1e-4)


def seeds_by_images(error: float, seeds: int = 5, n: int = 400, rng: int = 0) -> list[statistics.Scores]:
    draw = np.random.default_rng(rng)
    return [(draw.random((seeds, n)) < error).astype(float)]


def test_bootstrap_is_centred_on_the_error_with_the_right_spread() -> None:
    scores = {"a": seeds_by_images(0.3, seeds=1, n=500)}
    draws = statistics.bootstrap(scores, 4000)["a"]
    error = scores["a"][0].mean()
    assert draws.mean() == pytest.approx(100 * error, abs=0.15)
    assert draws.std() == pytest.approx(100 * math.sqrt(error * (1 - error) / 500), rel=0.05)


def test_bootstrap_counts_seeds_too() -> None:
    one = np.repeat([[1.0], [0.0], [1.0], [0.0], [1.0]], 300, axis=1)  # all of the spread is between seeds
    draws = statistics.bootstrap({"a": [one]}, 4000)["a"]
    assert draws.std() == pytest.approx(100 * math.sqrt(0.24 / 5), rel=0.05)


def test_bootstrap_pairs_by_image_and_seed() -> None:
    a = seeds_by_images(0.3)
    b = [np.clip(a[0] + np.eye(5, 400), 0, 1)]  # always at least as wrong as a
    draws = statistics.bootstrap({"a": a, "b": b}, 1000)
    assert (draws["b"] >= draws["a"]).all()


def test_blocks_add_up() -> None:
    a = seeds_by_images(0.3)[0]
    split = statistics.bootstrap({"a": [0.5 * a, 0.5 * a]}, 2000)["a"]
    assert split.mean() == pytest.approx(100 * a.mean(), abs=0.3)


def test_welch_equals_scipy_and_survives_no_variance() -> None:
    from scipy.stats import ttest_ind

    a, b = np.array([1.0, 2.0, 4.0]), np.array([2.0, 5.0, 7.0])
    assert statistics.welch(a, b) == ttest_ind(a, b, equal_var=False).pvalue
    assert statistics.welch(np.ones(3), np.ones(3)) == 1.0 and statistics.welch(np.ones(3), np.zeros(3)) == 0.0


def test_holm_rejects_step_by_step() -> None:
    p = {("a", "b"): 0.01, ("a", "c"): 0.03, ("b", "c"): 0.04}
    assert statistics.holm(p) == {("a", "b")}
    assert statistics.holm({("a", "b"): 0.01, ("a", "c"): 0.02, ("b", "c"): 0.04}) == set(p)


@given(st.sets(st.sampled_from(list(itertools.combinations("abcdef", 2)))))
def test_letters_are_shared_if_and_only_if_methods_do_not_differ(differ: set[tuple[str, str]]) -> None:
    letters = statistics.letters("abcdef", differ)
    for pair in itertools.combinations("abcdef", 2):
        assert bool(set(letters[pair[0]]) & set(letters[pair[1]])) == (pair not in differ)


def test_letters_start_with_the_best() -> None:
    assert statistics.letters(["x", "y", "z"], {("x", "z"), ("y", "z")}) == {"x": "A", "y": "A", "z": "B"}
    assert statistics.letters(["x", "y", "z"], {("x", "z")}) == {"x": "A", "y": "AB", "z": "B"}


def test_a_clear_difference_is_a_tier_and_none_is_not() -> None:
    scores = {"good": seeds_by_images(0.1), "bad": seeds_by_images(0.3, rng=1), "twin": seeds_by_images(0.3, rng=2)}
    ranking = statistics.rank(scores, 2000)
    assert ranking.tier["good"] == "A" and ranking.rank["good"] == (1, 1)
    assert ranking.tier["bad"] == ranking.tier["twin"] == "B"
    assert "bootstrap" in ranking.test


def test_two_to_four_seeds_are_provisional_and_one_has_no_tiers() -> None:
    three = statistics.rank({m: seeds_by_images(0.1 + 0.3 * i, seeds=3, rng=i) for i, m in enumerate("ab")}, 500)
    assert "provisional" in three.test and three.tier == {"a": "A", "b": "B"}
    one = statistics.rank({m: seeds_by_images(0.1 + 0.3 * i, seeds=1, rng=i) for i, m in enumerate("ab")}, 500)
    assert one.tier == {"a": "–", "b": "–"} and one.test == "one seed: no tiers"


def test_one_method_of_one_seed_does_not_take_the_others_tiers() -> None:
    scores = {m: seeds_by_images(e, seeds=s, rng=s) for m, e, s in (("a", 0.1, 5), ("b", 0.3, 6), ("c", 0.2, 1))}
    ranking = statistics.rank(scores, 1000)
    assert ranking.tier == {"a": "A", "b": "B", "c": "–"} and "provisional" not in ranking.test


def test_false_tiers_are_as_rare_as_promised() -> None:
    """Two methods that are the same: the five-seed test separates them in about 5 % of worlds, not many more."""
    separated = 0
    for world in range(120):
        scores = {m: seeds_by_images(0.2, n=300, rng=1000 * i + world) for i, m in enumerate("ab", 1)}
        separated += statistics.rank(scores, 400).tier["a"] != statistics.rank(scores, 400).tier["b"]
    assert separated <= 14  # binomial(120, 0.05): 99.9 %
