"""Planning: how many seeds show a difference."""

import math

from .intervals import LEVEL, critical


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
