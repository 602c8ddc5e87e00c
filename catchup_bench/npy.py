"""Arrays on the disk, mapped and checked: nothing in them is unpickled."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import UsageError


def opened(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.uint8] | None) -> npt.NDArray[Any]:
    """An array of the published layout, mapped. Raises :class:`UsageError` when it is missing or another one."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: fetch the corrupted test set whole") from None
    except (ValueError, OSError, EOFError) as err:
        raise UsageError(f"{path} is not a whole .npy array: {err}") from None
    if array.shape != shape:
        raise UsageError(f"{path} has the shape {array.shape}; it must have {shape}")
    if dtype is not None and array.dtype != dtype:
        raise UsageError(f"{path} holds {array.dtype}; it must hold {dtype}")
    return np.asarray(array) if dtype is None else array
