"""``--slice i/n``: which part of the work is this machine's."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True)
class Slice:
    """The ``number``-th of ``of`` parts, counted from 1. The parts of one whole share nothing and leave nothing out."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Slice":
        """``"2/4"``; :class:`UsageError` unless 1 ≤ i ≤ n."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text, re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--slice {text} is not a part: write i/n with 1 ≤ i ≤ n, such as 2/4")
        return cls(int(found[1]), int(found[2]))

    def take(self, owner: str, items: Sequence[str]) -> list[str]:
        """Every ``of``-th of the items. Where it begins follows from ``owner``, so that many owners of a single item
        are shared out too, and a part stays the same whoever else is there and whatever is done already."""
        start = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], "little")
        return [item for k, item in enumerate(items, start) if k % self.of == self.number - 1]


WHOLE = Slice()
