"""What outcomes hold beside bits: arrays as text, and whether a stated number is the one that follows from them."""

import base64
import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def pack(values: npt.NDArray[Any]) -> str:
    """Return little-endian float32, base64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def unpack(text: str) -> Array:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)


def same(computed: float | None, stated: Any) -> bool:
    """Return whether both are the same number, up to the last digits, or both ``None``."""
    if computed is None or stated is None:
        return computed is stated
    return isinstance(stated, int | float) and math.isclose(computed, stated, rel_tol=1e-9, abs_tol=1e-9)


def pack_counts(counts: npt.NDArray[Any]) -> str:
    """Return little-endian uint32, deflated, base64: most of a histogram is zeros."""
    return base64.b64encode(zlib.compress(counts.astype("<u4").tobytes(), 9)).decode()


def unpack_counts(text: str, size: int) -> npt.NDArray[np.int64]:
    """Return ``size`` counts. Raises :class:`ValueError` when there are more or fewer; no more memory is taken."""
    raw = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), 4 * size + 1)
    if len(raw) != 4 * size:
        raise ValueError(f"these are not {size} counts")
    return np.frombuffer(raw, "<u4").astype(np.int64)
