"""Compare what outcomes hold beside their bits, of the record and of an evaluation again."""

import base64
import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

CLOSE = 0.01
"""Relative difference that floating-point arithmetic may make in a stated number."""

FEW = 0.05
"""Share of the numbers inside lists and packed arrays that may differ by more, such as bins of few images."""

LARGEST = 64 * 2**20
"""Bytes that a packed array may expand to."""


def differing_values(stated: dict[str, Any], again: dict[str, Any], n: int) -> list[str]:
    """Return which entries of ``values`` are not what came out again, for an outcome of ``n`` images.

    A number must be close; in percent or a count it may be off by an image. Of those inside lists and arrays 5 % may
    differ. Reasons for suspicion count by their number, because numbers are part of their words.
    """
    wrong = sorted(stated.keys() ^ again.keys())
    return wrong + [key for key in sorted(stated.keys() & again.keys()) if not _alike(key, stated[key], again[key], n)]


def _alike(key: str, stated: Any, again: Any, n: int) -> bool:
    if key == "suspicious":
        return isinstance(stated, list) and len(stated) == len(again)
    if _is_number(stated) and _is_number(again):
        return _close(stated, again, n, key)
    ours, theirs = list(_leaves(again)), list(_leaves(stated))
    if [where for where, _ in ours] != [where for where, _ in theirs]:
        return False
    other = 0
    for (where, a), (_, b) in zip(ours, theirs, strict=True):
        if _is_number(a) and _is_number(b):
            other += not _close(b, a, n, where)
        elif a != b:
            return False
    return other <= FEW * len(ours)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _close(a: float, b: float, n: int, key: str) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return abs(a - b) <= max(1, n // 1000)
    return math.isclose(a, b, rel_tol=CLOSE, abs_tol=100 / n if key.endswith("error") else 1e-4)


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is inside lists, dictionaries and packed arrays, with where it is."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _leaves(value[key], f"{where}.{key}")
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from _leaves(one, f"{where}.{i}")
    elif isinstance(value, str) and (numbers := _unpacked(value)) is not None:
        yield from ((f"{where}.{i}", number) for i, number in enumerate(numbers))
    else:
        yield where, value


def _unpacked(text: str) -> list[float] | None:
    """Return the numbers of an array that :mod:`catchup_bench.suites._values` packed; ``None`` for other text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    try:
        counts = zlib.decompressobj().decompress(raw, LARGEST)
        return [int(c) for c in np.frombuffer(counts, "<u4")] if len(counts) % 4 == 0 else None
    except zlib.error:
        return [float(v) for v in np.frombuffer(raw, "<f4")] if len(raw) >= 4 and len(raw) % 4 == 0 else None
