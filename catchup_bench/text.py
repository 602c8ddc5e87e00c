"""Text that comes from files of others, made fit to be shown: one printable line of limited length, escaped."""

import re

LONGEST = 100
"""Letters that are shown of a text."""

PLAIN = re.compile(r"[^A-Za-z0-9 .,;:()+/=%×·αβγελμ≤≥±−–-]|(?<=www)\.|:(?=/)")
"""What is escaped in markdown: all that means something there or in HTML, and what makes a link of an address."""


def printable(value: object) -> str:
    """Return ``value`` as one printable line of at most :data:`LONGEST` letters, for terminals, messages and templates
    that escape by themselves.

    Spaces of all kinds become one; control characters, marks that change the direction of writing and lone surrogates
    become their ``\\\\x`` codes.
    """
    text = str(value)[: 100 * LONGEST]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def markdown(value: object) -> str:
    """Return :func:`printable` text that stands for itself in markdown, a line of a table or a page."""
    return PLAIN.sub(lambda found: f"&#{ord(found[0])};", printable(value))
