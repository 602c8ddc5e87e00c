"""What a method costs: the time of its training step relative to the baseline's, interleaved in one process.

Absolute times say more about the machine than about the method, and even ratios drift when they are not interleaved.
"""

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from . import data
from .build import build
from .hardware import choose_precision, describe
from .provenance import stamp
from .run import Run, derive
from .train import Training, make_loader, make_optimizer, train_step

ROUNDS, STEPS = 15, 6


def measure(
    runs: dict[str, Run], device: torch.device, data_dir: Path | None = None, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Label → ratio of step times to the run labelled ``baseline`` (median of rounds, and their quartiles).

    Each round times ``STEPS`` steps of every method in turn; a ratio is taken within a round.
    """
    first = next(iter(runs.values()))
    images = data.load(first.dataset.name, "train", data_dir, first.dataset.fraction, first.seed)
    timed = {label: Timed(run, images, device) for label, run in runs.items()}
    for one in timed.values():
        one.seconds(3)  # warm-up
    table: dict[str, list[float]] = {label: [] for label in timed}
    order = list(timed)
    for r in range(rounds):
        for label in order[r % len(order) :] + order[: r % len(order)]:
            table[label].append(timed[label].seconds(STEPS))
    base = table["baseline"]
    return {
        "methods": {
            label: quartiles([t / b for t, b in zip(times, base, strict=True)]) for label, times in table.items()
        },
        "baseline_seconds_per_step": median(base) / STEPS,
        "batch_size": first.recipe.batch_size,
        "rounds": rounds,
        "steps_per_round": STEPS,
        "provenance": {**stamp(), **describe(device, next(iter(timed.values())).training.precision)},
    }


def quartiles(ratios: list[float]) -> dict[str, float]:
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return {"ratio": float(middle), "low": float(low), "high": float(high)}


class Timed:
    """A method in training, a few steps at a time."""

    def __init__(self, run: Run, images: data.Images, device: torch.device) -> None:
        net, method = build(run, device)
        precision = choose_precision(run.recipe.precision, device)
        self.training = Training(run, Path(), net, method, make_optimizer(run, net), precision, 0, [])
        self.loader = make_loader(run, images, device)
        self.device = device
        self.rng = np.random.default_rng(derive(run.seed, "plan", 0))
        self.gen = torch.Generator(device).manual_seed(derive(run.seed, "method", 0))
        self.epoch, self.batches = 0, self.loader.epoch(0)

    def seconds(self, steps: int) -> float:
        self.training.net.train()
        self.sync()
        start = time.perf_counter()
        for _ in range(steps):
            x, y = self.next_batch()
            train_step(self.training, x, y, self.training.method.plan(self.rng), self.gen, lr=1e-3)
        self.sync()
        return time.perf_counter() - start

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        try:
            return next(self.batches)
        except StopIteration:
            self.epoch += 1
            self.batches = self.loader.epoch(self.epoch)
            self.training.method.start_epoch(self.training.net)
            return next(self.batches)

    def sync(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
