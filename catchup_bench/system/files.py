"""Files that are whole or not there: written under another name, flushed, then renamed."""

import errno
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from ..errors import Busy, RunFailed, UsageError
from ..text import printable

PART = ".part"
"""How the names of unfinished files end."""


def make_part(path: Path) -> tuple[int, str]:
    """Make an unfinished file in the folder of ``path``, and return its handle and name. ``tempfile`` takes ``..`` for
    the folder before it in the name, which is another one after a link."""
    return tempfile.mkstemp(dir=path.parent.resolve(), prefix=f".{path.name}.", suffix=PART)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file in the folder of ``path``, then put it in place.

    Whatever stood at ``path`` stays whole until the new file is. Raises :class:`RunFailed` when the disk is full or
    the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = make_part(path)
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


def write_bytes(path: Path, content: bytes) -> None:
    write_atomic(path, lambda p: p.write_bytes(content))


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write all ``files`` or none: each is whole on the disk under another name before the first is put in place, and
    what stood there comes back when one cannot be. Raises :class:`RunFailed` as :func:`write_atomic` does."""
    made: list[Path] = []
    staged: dict[Path, Path] = {}
    before: dict[Path, bytes | None] = {}
    path = Path()
    try:
        for path, content in files.items():
            made += [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = make_part(path)
            staged[path] = Path(name)
            with open(handle, "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            os.chmod(name, 0o644)
        for path, part in staged.items():
            before[path] = path.read_bytes() if path.exists() else None
            os.replace(part, path)
    except BaseException as err:
        for put, content_before in before.items():
            if content_before is None:
                put.unlink(missing_ok=True)
            else:
                write_bytes(put, content_before)
        for part in staged.values():
            part.unlink(missing_ok=True)
        for folder in sorted(set(made), key=lambda folder: -len(folder.parts)):
            with suppress(OSError):
                folder.rmdir()
        if isinstance(err, OSError):
            raise RunFailed(f"cannot write {path}: {err.strerror or err}") from err
        raise


def append_line(path: Path, line: str) -> None:
    """Add a line, or leave the file as it was. Raises :class:`RunFailed` as :func:`write_atomic` does."""
    try:
        before = path.stat().st_size if path.exists() else 0
        try:
            with open(path, "ab") as f:
                f.write(line.encode() + b"\n")
        except OSError:
            os.truncate(path, before)
            raise
    except OSError as err:
        raise RunFailed(f"cannot write {path}: {err.strerror or err}") from err


def sweep(folder: Path, age: float = 0.0) -> None:
    """Delete what writers that were killed left unfinished in ``folder`` more than ``age`` seconds ago."""
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime >= age:
                path.unlink()


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def json_bytes(value: Any) -> bytes:
    """Return ``value`` as the JSON that files have, keys sorted."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, json_bytes(value))


LARGEST = 64 * 2**20
"""Bytes of the largest JSON or TOML file that is read: a record of 50,000 images and a hundred conditions has 1 MB."""

DEEPEST = 32
"""Levels of nesting that anything read may have; more breaks whatever recurses into it later."""


def read_limited(path: Path) -> str:
    """Return the text in ``path``. Raises ``OSError``, or ``ValueError`` when it is too large or not UTF-8."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))  # a pipe or a device would be read for ever
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MB")
    return path.read_text(encoding="utf-8")


def shallow(value: Any) -> Any:
    """Return ``value``, made of lists and dictionaries. Raises ``ValueError`` when it is nested more than
    :data:`DEEPEST` deep."""
    level = [value]
    for _ in range(DEEPEST):
        level = [i for v in level if isinstance(v, dict | list) for i in (v.values() if isinstance(v, dict) else v)]
        if not level:
            return value
    raise ValueError(f"nested more than {DEEPEST} deep")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        _no_number(printable(text))
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of ``pairs``. Raises ``ValueError`` for a key that stands twice, of which readers would take
    one or the other."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{printable(twice)} stands twice in an object")
    return values


def parse_json(text: str) -> Any:
    """Return the value of JSON that may be anyone's. Raises ``ValueError``, also for a key that stands twice in an
    object and for a number that is not finite, and ``RecursionError``."""
    return shallow(json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_unique))


def read_json(path: Path, what: str) -> Any:
    """Read the JSON in ``path``. Raises :class:`UsageError` naming ``what`` when it is missing or not JSON."""
    try:
        return parse_json(read_limited(path))
    except FileNotFoundError:
        raise UsageError(f"no {what} at {path}") from None
    except (ValueError, RecursionError) as err:
        raise UsageError(f"{path} is not a {what}: not valid JSON ({err})") from None
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``, so that a second process does not train in its folder; it ends with the process.
    Raises :class:`Busy` when another one holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"{path.parent} is being trained by another process: wait for it, or use another --runs") from None
    try:
        yield
    finally:
        lock.release()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the file at ``path``. Raises :class:`UsageError` when it cannot be read."""
    try:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}") from None
