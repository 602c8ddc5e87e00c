"""Simulate leaderboards of known truth from the residuals of the digits records: how often statements are false, and
how often true ones are made. ``python -m tests.support.simulate_tiers`` prints the figures of ``docs/statistics.md``.

A simulated method has the profile over images of a real one (how often each image is misclassified), moved to the error
that it is to have. A simulated run is that plus the residual (run − mean of its method, image by image) of a run drawn
from all, times √(5/4), because a residual from a mean of 5 is that much too small. ``redrawn``: each board has test
images of its own, drawn from the real ones with replacement; methods that are equal are so on all images, not on those.
"""

import argparse
import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catchup_bench.leaderboard import statistics
from catchup_bench.leaderboard.statistics import comparisons
from tests.support.stored_records import written_out

RECORDS = Path(__file__).parents[2] / "leaderboards" / "results" / "digits" / "preactresnet10-w16"
SEEDS = 5
"""Runs per method that are read: the figures stay the same when there are more."""


def column(outcomes: Mapping[str, Any]) -> statistics.WeightedError:
    """Return the ranking column of the digits board: FGSM 16/255, 18 corruptions and 8 deformations, a third each."""
    groups = [["fgsm-16"]]
    for suite in ("corruption", "deformation"):
        groups.append([c for c, o in outcomes.items() if o["suite"] == suite and not c.startswith("frost")])
    images = statistics.Images("digits", outcomes["fgsm-16"]["n"])
    return statistics.WeightedError({c: (Fraction(1, 3 * len(group)), images) for group in groups for c in group})


def read_scores() -> dict[str, list[statistics.Scores]]:
    """Return the scores of every method's first runs, each by itself."""
    found: dict[str, list[statistics.Scores]] = {}
    for folder in sorted(path for path in RECORDS.iterdir() if path.is_dir()):
        for seed in range(SEEDS):
            outcomes = written_out(folder / f"seed{seed}.json")["outcomes"]
            bits = {c: base64.b64decode(o["bits"]) for c, o in outcomes.items()}
            found.setdefault(folder.name, []).append(column(outcomes).scores([bits]))
    return found


@dataclass(frozen=True)
class Source:
    """``profiles``: methods×images, of equal mean; ``residuals``: runs×images; both integers in 1/``unit``. ``std`` is
    the deviation of a run's error, ``errors`` are the real methods' mean errors; both in percent."""

    profiles: npt.NDArray[np.int64]
    residuals: npt.NDArray[np.int64]
    unit: int
    std: float
    errors: list[float]


@cache
def source() -> Source:
    """Return what boards are drawn from, read from the records."""
    runs = list(read_scores().values())
    scores = np.array([[next(iter(s.images.values())) for s in own] for own in runs], np.int64)
    total = scores.sum(1)
    residuals = (SEEDS * scores - total[:, None]).reshape(-1, scores.shape[2])
    unit = runs[0][0].unit * SEEDS * 17
    profiles = 17 * total
    centred = profiles - np.rint(profiles.mean(1, keepdims=True)).astype(np.int64) + round(profiles.mean())
    residuals = 19 * residuals  # 19/17 is √(5/4) to 0.04 %
    std = 100 * math.sqrt(float((residuals.mean(1) ** 2).mean())) / unit
    return Source(centred, residuals, unit, std, [100 * float(p.mean()) / unit for p in profiles])


def board(
    source: Source, rng: np.random.Generator, truth: Sequence[float], seeds: Sequence[int], redrawn: bool
) -> dict[str, statistics.Scores]:
    """Return the scores of a board whose methods have ``truth`` as their true errors, in percent from a common one, and
    ``seeds`` seeds."""
    n = source.profiles.shape[1]
    drawn = rng.integers(0, n, n) if redrawn else np.arange(n)
    images = statistics.Images("simulated", n)
    found = {}
    for m, (offset, s) in enumerate(zip(truth, seeds, strict=True)):
        profile = source.profiles[rng.integers(0, len(source.profiles))] + round(offset / 100 * source.unit)
        runs = (profile + source.residuals[rng.choice(len(source.residuals), s, replace=False)])[:, drawn]
        errors = tuple(Fraction(100 * total, source.unit * n) for total in runs.sum(1).tolist())
        found[f"m{m:02}"] = statistics.Scores(errors, {images: runs.sum(0)}, source.unit)
    return found


