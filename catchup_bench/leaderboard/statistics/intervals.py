"""Student's t, and the intervals that follow from it and from Wilson."""

import math
from fractions import Fraction

from .scores import Summary

LEVEL = 0.05
"""Probability, at most, of any false statement in a family of comparisons."""


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
