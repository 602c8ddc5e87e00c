"""How speed and memory grow with the number of images and the batch: each case in a process of its own."""

import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from .. import data
from ..runs.run import Run
from ..system.hardware import choose_precision
from ..system.provenance import describe, stamp
from . import cost


def case(run: Run, count: int, steps: int, device: str) -> dict[str, float]:
    """Measure images/s of training on ``count`` random images, and the peak memory in MB, of the process or of the
    GPU."""
    entry = data.get(run.dataset.name)
    timed = cost.Timed(run, cost.random_images(count, entry.size, entry.num_classes), torch.device(device))
    timed.seconds(1)  # warm-up
    speed = run.recipe.batch_size / timed.seconds(steps)
    if device == "cuda":
        return {"images_per_second": speed, "peak_mb": torch.cuda.max_memory_allocated() / 1e6}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"images_per_second": speed, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}


def measure(runs: list[Run], counts: list[int], steps: int, device: torch.device) -> dict[str, Any]:
    """Measure all cases: under ``cases`` a line per number of images and run; the runs differ in their batch."""
    lines = []
    for count in counts:
        for run in runs:
            # a new process each: the peak of a process never falls again
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                measured = pool.submit(case, run, count, steps, device.type).result()
            lines.append({"images": count, "batch_size": run.recipe.batch_size, **measured})
    precision = choose_precision(runs[0].recipe.precision, device)
    return {"cases": lines, "steps": steps, "provenance": {**stamp(), **describe(device, precision)}}
