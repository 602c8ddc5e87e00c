"""Files that are whole or not there: written beside their place, flushed, then renamed into it."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import RunFailed, UsageError


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file in the folder of ``path``, then put it in place.

    Whatever stood at ``path`` stays whole until the new file is. Raises :class:`RunFailed` when the disk is full or
    the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as err:
        raise RunFailed(f"cannot write {path}: {err.strerror or err}") from err
    try:
        write(Path(name))
        with open(name, "rb") as f:
            os.fsync(f.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as err:
        raise RunFailed(f"cannot write {path}: {err.strerror or err}") from err
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """The JSON in ``path``; :class:`UsageError` naming ``what`` when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no {what} at {path}") from None
    except (ValueError, RecursionError) as err:
        raise UsageError(f"{path} is not a {what}: not valid JSON ({err})") from None
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}") from None
