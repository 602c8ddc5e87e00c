"""Families of comparisons: tiers and ranks from all pairs, and verdicts against a baseline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from typing import Literal

from .comparisons import Comparisons
from .intervals import LEVEL
from .scores import Scores, summarize

NO_TIER = "–"
"""Tier of a method with one seed."""

Verdict = Literal["better", "worse", "not separable"]


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
