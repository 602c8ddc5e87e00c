"""Find outcomes of attacks that do not show robustness: a pure function of outcomes, without torch.

An attack's error is a lower bound. It is suspicious when a suite said so, when a stronger attack finds less, or when
a larger ball holds fewer errors: gradient masking, or an attack that is set too weak.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from .record import Outcome

ORDER = ("clean", "fgsm", "pgd", "autoattack")
"""Suites by strength, in one ball."""

POINTS = 0.2
"""Points of error that sampling may take back; the bound of AutoAttack's own check of Square."""

LEGEND = "! a check of the attack failed: gradient masking or too weak an attack, so the error is a lower bound only"

Named = tuple[str, Outcome]


def suspicions(outcomes: Mapping[str, Outcome]) -> dict[str, list[str]]:
    """Return what is suspicious per condition; conditions without a suspicion are left out."""
    reasons_of = {name: list(o.values.get("suspicious", [])) for name, o in outcomes.items()}
    attacks = [(name, o) for name, o in outcomes.items() if o.suite in ORDER]
    for weak, strong in (pair for pair in permutations(attacks, 2) if _stronger(*(o for _, o in pair))):
        if (lost := points_lost(weak[1], strong[1])) > POINTS:
            reasons_of[strong[0]].append(f"{lost:.2f} points weaker than {weak[0]} on the same images")
    for small, large in _growing(attacks):
        if (lost := points_lost(small[1], large[1])) > POINTS:
            reasons_of[large[0]].append(f"{lost:.2f} points weaker than {small[0]}, in a larger ball")
        elif _loss(large[1]) < _loss(small[1]) * (1 - POINTS / 100):
            reasons_of[large[0]].append(f"lower loss than {small[0]}, in a larger ball")
    return {name: reasons for name, reasons in reasons_of.items() if reasons}


def points_lost(a: Outcome, b: Outcome) -> float:
    """Return by how many points the error of ``b`` lies below that of ``a``, over the images that both have."""
    if a.n == b.n and a.values.get("index") == b.values.get("index"):
        return 100 * (b.correct - a.correct) / a.n
    common, in_a, in_b = np.intersect1d(_index(a), _index(b), assume_unique=True, return_indices=True)
    if not len(common):
        return 0.0
    return float(100 * (b.array()[in_b].mean() - a.array()[in_a].mean()))


def _index(outcome: Outcome) -> npt.NDArray[np.int64]:
    """Return the positions of the test images that the bits are of: all in order, unless stated."""
    return np.asarray(outcome.values.get("index", range(outcome.n)), np.int64)


def _ball(outcome: Outcome) -> tuple[Any, Any]:
    return outcome.protocol.get("norm", "Linf"), outcome.protocol.get("eps")


def _stronger(weak: Outcome, strong: Outcome) -> bool:
    """Return whether the second attack must find at least the errors that the first does."""
    same = weak.suite == "clean" or _ball(weak) == _ball(strong)
    return same and ORDER.index(weak.suite) < ORDER.index(strong.suite)


def _growing(attacks: list[Named]) -> Iterator[tuple[Named, Named]]:
    """Yield pairs that differ in ε alone, neighbours in it."""
    groups: dict[str, list[Named]] = {}
    for name, outcome in attacks:
        rest = {k: v for k, v in outcome.protocol.items() if k != "eps"}
        if "eps" in outcome.protocol:
            groups.setdefault(f"{outcome.suite} {sorted(rest.items())}", []).append((name, outcome))
    for group in groups.values():
        yield from pairwise(sorted(group, key=lambda named: named[1].protocol["eps"]))


def _loss(outcome: Outcome) -> float:
    """Return the stored loss; not a number where there is none, which compares as false."""
    return float(outcome.values.get("loss", "nan"))
