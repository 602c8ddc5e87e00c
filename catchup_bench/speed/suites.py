"""What a suite's evaluation costs beyond the forward passes that it needs, on the same images in one run."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import data
from ..corruptions import NAMES
from ..data.batches import batches, to_unit
from ..data.corrupted import FOLDERS, CorruptedArrays
from ..evaluation.evaluate import choose_batch_size, evaluation_mode
from ..robustbench_bridge import module
from ..suites import Context, Suite, suite_class
from ..system.provenance import describe, stamp
from . import cost

EPS = (1.0, 2.0, 4.0, 8.0)

LOADED, PIXELS = 10_000, 32
"""Images that robustbench's loader takes a severity to have, and their height and width."""

Work = Callable[[], object]


def measure(
    net: nn.Module, dataset: str, size: int, num_classes: int, device: torch.device, images: int = 200, rounds: int = 3
) -> dict[str, Any]:
    """Measure images per second of each suite, as a share of raw forward passes over batches that lie on the device:
    medians over ``rounds`` of ratios of times, interleaved. Corruptions are one severity of all 19.

    Then how many times faster several ε are from one gradient than one at a time, with the whole suite and with the
    attack alone; and the reading of CIFAR-100-C files against robustbench's loader.
    """
    some = cost.random_images(images, size, num_classes)
    context = Context(
        net=net, images=some, dataset=dataset, mean=(0.5, 0.5, 0.5), device=device, batch_size=choose_batch_size(some),
        data_dir=Path(),
    )  # fmt: skip
    ready = [x for x, _, _ in batches(some, context.batch_size, device)]

    def raw() -> None:
        with torch.inference_mode():
            for x in ready:
                net(x).argmax(1).cpu()

    generated = _suite("corruption", severities=(3,), source="generated", frost="procedural")
    works: dict[str, tuple[Work, int]] = {
        "clean": (_all(_suite("clean"), context), 1),
        "corruption, from the cache": (_all(generated, context), len(NAMES)),
        "corruption, generated": (_all(generated, context), len(NAMES)),
        "deformation": (_all(_suite("deformation"), context), 8),
        "fgsm, one ε": (_all(_suite("fgsm", eps=EPS[:1]), context), 1),
        f"fgsm, {len(EPS)} ε": (_all(_suite("fgsm", eps=EPS), context), len(EPS)),
        f"fgsm, {len(EPS)} times one ε": (lambda: [_all(_suite("fgsm", eps=(e,)), context)() for e in EPS], len(EPS)),
    }
    shares: dict[str, list[float]] = {name: [] for name in works}
    several: list[float] = []
    with evaluation_mode(net), _empty_cache() as clear:
        seconds(raw, device)
        alone = [_one_gradient(net, ready, device) for _ in range(rounds + 1)][1:]  # the first also imports
        for _ in range(rounds):
            took: dict[str, float] = {}
            for name, (work, passes) in works.items():
                if name == "corruption, generated":
                    clear()
                elif name == "corruption, from the cache":
                    work()  # the first round fills it
                before = seconds(raw, device)
                took[name] = seconds(work, device)
                shares[name].append((before + seconds(raw, device)) / 2 * passes / took[name])
            several.append(took[f"fgsm, {len(EPS)} times one ε"] / took[f"fgsm, {len(EPS)} ε"])
    return {
        "share_of_forward": {name: median(values) for name, values in shares.items()},
        "several_eps": {"suite": median(several), "attack": median(alone), "eps": list(EPS)},
        "cifar100c_files": _files(rounds),
        "images": images,
        "image_size": size,
        "rounds": rounds,
        "provenance": {**stamp(), **describe(device, "fp32")},
    }


def seconds(work: Work, device: torch.device) -> float:
    """Return seconds of this process's CPU time on a CPU, which others may be using too, else of the wall clock."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def _suite(name: str, **options: Any) -> Suite:
    return suite_class(name)(**options)


def _all(suite: Suite, context: Context) -> Work:
    return lambda: list(suite.run(context, suite.conditions()))


def _one_gradient(net: nn.Module, ready: list[torch.Tensor], device: torch.device) -> float:
    """Measure how many times faster all of ``EPS`` are from one gradient than by torchattacks for each, without
    evaluation."""
    from torchattacks import FGSM

    labels = [torch.zeros(len(x), dtype=torch.int64, device=device) for x in ready]

    def each() -> None:
        for e in EPS:
            attack = FGSM(net, eps=e / 255)
            for x, y in zip(ready, labels, strict=True):
                attack(x, y)

    def once() -> None:
        attack = FGSM(net, eps=torch.tensor([1.0, -1.0], device=device).view(2, 1, 1, 1, 1))
        for x, y in zip(ready, labels, strict=True):
            up, down = attack(x, y)
            for e in EPS:
                (x + e / 255 * (up - down)).clamp(0, 1)

    return seconds(each, device) / seconds(once, device)


def _files(rounds: int) -> dict[str, float]:
    """Measure images per second from files in the layout of CIFAR-100-C to float32 batches in [0,1], ours and
    robustbench's."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(0, 256, (LOADED, PIXELS, PIXELS, 3), np.uint8))
    images = data.Images(x, torch.arange(LOADED) % 100, torch.arange(LOADED))
    load = module("data").load_cifar100c
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / FOLDERS["cifar100"]
        folder.mkdir()
        np.save(folder / "labels.npy", np.tile(images.y.numpy(), 5))
        array = np.lib.format.open_memmap(
            folder / "fog.npy", mode="w+", dtype=np.uint8, shape=(5 * LOADED, PIXELS, PIXELS, 3)
        )
        for i in range(5):
            array[i * LOADED : (i + 1) * LOADED] = x.numpy()
        array.flush()
        del array

        def ours() -> None:
            arrays = CorruptedArrays("cifar100", Path(place), images)
            for severity in range(1, 6):
                for part in arrays.read("fog", severity, images.index).split(choose_batch_size(images)):
                    to_unit(part)

        def theirs() -> None:
            for severity in range(1, 6):
                load(LOADED, severity, place, False, ["fog"])

        cpu, threads = torch.device("cpu"), torch.get_num_threads()
        torch.set_num_threads(1)  # neither needs more, and a loaded machine makes more of them wait for each other
        pairs = [(seconds(ours, cpu), seconds(theirs, cpu)) for _ in range(rounds + 1)][1:]
        torch.set_num_threads(threads)
    return {
        "images_per_second": 5 * LOADED / median(a for a, _ in pairs),
        "robustbench_images_per_second": 5 * LOADED / median(b for _, b in pairs),
        "ratio": median(b / a for a, b in pairs),
    }


@contextmanager
def _empty_cache() -> Iterator[Callable[[], None]]:
    """Use a temporary cache of corrupted images within; yield what empties it."""
    was = os.environ.get("CATCHUP_BENCH_CACHE")
    with tempfile.TemporaryDirectory() as place:
        os.environ["CATCHUP_BENCH_CACHE"] = place

        def clear() -> None:
            for path in Path(place).iterdir():
                path.unlink()

        try:
            yield clear
        finally:
            os.environ.pop("CATCHUP_BENCH_CACHE")
            if was is not None:
                os.environ["CATCHUP_BENCH_CACHE"] = was