@dataclass
class Count:
    """Of ``boards``: in how many equal methods were put into different tiers, or different ones in the wrong order
    (``false_tiers``), and in how many an interval against the baseline missed the truth (``missed``); of the pairs that
    differ, and of the methods that differ from the baseline, how many there are and were told apart."""

    boards: int = 0
    false_tiers: int = 0
    missed: int = 0
    pairs: int = 0
    pairs_found: int = 0
    others: int = 0
    others_found: int = 0
    others_by_holm: int = 0

    def add(self, scores: Mapping[str, statistics.Scores], truth: Sequence[float]) -> None:
        """Count one board; its first method is the baseline."""
        error = dict(zip(scores, truth, strict=True))
        compared = statistics.Comparisons(scores)
        ranking = statistics.rank(scores, compared)
        against = statistics.against(scores, "m00", compared)
        self.boards += 1
        self.false_tiers += any(error[a] >= error[b] for a, b in ranking.differ)
        self.missed += any(not d.low <= Fraction(error[m] - error["m00"]) <= d.high for m, d in against.items())
        different = [(a, b) for a, b in combinations(scores, 2) if error[a] != error[b]]
        self.pairs += len(different)
        self.pairs_found += sum(ranking.separable(a, b) for a, b in different)
        others = [m for m in against if error[m] != error["m00"]]
        self.others += len(others)
        self.others_found += sum(against[m].verdict != "not separable" for m in others)
        by_holm = statistics.holm({(m, "m00"): compared.difference(m, "m00").p for m in against})
        self.others_by_holm += sum((m, "m00") in by_holm for m in others)


def cases(source: Source) -> dict[str, tuple[list[float], list[int]]]:
    """Return name → (true error, number of seeds) of each method."""
    mean = sum(source.errors) / len(source.errors)
    real = [error - mean for error in source.errors]
    return {
        "20 × 5, all equal": ([0.0] * 20, [5] * 20),
        "6 × 3, all equal": ([0.0] * 6, [3] * 6),
        "14 × 3, all equal": ([0.0] * 14, [3] * 14),
        "14 × 2, all equal": ([0.0] * 14, [2] * 14),
        "5 × 2 and 5 × 20, all equal": ([0.0] * 10, [20] * 5 + [2] * 5),
        "23 × 5, 12 equal, 11 as on digits": ([0.0] * 12 + real[:11], [5] * 23),
        "2 × 20, 2 deviations apart": ([0.0, -2 * source.std], [20] * 2),
        "20 × 20, one 2 deviations better": ([0.0] * 19 + [-2 * source.std], [20] * 20),
        "20 × 20, as on digits": (real, [20] * 20),
    }


def simulate(source: Source, name: str, boards: int, redrawn: bool, seed: int = 0) -> Count:
    """Return what ``boards`` of the case ``name`` say."""
    truth, seeds = cases(source)[name]
    rng, count = np.random.default_rng(seed), Count()
    for _ in range(boards):
        count.add(board(source, rng, truth, seeds, redrawn), truth)
    return count


def paper_inside(source: Source, n: int, draws: int, seed: int = 0) -> tuple[float, float]:
    """Return how often one more run of the same method lies in the confidence and in the prediction interval of n."""
    rng, inside = np.random.default_rng(seed), [0, 0]
    errors = [
        Fraction(100 * total, source.unit * source.residuals.shape[1]) for total in source.residuals.sum(1).tolist()
    ]
    for _ in range(draws):
        *runs, other = (errors[i] for i in rng.choice(len(errors), n + 1, replace=False))
        summary = statistics.summarize(runs)
        for i, ends in enumerate((statistics.interval(summary), statistics.prediction(summary))):
            assert ends is not None
            inside[i] += ends[0] <= other <= ends[1]
    return inside[0] / draws, inside[1] / draws


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, default=300, help="Boards per case (default: 300).")
    parser.add_argument("--no-limit", action="store_true", help="Degrees of freedom by Satterthwaite alone.")
    given = parser.parse_args()
    boards, no_limit = given.boards, given.no_limit
    if no_limit:
        welch = comparisons.welch
        comparisons.welch = lambda value, parts, _: welch(value, parts, 10**9)
    drawn_from = source()
    print(f"{len(drawn_from.residuals)} residuals, deviation of a run {drawn_from.std:.2f} %; {boards} boards a case")
    print("case | images | false tier | interval misses | pairs found | against the baseline | (by Holm)")
    for name in cases(drawn_from):
        for redrawn in (False, True):
            c = simulate(drawn_from, name, boards, redrawn)
            shares = [c.false_tiers / c.boards, c.missed / c.boards]
            shares += [found / most if most else math.nan for found, most in _found(c)]
            print(
                " | ".join([name, "redrawn" if redrawn else "fixed", *(f"{share:.3f}" for share in shares)]), flush=True
            )
    for n in (3, 5, 10, 20):
        inside = paper_inside(drawn_from, n, 10 * boards)
        print(
            f"one more run, beside {n}: in the confidence interval {inside[0]:.3f}, prediction interval {inside[1]:.3f}"
        )


def _found(c: Count) -> list[tuple[int, int]]:
    return [(c.pairs_found, c.pairs), (c.others_found, c.others), (c.others_by_holm, c.others)]


if __name__ == "__main__":
    main()
