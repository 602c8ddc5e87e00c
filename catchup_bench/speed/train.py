"""What the training loop is worth: images per second beside a plain loop, and which part of it gives how much.

The plain loop is that of released mixup codes: one PIL image at a time through a DataLoader, fp32, NCHW, eager, SGD as
it comes. Each further loop adds one thing to the one before; then comes the product itself, and on a CPU the product
as boards of small runs are trained: a run a core, side by side. All are interleaved, so that the ratios hold on a
loaded machine.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from .. import data
from ..runs.build import build_net
from ..runs.run import Run
from ..system.hardware import autocast, choose_precision, cores, exact_products
from ..system.provenance import describe, stamp
from ..system.threads import choose_threads, computing_with
from ..training.loader import Loader
from ..training.loop import make_loader
from ..training.stream import StreamingLoader
from . import cost

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]

_loop: cost.Timed


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images as PIL pictures, cropped and flipped one by one."""

    def __init__(self, images: data.Images, pad: int, flip: bool) -> None:
        from PIL import Image
        from torchvision import transforms

        self.pictures = [Image.fromarray(x.numpy()) for x in images.x]
        self.labels = images.y.tolist()
        steps: list[Any] = [transforms.RandomCrop(images.x.shape[1], padding=pad)] if pad else []
        steps += [transforms.RandomHorizontalFlip()] if flip else []
        self.change = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.change(self.pictures[i]), self.labels[i]


@dataclass
class Loop:
    """A training loop that is timed a few steps at a time. ``layout`` is the memory format of network and images."""

    run: Run
    batches: Batches
    device: torch.device
    layout: torch.memory_format = torch.contiguous_format
    precision: str = "fp32"
    fused: bool = False

    def __post_init__(self) -> None:
        net = build_net(self.run.model, self.run.dataset.name, self.device, self.run.seed)
        self.net = net.to(memory_format=self.layout)
        recipe = self.run.recipe
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=1e-3, momentum=recipe.momentum, weight_decay=recipe.weight_decay,
            fused=True if self.fused else None,
        )  # fmt: skip
        self.feed = self.endless()

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.batches()

    def step(self) -> None:
        x, y = next(self.feed)
        x, y = x.to(self.device, memory_format=self.layout), y.to(self.device)
        self.optimizer.zero_grad()
        with autocast(self.precision, self.device):
            loss = F.cross_entropy(self.net(x).float(), y)
        loss.backward()
        self.optimizer.step()

    def seconds(self, steps: int) -> float:
        synchronise(self.device)
        start = time.perf_counter()
        with exact_products(self.precision):
            for _ in range(steps):
                self.step()
            synchronise(self.device)
        return (time.perf_counter() - start) / steps


class SideBySide:
    """A process a core, each with a run of its own on one thread."""

    def __init__(self, run: Run, images: data.Images, cores: int, stack: ExitStack) -> None:
        context = get_context("spawn")
        self.pools = [
            stack.enter_context(ProcessPoolExecutor(1, context, set_up, (run, images.x.numpy(), images.y.numpy())))
            for _ in range(cores)
        ]

    def seconds(self, steps: int) -> float:
        """Measure the seconds per batch; those of all processes are counted."""
        start = time.perf_counter()
        for step in [pool.submit(steps_here, steps) for pool in self.pools]:
            step.result()
        return (time.perf_counter() - start) / (steps * len(self.pools))


def set_up(run: Run, x: np.ndarray, y: np.ndarray) -> None:
    """Make a loop in another process, where it outlives the call."""
    global _loop
    torch.set_num_threads(1)
    images = data.Images(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(x)))
    _loop = cost.Timed(run, images, torch.device("cpu"))


def steps_here(steps: int) -> None:
    _loop.seconds(steps)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def resident(loader: Loader | StreamingLoader) -> Batches:
    epochs = iter(range(2**31))
    return lambda: loader.epoch(next(epochs))


def loops(run: Run, images: data.Images, device: torch.device, compiled: bool, engine: str) -> dict[str, Any]:
    """Return the plain loop, then loops with one more thing in each; the product is the loop that runs are trained
    with, and compiled the same with ``--engine compile``."""
    recipe = run.recipe
    pictures = Pictures(images, recipe.pad, recipe.flip)
    plain: Any = DataLoader(pictures, recipe.batch_size, shuffle=True, drop_last=True)
    precision = choose_precision(recipe.precision, device)
    ours, last = resident(make_loader(run, images, device)), torch.channels_last
    by_name: dict[str, Any] = {
        "reference": Loop(run, lambda: iter(plain), device),
        "+ resident data": Loop(run, ours, device),
        "+ channels_last": Loop(run, ours, device, last),
    }
    if precision != "fp32":
        by_name[f"+ {precision}"] = Loop(run, ours, device, last, precision)
    by_name["+ fused SGD"] = Loop(run, ours, device, last, precision, fused=True)
    by_name["product"] = cost.Timed(run, images, device, engine)
    if compiled:
        by_name["product, compiled"] = cost.Timed(run, images, device, "compile")
    return by_name


