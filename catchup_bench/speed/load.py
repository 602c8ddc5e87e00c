"""How fast training is beside another program that keeps one core busy, relative to an idle machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import median
from typing import Any

import torch

from .. import data
from ..runs.run import Run
from ..system.provenance import describe, stamp
from ..system.threads import choose_threads, computing_with
from . import cost


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy with a process of its own."""
    process = get_context("spawn").Process(target=_count_forever, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _count_forever() -> None:
    while True:
        pass


def measure(
    run: Run, device: torch.device, images: data.Images, rounds: int, steps: int, threads: int | None = None
) -> dict[str, Any]:
    """Time ``steps`` training steps in turn on the machine as it is and beside a busy core, ``rounds`` times.

    ``ratio`` is the busy speed relative to the idle one (quartiles over rounds, each within a round).
    """
    timed = cost.Timed(run, images, device)
    number = choose_threads(threads, timed.training.net, images.size, device)
    idle, busy = [], []
    with computing_with(number):
        timed.seconds(1)  # warm-up
        for _ in range(rounds):
            idle.append(timed.seconds(steps))
            with busy_core():
                timed.seconds(1)  # while the other process starts
                busy.append(timed.seconds(steps))
        facts = describe(device, timed.training.precision)
    batch = run.recipe.batch_size
    return {
        "idle_images_per_second": batch / median(idle),
        "busy_images_per_second": batch / median(busy),
        **cost.quartiles([i / b for i, b in zip(idle, busy, strict=True)]),
        "model": run.model.label,
        "image_size": images.size,
        "batch_size": batch,
        "rounds": rounds,
        "steps_per_round": steps,
        "provenance": {**stamp(), **facts},
    }
