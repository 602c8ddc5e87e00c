"""Who is told how training and evaluation go, and who is asked whether to go on."""

from typing import Any, Protocol


class Measured(Protocol):
    """What of an outcome is shown while an evaluation goes on."""

    @property
    def suite(self) -> str: ...

    @property
    def error(self) -> float:
        """Top-1 error in percent."""


class Progress(Protocol):
    """Receives what happens in a run. ``should_stop`` is asked after every training step and every condition."""

    def start(self, total: int, done: int) -> None:
        """Training begins: images of all epochs, and of those that are done already."""

    def step(self, images: int) -> None:
        """A training step is over."""

    def epoch(self, line: dict[str, Any]) -> None:
        """An epoch is over; ``line`` is what stands in ``metrics.jsonl``."""

    def condition(self, name: str, outcome: Measured) -> None:
        """A condition is evaluated and stored."""

    def should_stop(self) -> bool:
        """Whether the run is to end now, with its last whole epoch or condition kept."""


class NoProgress:
    """Shows nothing and never stops; base of what listens to a part."""

    def start(self, total: int, done: int) -> None: ...
    def step(self, images: int) -> None: ...
    def epoch(self, line: dict[str, Any]) -> None: ...
    def condition(self, name: str, outcome: Measured) -> None: ...

    def should_stop(self) -> bool:
        return False
