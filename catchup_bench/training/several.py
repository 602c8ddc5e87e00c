"""Train several runs, some of which other processes may be training."""

import time
from collections.abc import Iterable
from pathlib import Path

import torch

from ..errors import Busy, OutOfTime
from ..runs.run import Run
from ..system.progress import NoProgress, Progress
from .loop import train

PAUSE = 0.5
"""Seconds between two looks at a run that another process trains."""


def train_all(
    runs: Iterable[Run],
    folder: Path,
    *,
    device: torch.device,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    of_first: Progress | None = None,
    engine: str = "auto",
    threads: int | None = None,
) -> None:
    """Train ``runs`` below ``folder``; those that are finished stay as they are. One that another process trains comes
    last, and is waited for. ``of_first`` receives what happens in the first of them, instead of ``progress``. Raises
    :class:`OutOfTime` when ``progress`` asks to stop, and what training raises."""
    progress = progress or NoProgress()
    left = list(runs)
    first = next(iter(left), None)
    while left:
        busy = []
        for run in left:
            try:
                listening = of_first if of_first is not None and run is first else progress
                train(run, folder, device=device, data_dir=data_dir, progress=listening, engine=engine, threads=threads)
            except Busy:
                busy.append(run)
        if len(busy) == len(left):
            if progress.should_stop():
                raise OutOfTime("the time is over")
            time.sleep(PAUSE)
        left = busy
