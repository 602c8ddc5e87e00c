"""Several mistakes of one kind in one line."""

from collections.abc import Sequence


def counted(faults: Sequence[str], total: int, what: str) -> str:
    """Return the first of ``faults``, and how many of ``total`` there are where it is not alone."""
    return faults[0] if len(faults) == 1 else f"{faults[0]} ({len(faults):,} of {total:,} {what} are at fault)"
