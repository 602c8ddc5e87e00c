"""mCE: errors relative to those of a reference, type by type, as ImageNet-C's authors define it (Hendrycks and
Dietterich, ICLR 2019, arXiv 1903.12261).

    mCE = 100 · mean over types c of (Σ_s E[c, s]) / (Σ_s E_reference[c, s])

With the reference as it is, that is a weighted mean of errors, so it is computed and tested as every other column: on
integers, exactly. Of a reference that is a row, the noise of its own seeds and images is in no interval.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction

from ..boards import Board, Column
from ..errors import VerificationFailed
from ..reference_errors import PUBLISHED
from .values import Key


def column_weights(
    board: Board, column: Column, counts: Callable[[str, Mapping[Key, Fraction]], list[Mapping[Key, Fraction]]]
) -> dict[Key, Fraction]:
    """Return what the column is the weighted sum of; empty when its reference has not been run.

    ``counts(row, keys)`` are the errors of a row, from 0 to 1, of each seed that has all of ``keys``. Raises
    :class:`VerificationFailed` for a reference that makes no error in a type, to which nothing is relative.
    """
    weights = board.weights(column)
    if not column.relative_to:
        return weights
    (setup,) = {setup for setup, _ in weights}
    keys = {name: [(setup, condition) for condition in own] for name, own in column.types.items()}
    if column.relative_to in PUBLISHED:
        published = PUBLISHED[column.relative_to][2]
        errors = {name: Fraction(str(published[name])) / 100 for name in keys}
    else:
        seeds = counts(column.relative_to, weights)
        if not seeds:
            return {}
        errors = {
            name: sum((seed[key] for seed in seeds for key in own), Fraction(0)) / (len(seeds) * len(own))
            for name, own in keys.items()
        }
    if none := [name for name, error in errors.items() if error == 0]:
        raise VerificationFailed(
            f"column {column.name}: {column.relative_to} makes no error in {none[0]}, so none is relative to it"
        )
    return {key: weights[key] / errors[name] for name, own in keys.items() for key in own}


def reference_name(column: Column) -> str:
    """Return what the errors of a column are relative to, in words; empty where they are plain."""
    if column.relative_to in PUBLISHED:
        return PUBLISHED[column.relative_to][0]
    return f"the errors of {column.relative_to} on this board" if column.relative_to else ""
