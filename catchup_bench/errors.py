"""The ways a command can end, each with its exit code."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .text import printable

if TYPE_CHECKING:
    from pydantic import ValidationError


class BenchError(Exception):
    """Ends a command with one line on stderr and ``exit_code``."""

    exit_code = 1


class RunFailed(BenchError):
    """A run that was rightly asked for did not finish."""


class OutOfTime(BenchError):
    """The time that was given is over; what is finished is kept."""


class UsageError(BenchError):
    """Bad input: the line names the thing, the allowed values and the fix."""

    exit_code = 2


class Changed(UsageError):
    """The file of an external method is no longer the one that a run was made with."""


class Busy(UsageError):
    """Another process is at work on the same run."""


class NothingSelected(BenchError):
    """The selection is valid and empty; a script must not take that for success."""

    exit_code = 3


class VerificationFailed(BenchError):
    """Something stated does not fit what is computed."""

    exit_code = 4


def pick(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is known. Raises :class:`UsageError` with a suggestion and the allowed values otherwise."""
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"unknown {kind} {name!r}: {hint}It is one of: {', '.join(names)}")


def one_line(err: "ValidationError") -> str:
    """Return the first complaint of pydantic, as ``key = value: what is wrong``."""
    complaints = err.errors(include_url=False)
    # a misspelt key is both unknown and missing: the first says how it was spelt
    first = next((e for e in complaints if e["type"] == "extra_forbidden"), complaints[0])
    where = ".".join(printable(part) for part in first["loc"])
    given = f" = {reprlib.repr(first['input'])}" if where and first["type"] != "missing" else ""
    return f"{where}{given}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")


def one_line_of(err: BaseException) -> str:
    """Return the kind of an error and its message, on one line."""
    return f"{type(err).__name__}: {' '.join(str(err).split())}".removesuffix(": ")
