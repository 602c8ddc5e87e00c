"""Clean images: top-1 accuracy (Tables 1 to 4, 6 and 8 to 13 of the Catch-up Mix paper)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from . import Context, Suite, correct


@dataclass(frozen=True, kw_only=True)
class Clean(Suite):
    """The test images as they are."""

    about = "top-1 on the test images as they are"
    cost = "1 forward"

    def conditions(self) -> list[str]:
        return ["clean"]

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        for condition in conditions:
            yield condition, correct(context)
