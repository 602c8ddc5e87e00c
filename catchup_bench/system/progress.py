"""Protocol of what shows the progress of training and evaluation, and may stop them."""

from typing import Any, Protocol


class Measured(Protocol):
    """The part of an outcome that is shown during an evaluation."""

    @property
    def suite(self) -> str: ...

    @property
    def error(self) -> float:
        """Return the top-1 error in percent."""


class Progress(Protocol):
    """Receives what happens in a run. ``should_stop`` is asked after every training step and every condition."""

    def start(self, total: int, done: int) -> None:
        """Note that training begins: images of all epochs, and of those that are done already."""

    def step(self, images: int) -> None:
        """Note that a training step is over."""

    def epoch(self, line: dict[str, Any]) -> None:
        """Note that an epoch is over; ``line`` is what stands in ``metrics.jsonl``."""

    def condition(self, name: str, outcome: Measured) -> None:
        """Note that a condition is evaluated and stored."""

    def should_stop(self) -> bool:
        """Return whether the run is to end now, with its last whole epoch or condition kept."""


class NoProgress:
    """Shows nothing and never stops; base of what listens to a part."""

    def start(self, total: int, done: int) -> None: ...
    def step(self, images: int) -> None: ...
    def epoch(self, line: dict[str, Any]) -> None: ...
    def condition(self, name: str, outcome: Measured) -> None: ...

    def should_stop(self) -> bool:
        return False