def flop_per_image(run: Run, images: data.Images) -> float:
    """Count the operations of forward and backward, a multiplication and an addition counted as two; what is not a
    product is left out."""
    net = build_net(run.model, run.dataset.name, torch.device("cpu"))
    x = images.x[:2].permute(0, 3, 1, 2).float() / 255
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(net(x), images.y[:2]).backward()
    return counter.get_total_flops() / 2


def matmul_peaks(device: torch.device, types: dict[str, torch.dtype], size: int) -> dict[str, float]:
    """Return :func:`matmul_peak` of every precision."""
    peaks = {}
    for name, dtype in types.items():
        with exact_products(name):
            peaks[name] = matmul_peak(device, dtype, size)
    return peaks


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int, repeats: int = 5, seconds: float = 5.0) -> float:
    """Return the FLOP/s of the fastest of a few square matrix products, begun within ``seconds``; the first one is not
    counted unless it is the only one."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times: list[float] = []
    while not times or (len(times) <= repeats and sum(times) < seconds):
        synchronise(device)
        start = time.perf_counter()
        a @ b
        synchronise(device)
        times.append(time.perf_counter() - start)
    return float(2 * size**3 / min(times[1:] or times))


def measure(
    runs: dict[str, Run],
    device: torch.device,
    images: data.Images,
    rounds: int,
    steps: int,
    compiled: bool = False,
    engine: str = "auto",
) -> dict[str, Any]:
    """Measure each loop's images/s, FLOP/s and ratio to the reference, medians over ``rounds``; then the cost of each
    of ``runs`` relative to that labelled ``baseline``. All compute with as many threads as runs are trained with."""
    run = runs["baseline"]
    net = build_net(run.model, run.dataset.name, device)
    with computing_with(choose_threads(None, net, images.size, device)):
        return _measure(runs, device, images, rounds, steps, compiled, engine)


def _measure(
    runs: dict[str, Run],
    device: torch.device,
    images: data.Images,
    rounds: int,
    steps: int,
    compiled: bool,
    engine: str,
) -> dict[str, Any]:
    run = runs["baseline"]
    precision = choose_precision(run.recipe.precision, device)
    size = 8192 if device.type == "cuda" else 2048
    types = {"fp32": torch.float32}
    if choose_precision("auto", device) == "bf16":  # elsewhere it is emulated, for minutes on end
        types["bf16"] = torch.bfloat16
    if precision == "tf32":
        types["tf32"] = torch.float32
    peaks = [matmul_peaks(device, types, size)]
    timed, sides = loops(run, images, device, compiled, engine), cores()
    table: dict[str, list[float]] = {}
    with ExitStack() as stack:
        if device.type == "cpu" and sides > 1:
            timed["product, a run a core"] = SideBySide(run, images, sides, stack)
        for name, one in timed.items():
            one.seconds(3)  # warm-up: a captured step is made in the second
            table[name] = []
        order = list(timed)
        for r in range(rounds):
            for name in order[r % len(order) :] + order[: r % len(order)]:
                table[name].append(timed[name].seconds(steps))
    peaks.append(matmul_peaks(device, types, size))
    peak = {name: max(p[name] for p in peaks) for name in types}
    flop, batch = flop_per_image(run, images), run.recipe.batch_size
    speeds = {}
    for name, times in table.items():
        speed = batch / median(times)
        ratios = [plain / own for plain, own in zip(table["reference"], times, strict=True)]
        speeds[name] = {"images_per_second": speed, "flop_per_second": speed * flop, **cost.quartiles(ratios)}
    return {
        "loops": speeds,
        "flop_per_image": flop,
        "peak_flop_per_second": peak,
        "share_of_peak": speeds["product"]["flop_per_second"] / peak.get(precision, peak["fp32"]),
        "engine": timed["product"].facts()["engine"],
        "methods": cost.measure(runs, device, images, rounds, 1, engine)["methods"] if len(runs) > 1 else {},
        "model": run.model.label,
        "image_size": images.x.shape[1],
        "batch_size": batch,
        "rounds": rounds,
        "steps_per_round": steps,
        "provenance": {**stamp(), **describe(device, precision)},
    }
