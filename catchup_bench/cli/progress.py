"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..system.progress import Measured, NoProgress

if TYPE_CHECKING:
    from ..boards.grid import Job
    from ..suites import Suite

PLAIN_SECONDS = 10.0


class Bar:
    """Base of all displays: a rich bar, or nothing where there is no terminal."""

    even = True
    """Whether its steps take equally long, so that the time left follows from how many there are."""

    def __init__(self, title: str, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.live = self.console.is_terminal and not quiet
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(),
        )  # fmt: skip
        remaining = (TextColumn("left"), TimeRemainingColumn()) if self.even else ()
        self.progress = Progress(*columns, *remaining, console=self.console, disable=not self.live)
        self.task: TaskID = self.progress.add_task(title, total=None, note="")
        self.title = title
        self.last_line = 0.0

    def __enter__(self) -> Self:
        if self.live:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:  # rich would print an empty line where it shows nothing
            self.progress.stop()

    def say(self, text: str, *, always: bool = True) -> None:
        """Print a line; one that is not ``always`` appears every ten seconds at most, and not under a bar."""
        if always or (not self.live and self.clock() - self.last_line >= PLAIN_SECONDS):
            self.progress.console.print(text, soft_wrap=True)
            self.last_line = self.clock()


class TrainingBar(Bar, NoProgress):
    """Loss, test accuracy, images/s and the time left of one run."""

    images, note = 0, ""

    def start(self, total: int, done: int) -> None:
        self.progress.update(self.task, total=total, completed=done)
        if done:
            self.say(f"{self.title}: resumed at {done / total:.0%}")

    def step(self, images: int) -> None:
        self.progress.update(self.task, advance=images)

    def epoch(self, line: dict[str, Any]) -> None:
        accuracy = f"  accuracy {100 - line['test_error']:.2f} %" if "test_error" in line else ""
        note = f"loss {line['loss']:.3f}{accuracy}  {line['images_per_second']:,.0f} images/s"
        self.progress.update(self.task, note=note)
        self.say(f"{self.title}: epoch {line['epoch']}  {note}", always=False)


class BoardBar(Bar):
    """Number of finished runs of a board, the time left, and a bar for each run under way.

    ``sizes`` says, by the name of each job, how much work it is relative to the others: the time left is that of the
    work so far, for what remains.
    """

    even = False
    total = 0

    def __init__(
        self,
        title: str,
        sizes: Mapping[str, float] = MappingProxyType({}),
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(title, quiet=quiet, clock=clock)
        self.rows: dict[str, TaskID] = {}
        self.sizes = dict(sizes)
        self.shares: dict[str, tuple[str, float]] = {}
        self.resumed_at: dict[str, float] = {}
        self.done, self.since = 0.0, clock()

    def start(self, total: int) -> None:
        self.total, self.since = total, self.clock()
        self.progress.update(self.task, total=total)
        self.say(f"{self.title}: {total} runs to do" if total else f"{self.title}: nothing missing")

    def advance(self, share: float) -> None:
        left = self.seconds_left()
        left_text = "" if left is None else f", {time_left(left)}"
        self.progress.update(self.task, completed=share, note=f"{int(share)} of {self.total} runs{left_text}")
        under_way = ", ".join(f"{name} {where} {share:.0%}" for name, (where, share) in sorted(self.shares.items()))
        text = f"{self.title}: {share:.1f} of {self.total} runs{left_text}"
        self.say(f"{text}; {under_way}" if under_way else text, always=False)

    def running(self, rows: Mapping[str, tuple[str, float]]) -> None:
        """Show a bar for each run under way: ``rows`` maps its name to where it runs, or what it does, and the share
        that is done."""
        self.shares = dict(rows)
        for name in self.rows.keys() - rows.keys():
            self.progress.remove_task(self.rows.pop(name))
        for name, (where, share) in rows.items():
            self.resumed_at.setdefault(name, share)
            if name not in self.rows:
                self.rows[name] = self.progress.add_task(f"  {name}", total=1.0, note=where)
            self.progress.update(self.rows[name], completed=share, note=where)

    def finished(self, job: "Job", seconds: float) -> None:
        self.done += self.sizes.pop(job.name, 0.0) * (1 - self.resumed_at.get(job.name, 0.0))
        self.say(f"  {job.name}: {seconds:.0f} s")

    def seconds_left(self) -> float | None:
        """Estimate the seconds for what remains from the pace so far; ``None`` while nothing is done."""
        left = sum(size * (1 - self.shares.get(name, ("", 0.0))[1]) for name, size in self.sizes.items())
        done = self.done + sum(
            self.sizes.get(name, 0.0) * (share - self.resumed_at[name]) for name, (_, share) in self.shares.items()
        )
        return (self.clock() - self.since) * left / done if done > 0 else None


class EvaluationBar(Bar, NoProgress):
    """Number of finished conditions, the error of the last one, and the time left.

    The time left is estimated from the conditions of the same suite so far; for a suite that has not begun, from its
    number of passes and the time of a pass in the others.
    """

    even = False
    done, since = 0, 0.0

    def begin(self, passes: Sequence[tuple[str, float]]) -> None:
        """Start: ``passes`` has the suite, and roughly the passes, of every condition to evaluate."""
        self.left = Counter(suite for suite, _ in passes)
        self.passes = dict(passes)
        self.total, self.took, self.count = len(passes), dict.fromkeys(self.passes, 0.0), Counter[str]()
        self.since = self.clock()
        self.progress.update(self.task, total=self.total or None)
        if not passes:
            self.say(f"{self.title}: nothing missing")

    def begin_suites(self, suites: "Mapping[str, Suite]", todo: Mapping[str, Sequence[str]]) -> Self:
        """Start with the conditions ``todo`` of ``suites``; return the bar."""
        self.begin([(name, suites[name].passes(c)) for name, conditions in todo.items() for c in conditions])
        return self

    def condition(self, name: str, outcome: Measured) -> None:
        now, suite = self.clock(), outcome.suite
        self.took[suite] += now - self.since
        self.since = now
        self.count[suite] += 1
        self.left[suite] -= 1
        self.done += 1
        note = f"{self.done} of {self.total} conditions, {time_left(self.seconds_left())}"
        self.progress.update(self.task, completed=self.done, note=f"{note}, {name}: {outcome.error:.2f} %")
        self.say(f"{self.title}: {note}", always=False)

    def seconds_left(self) -> float:
        each = sum(self.took.values()) / sum(n * self.passes[s] for s, n in self.count.items())
        return sum(
            n * (self.took[s] / self.count[s] if self.count[s] else each * self.passes[s]) for s, n in self.left.items()
        )


def time_left(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(seconds, 0):.0f} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 90 * 60 else f"about {seconds / 3600:.1f} h left"
