"""Output that any terminal takes: also one that knows ASCII alone, and a pipe that nobody reads any more."""

import codecs
import os
import sys
from contextlib import suppress
from typing import TextIO

PLAIN = {
    "±": "+-", "−": "-", "–": "-", "×": "x", "·": ".", "…": "...", "●": "*", "○": "o", "✓": "yes", "✗": "no",
    "↓": "(less is better)", "↑": "(more is better)", "α": "alpha", "β": "beta", "ε": "eps", "λ": "lam", "∞": "inf",
    "≥": ">=", "≤": "<=", "°": " degrees", "∈": "in", "→": "->", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
"""What is printed instead of letters that the terminal's encoding does not have."""

HANDLER = "catchup_bench.plain"


def replaced(err: UnicodeError) -> tuple[str | bytes, int]:
    """Return what to print instead of letters that cannot be encoded; the handler of errors of our streams."""
    if not isinstance(err, UnicodeEncodeError):
        raise err
    letters = err.object[err.start : err.end]
    return "".join(PLAIN.get(c, c.encode("ascii", "backslashreplace").decode()) for c in letters), err.end


codecs.register_error(HANDLER, replaced)


def show_anywhere(stream: TextIO) -> None:
    """Let ``stream`` print letters that its encoding lacks in another way, instead of failing."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=HANDLER)


def forget_stdout() -> None:
    """Let nothing more be written to a stdout whose reader has gone, where Python would try once more at its end."""
    with suppress(OSError, ValueError):  # of a stream with no file beneath it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
