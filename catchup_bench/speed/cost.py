"""What a method costs: the time of its training step relative to the baseline's, interleaved in one process.

Absolute times say more about the machine than about the method, and even ratios drift when they are not interleaved.
"""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from .. import data
from ..engines import choose_engine
from ..engines.capture import CudaGraphs, MakeBackend
from ..engines.graph_steps import Graphs
from ..runs.build import build
from ..runs.folder import RunFolder
from ..runs.run import Run
from ..seeds import derive
from ..system.hardware import choose_precision, enough_memory, exact_products
from ..system.provenance import describe, stamp
from ..training.loop import make_loader, take_step, use_engine
from ..training.state import Training, make_optimizer

ROUNDS, STEPS = 15, 3

DRAWS = 2000


def measure(
    runs: dict[str, Run],
    device: torch.device,
    images: data.Images | data.Files,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    engine: str = "auto",
    timer: "Callable[[Run, data.Images | data.Files, torch.device, str], Timed] | None" = None,
) -> dict[str, Any]:
    """Measure, by label, the ratio of step times to the run labelled ``baseline``: median and quartiles over rounds.

    Each round times ``steps`` steps of every plan of every method in turn; the time of a method is the mean over its
    plans, weighted by how often they are drawn, and a ratio is taken within a round. Steps are taken by ``engine``,
    which is as for :func:`choose_engine`: that of training, so that the host's time to launch operations counts where
    it counts in training; ``engine`` of the record is the baseline's, ``engines`` the others where they differ. Each
    run is timed by what ``timer`` makes, by default a :class:`Timed`.
    """
    timed = {label: (timer or Timed)(run, images, device, engine) for label, run in runs.items()}
    for one in timed.values():
        one.warm_up()
    table: dict[str, list[float]] = {label: [] for label in timed}
    order = list(timed)
    for r in range(rounds):
        for label in order[r % len(order) :] + order[: r % len(order)]:
            table[label].append(timed[label].seconds(steps))
    base = table["baseline"]
    ratios = {label: [t / b for t, b in zip(times, base, strict=True)] for label, times in table.items()}
    first = next(iter(runs.values()))
    return {
        "methods": {label: quartiles(values) for label, values in ratios.items()},
        "baseline_seconds_per_step": median(base),
        "batch_size": first.recipe.batch_size,
        "image_size": images.size,
        "model": first.model.label,
        **engines({label: one.facts() for label, one in timed.items()}),
        "rounds": rounds,
        "steps_per_plan_and_round": steps,
        "provenance": {**stamp(), **describe(device, next(iter(timed.values())).training.precision)},
    }


def engines(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return which engine took the steps, from the facts of every label; and which plans it did not take, and why."""
    base = facts["baseline"]["engine"]
    others = {label: one["engine"] for label, one in facts.items() if one["engine"] != base}
    eager = {label: one["eager_plans"] for label, one in facts.items() if one.get("eager_plans")}
    return {"engine": base} | ({"engines": others} if others else {}) | ({"eager_plans": eager} if eager else {})


def quartiles(ratios: list[float]) -> dict[str, float]:
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return {"ratio": float(middle), "low": float(low), "high": float(high)}


def random_images(n: int, size: int, num_classes: int) -> data.Images:
    """Return noise in the shape of a dataset: what a step costs does not depend on what is in the pictures."""
    gen = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, size, size, 3), generator=gen, dtype=torch.uint8)
    return data.Images(x, torch.arange(n) % num_classes, torch.arange(n))


class Timed:
    """A method in training, a few steps at a time."""

    def __init__(
        self,
        run: Run,
        images: data.Images | data.Files,
        device: torch.device,
        engine: str = "auto",
        backend: MakeBackend | None = None,
    ) -> None:
        net, method = build(run, device)
        precision = choose_precision(run.recipe.precision, device)
        self.training = Training(run, RunFolder(Path()), net, method, make_optimizer(run, net), precision, 0, [])
        self.loader = make_loader(run, images, device)
        self.device = device
        rng = np.random.default_rng(derive(run.seed, "plan", 0))
        drawn = Counter(method.plan(rng) for _ in range(DRAWS))
        self.plans = {plan: count / DRAWS for plan, count in drawn.items()}
        self.training.gen.manual_seed(derive(run.seed, "method", 0))
        engine = choose_engine(engine, device, captures=None if backend is None else True)
        use_engine(self.training, engine, backend or CudaGraphs)
        self.epoch, self.batches = 0, self.loader.epoch(0)
        net.train()
        method.start_epoch(net)

    def facts(self) -> dict[str, Any]:
        """Return how the steps were taken, as in the record of a training."""
        return self.training.engine.facts() if self.training.engine else {"engine": "eager"}

    def warm_up(self) -> None:
        """Take the steps in which an engine prepares: a captured one is eager at first, and then made."""
        self.seconds(3 if isinstance(self.training.engine, Graphs) else 1)

    def seconds(self, steps: int) -> float:
        """Measure the expected time of a step."""
        return sum(share * self.of_plan(plan, steps) for plan, share in self.plans.items())

    def of_plan(self, plan: object, steps: int) -> float:
        """Measure the mean time of ``steps`` steps of a plan."""
        self.sync()
        start = time.perf_counter()
        with enough_memory(self.training.run.folder), exact_products(self.training.precision):
            for _ in range(steps):
                x, y = self.next_batch()
                take_step(self.training, x, y, plan, lr=1e-3)
            self.sync()
        return (time.perf_counter() - start) / steps

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
