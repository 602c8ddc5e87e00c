"""Arrays on the disk, mapped and checked: nothing in them is unpickled."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import UsageError


def opened(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.uint8] | None) -> npt.NDArray[Any]:
    """An array of the published layout, mapped. Raises :class:`UsageError` when it is missing or another one."""
    try:
        with np.errstate(over="raise"):
            array = np.lib.format.open_memmap(path, mode="r")  # np.load would also open archives and pickles
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: fetch the corrupted test set whole") from None
    except Exception as err:  # of headers that were made to break it, too
        reason = (str(err) or type(err).__name__).splitlines()[0]
        raise UsageError(f"{path} is not a whole .npy array: {reason}") from None
    if array.shape != shape:
        raise UsageError(f"{path} has the shape {array.shape}; it must have {shape}")
    if dtype is not None and array.dtype != dtype:
        raise UsageError(f"{path} holds {array.dtype}; it must hold {dtype}")
    return np.asarray(array) if dtype is None else array
