"""Compare methods by the bits of their records: one test, tiers, verdicts against a baseline, and intervals.

Everything up to a variance is exact: integers, and fractions of them. Floats come last, one at a time and in a fixed
order, so that neither the order of summation nor BLAS nor the processor can change a decision. All values are in
percent. ``docs/statistics.md`` explains what the tests mean; formulas are in the functions.
"""

from .comparisons import Comparisons, Difference, welch
from .intervals import LEVEL, critical, interval, prediction, two_sided, wilson
from .planning import power, seeds_to_separate
from .scores import Images, Scores, Summary, WeightedError, decimal, decimal_root, summarize
from .tiers import NO_TIER, AgainstBaseline, Ranking, Verdict, against, holm, letters, rank

__all__ = [
    "LEVEL", "NO_TIER", "AgainstBaseline", "Comparisons", "Difference", "Images", "Ranking", "Scores", "Summary",
    "Verdict", "WeightedError", "against", "critical", "decimal", "decimal_root", "holm", "interval", "letters",
    "power", "prediction", "rank", "seeds_to_separate", "summarize", "two_sided", "welch", "wilson",
]  # fmt: skip
