"""Intervals, paired tests and tiers: which differences between methods are real.

Two sources of noise count together: seeds (another training) and test images (another test set). Scores are S×N
arrays, S seeds by N test images, of the share of error of that image in the column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]

DRAWS = 10_000

LEVEL = 0.05


def wilson(wrong: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % Wilson interval of an error of ``wrong`` in ``n``, in percent."""
    p, zz = wrong / n, z * z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = z * np.sqrt(p * (1 - p) / n + zz / (4 * n * n)) / (1 + zz / n)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def bootstrap(scores: Mapping[str, Sequence[Scores]], draws: int = DRAWS, seed: int = 0) -> dict[str, Scores]:
    """Resampled mean error (percent) per method, ``draws`` of them: seeds and test images drawn with replacement.

    ``scores`` holds, per method, one S×N array per set of test images; a column's value is the sum of their means.
    All methods share the draws, so that differences are paired by image, and by seed where the numbers of seeds agree.
    """
    rng = np.random.default_rng(seed)
    counts = sorted({blocks[0].shape[0] for blocks in scores.values()})
    seeds = {s: rng.multinomial(s, [1 / s] * s, size=draws) / s for s in counts}
    means = {name: np.zeros(draws) for name in scores}
    for b, block in enumerate(next(iter(scores.values()))):
        n = block.shape[1]
        for chunk in np.array_split(np.arange(draws), max(1, draws * n // 4_000_000)):
            images = rng.multinomial(n, [1 / n] * n, size=len(chunk)) / n
            for name, blocks in scores.items():
                by_seed = images @ blocks[b].T  # draws × seeds
                means[name][chunk] += 100 * (by_seed * seeds[blocks[b].shape[0]][chunk]).sum(1)
    return means


def welch(a: Scores, b: Scores) -> float:
    """Two-sided p of Welch's t between two sets of seed means; 1 where neither varies and both are equal."""
    from scipy import stats

    if a.std() == 0 and b.std() == 0:
        return float(a[0] == b[0])
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def holm(p: Mapping[tuple[str, str], float], level: float = LEVEL) -> set[tuple[str, str]]:
    """The pairs that differ, at family-wise ``level`` (Holm 1979)."""
    differ: set[tuple[str, str]] = set()
    for i, (pair, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        if value > level / (len(p) - i):
            break
        differ.add(pair)
    return differ


def letters(order: Sequence[str], differ: set[tuple[str, str]]) -> dict[str, str]:
    """Compact letter display (Piepho 2004): two methods share a letter if and only if they do not differ."""
    groups: list[set[str]] = [set(order)]
    for a, b in differ:
        for group in [g for g in groups if a in g and b in g]:
            groups.remove(group)
            groups += [group - {a}, group - {b}]
            groups = [g for g in groups if not any(g < other for other in groups)]
    unique = {frozenset(g) for g in groups}
    ranked = sorted(unique, key=lambda g: sorted(order.index(name) for name in g))
    names = [chr(ord("A") + i) if i < 26 else f"Z{i - 25}" for i in range(len(ranked))]
    return {name: "".join(letter for letter, g in zip(names, ranked, strict=True) if name in g) for name in order}


@dataclass(frozen=True)
class Ranking:
    """``tier`` letters and a 95 % interval of the rank per method, best first, and the pairs that ``differ``; ``test``
    says how they were found."""

    tier: dict[str, str]
    rank: dict[str, tuple[int, int]]
    differ: set[tuple[str, str]]
    test: str

    def separable(self, a: str, b: str) -> bool:
        """Whether ``a`` and ``b`` can be told apart; a method of one seed never can."""
        return not {(a, b), (b, a)}.isdisjoint(self.differ)


def rank(scores: Mapping[str, Sequence[Scores]], draws: int = DRAWS) -> Ranking:
    """Order methods by mean error and say which are separable.

    Pairs of methods with five seeds or more: hierarchical paired bootstrap over seeds and images, two-sided p. Where
    one has two to four, resampling seeds is too coarse: Welch's t on the seeds' means, and tiers are provisional. Holm
    over all pairs. One seed is no evidence about another training: such a method has no tier.
    """
    means = {name: 100 * sum(b.mean(1) for b in blocks) for name, blocks in scores.items()}
    order = sorted(scores, key=lambda name: (float(np.mean(means[name])), name))
    resampled = bootstrap(scores, draws)
    p: dict[tuple[str, str], float] = {}
    tested = [name for name in order if len(means[name]) >= 2]
    for a, b in combinations(tested, 2):
        if min(len(means[a]), len(means[b])) >= 5:
            difference = resampled[a] - resampled[b]
            tails = min(int((difference <= 0).sum()), int((difference >= 0).sum()))
            p[a, b] = min(1.0, 2 * (tails + 1) / (draws + 1))
        else:
            p[a, b] = welch(means[a], means[b])
    differ = holm(p)
    tier = dict.fromkeys(order, "–") | letters(tested, differ)
    fewest = min((len(means[name]) for name in tested), default=1)
    return Ranking(tier, rank_intervals(resampled, order), differ, _test_name(fewest))


def interval(mean: float, std: float, n: int) -> tuple[float, float] | None:
    """95 % t interval of the mean over seeds; ``None`` for fewer than two."""
    from scipy import stats

    if n < 2:
        return None
    half = float(stats.t.ppf(0.975, n - 1)) * std / n**0.5
    return mean - half, mean + half


def rank_intervals(resampled: Mapping[str, Scores], order: Sequence[str]) -> dict[str, tuple[int, int]]:
    table = np.stack([resampled[name] for name in order])
    ranks = 1 + (table[:, None] > table[None]).sum(1)
    low, high = np.percentile(ranks, [2.5, 97.5], axis=1, method="nearest")
    return {name: (int(lo), int(hi)) for name, lo, hi in zip(order, low, high, strict=True)}


def _test_name(fewest: int) -> str:
    paired = f"hierarchical paired bootstrap over seeds and test images, {DRAWS:,} draws"
    if fewest >= 5:
        return f"{paired}, Holm at {LEVEL}"
    if fewest >= 2:
        return (
            f"{paired}; Welch's t over seeds where a method has fewer than 5, which makes tiers provisional; "
            f"Holm at {LEVEL}"
        )
    return "one seed: no tiers"
