"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .board import Job

PLAIN_SECONDS = 10.0


class Bar:
    """What training, evaluation and boards share: a rich bar, or nothing where there is no terminal."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.live = self.console.is_terminal and not quiet
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        self.progress = Progress(*columns, console=self.console, disable=not self.live)
        self.task: TaskID = self.progress.add_task(title, total=None, note="")
        self.title = title
        self.told = 0.0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def say(self, text: str, *, always: bool = True) -> None:
        """A line of its own; one that is not ``always`` appears every ten seconds at most, and not under a bar."""
        if always or (not self.live and time.monotonic() - self.told >= PLAIN_SECONDS):
            self.progress.console.print(text, soft_wrap=True)
            self.told = time.monotonic()


class TrainingBar(Bar):
    """Loss, test accuracy, images/s and the time left of one run."""

    images, note = 0, ""

    def start(self, total: int, done: int) -> None:
        self.progress.update(self.task, total=total, completed=done)
        if done:
            self.say(f"{self.title}: going on after {done / total:.0%}")

    def step(self, images: int) -> None:
        self.progress.update(self.task, advance=images)

    def epoch(self, line: dict[str, Any]) -> None:
        accuracy = f"  accuracy {100 - line['test_error']:.2f} %" if "test_error" in line else ""
        note = f"loss {line['loss']:.3f}{accuracy}  {line['images_per_second']:,.0f} images/s"
        self.progress.update(self.task, note=note)
        self.say(f"{self.title}: epoch {line['epoch']}  {note}", always=False)


class BoardBar(Bar):
    """How many runs of a board are done."""

    total = 0

    def start(self, total: int) -> None:
        self.total = total
        self.progress.update(self.task, total=total)
        self.say(f"{self.title}: {total} runs to do" if total else f"{self.title}: nothing missing")

    def advance(self, share: float) -> None:
        self.progress.update(self.task, completed=share, note=f"{int(share)} of {self.total} runs")
        self.say(f"{self.title}: {share:.1f} of {self.total} runs", always=False)

    def finished(self, job: Job, seconds: float) -> None:
        self.say(f"  {job.label} seed {job.run.seed}: {seconds:.0f} s")
