"""Choose the jobs of a board to do: by method, seed and setup, and a share for each of many machines."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..boards import Board
from ..boards.grid import Job
from ..errors import UsageError, pick
from ..system.slices import WHOLE, Slice

KEYS = ("method", "seed", "setup")

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Selection:
    """Chosen labels, seeds and setups; an empty set means all. A ``share`` is taken of the chosen jobs of the whole
    grid, so that it does not depend on what is done already."""

    method: frozenset[str] = frozenset()
    seed: frozenset[str] = frozenset()
    setup: frozenset[str] = frozenset()
    share: Slice = WHOLE

    def of(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the jobs that are chosen, in order."""
        chosen = [
            job
            for job in jobs
            if (not self.method or job.label in self.method)
            and (not self.seed or str(job.run.seed) in self.seed)
            and (not self.setup or job.setup in self.setup)
        ]
        return chosen[self.share.number - 1 :: self.share.of]


ALL = Selection()


def parse(board: Board, words: Sequence[str], share: str = "1/1") -> Selection:
    """Parse words such as ``method=catchup,baseline`` and ``seed=0``, and a share ``i/n``.

    Raises :class:`UsageError` for another key, or a value that the board does not have.
    """
    known = {
        "method": [e.row for e in board.rows],
        "seed": [str(s) for s in board.seeds],
        "setup": [s.name for s in board.setups],
    }
    wanted: dict[str, set[str]] = {key: set() for key in KEYS}
    for word in (part for text in words for part in text.split()):
        key, equals, values = word.partition("=")
        if not equals or key not in KEYS:
            raise UsageError(f"{word!r}: a choice is method=NAME,…, seed=N,… or setup=NAME,…")
        for value in values.split(","):
            wanted[key].add(pick(f"{key} of this board", value, known[key]))
    return Selection(**{key: frozenset(values) for key, values in wanted.items()}, share=Slice.parse(share))


def seconds(text: str) -> float:
    """Return the seconds of ``90s``, ``9m``, ``2.5h`` or ``1d``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match or not float(match[1]):
        raise UsageError(f"--time-budget {text}: it takes a number and s, m, h or d, such as 9m or 2.5h")
    return float(match[1]) * UNITS[match[2]]
