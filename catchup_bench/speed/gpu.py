"""What a device makes of the engine: steps by engine, waits, every method's plans, whole epochs, passes in fp32.

Each part stands alone and is written down when it ends, so that a short time on a device is not lost. On a CPU, steps
are "captured" by running them again: nothing is gained, and everything is gone through.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import corruptions, registry
from ..engines.capture import WARM_UP, Act, Backend, CudaGraphs, no_waiting, reason
from ..engines.graph_passes import Forward
from ..engines.graph_steps import Graphs
from ..engines.pass_settings import choose_passes
from ..errors import BenchError, pick
from ..evaluation.evaluate import evaluation_mode
from ..runs.build import build, build_net
from ..runs.folder import RunFolder
from ..runs.make import make_run
from ..seeds import derive
from ..system.files import write_json
from ..system.hardware import choose_precision, exact_products, searching_convolutions
from ..system.progress import NoProgress
from ..system.provenance import describe, stamp
from ..training.loop import (
    capture_steps,
    make_loader,
    take_step,
    test_error,
    train_epoch,
    train_step,
    use_engine,
)
from ..training.state import Training, make_optimizer
from ..verification.method import Broken, nothing_may_wait
from . import cost
from .train import matmul_peaks, synchronise

DRAWS = 1000


class Again:
    """Replays by doing it again, into one place in memory: what stands in for a capture on a CPU."""

    def warm_up(self, act: Act) -> None:
        for _ in range(WARM_UP):
            act()

    def capture(self, act: Act, gen: torch.Generator | None) -> Act:
        first: list[Tensor] = []

        def replay() -> Tensor:
            out = act()
            if not first:
                first.append(out.clone())
            return first[0].copy_(out)

        return replay


@dataclass(frozen=True)
class Setting:
    """What is measured: ``small`` is a network and batches with which all parts take less than a minute on a CPU."""

    device: torch.device
    small: bool

    @property
    def batch(self) -> int:
        return 8 if self.small else 128

    @property
    def size(self) -> int:
        """Return the height and width of the images of training."""
        return 8 if self.small else 32

    def backend(self) -> Backend:
        return CudaGraphs(self.device) if self.device.type == "cuda" else Again()

    def repeats(self, n: int) -> int:
        return 1 if self.small else n

    def training(self, method: str = "baseline") -> tuple[Training, dict[Any, float]]:
        """Return a training at its first step, and the share of each of the method's plans."""
        dataset, model, width = ("digits", "preactresnet10", 16) if self.small else ("cifar100", "preactresnet18", 64)
        run = make_run(method, dataset, model=model, width=width, overrides={"batch_size": self.batch})
        net, bound = build(run, self.device)
        precision = choose_precision("auto", self.device)
        one = Training(run, RunFolder(Path()), net, bound, make_optimizer(run, net), precision, 0, [])
        one.gen.manual_seed(0)
        net.train()
        bound.start_epoch(net)
        rng = np.random.default_rng(derive(0, "plan", 0))
        drawn = Counter(bound.plan(rng) for _ in range(DRAWS))
        return one, {plan: n / DRAWS for plan, n in sorted(drawn.items(), key=str)}

    def images(self) -> tuple[Tensor, Tensor]:
        gen = torch.Generator().manual_seed(1)
        x = torch.rand(self.batch, 3, self.size, self.size, generator=gen)
        y = torch.randint(10, (self.batch,), generator=gen)
        return x.to(self.device).contiguous(memory_format=torch.channels_last), y.to(self.device)

    def seconds(self, act: Callable[[], object], repeats: int, warm_up: int = 2) -> float:
        """Measure the seconds of one call: the median of three rounds of ``repeats``."""
        for _ in range(warm_up):
            act()
        times = []
        for _ in range(self.repeats(3)):
            synchronise(self.device)
            start = time.perf_counter()
            for _ in range(self.repeats(repeats)):
                act()
            synchronise(self.device)
            times.append((time.perf_counter() - start) / self.repeats(repeats))
        return sorted(times)[len(times) // 2]


def machine(s: Setting) -> dict[str, Any]:
    """Measure products, copies, and how long the host takes to launch an operation."""
    peaks = matmul_peaks(s.device, {"fp32": torch.float32, "bf16": torch.bfloat16}, 256 if s.small else 8192)
    source = torch.empty(2**20 if s.small else 2**30, device=s.device)
    target, tiny = torch.empty_like(source), torch.zeros(8, device=s.device)
    copied = 2 * source.numel() * source.element_size() / s.seconds(lambda: target.copy_(source), 10)
    launch = s.seconds(lambda: [tiny.add_(1) for _ in range(100)], 20) / 100
    return {
        **{f"matmul {name}, FLOP/s": peak for name, peak in peaks.items()},
        "copy, bytes/s": copied,
        "launch, s": launch,
    }


def steps(s: Setting) -> dict[str, Any]:
    """Measure the seconds of the plain step, eager and captured, without and with cuDNN's search; the kernels of an
    eager one."""
    x, y = s.images()
    table: dict[str, Any] = {}
    for search in (False, True) if s.device.type == "cuda" else (False,):
        with searching_convolutions(search):
            for engine in ("eager", "graphs"):
                one, _ = s.training()
                if engine == "graphs":
                    capture_steps(one, s.backend())
                name = engine + (", cudnn.benchmark" if search else "")
                table[name] = s.seconds(partial(take_step, one, x, y, None, 1e-3), 30, 5)
                if isinstance(one.engine, Graphs) and one.engine.fallen:
                    table[f"{name}: not captured"] = one.engine.fallen[None]
    return table | (kernels(s, x, y) if s.device.type == "cuda" else {})


def kernels(s: Setting, x: Tensor, y: Tensor, count: int = 5, longest: int = 14) -> dict[str, Any]:
    """Count the kernels that an eager step launches, their time, and the longest of them."""
    one, _ = s.training()
    s.seconds(partial(take_step, one, x, y, None, 1e-3), 1, 5)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as seen:
        for _ in range(count):
            take_step(one, x, y, None, 1e-3)
        synchronise(s.device)
    own = [e for e in seen.key_averages() if e.self_device_time_total and not e.key.startswith("aten::")]
    times = Counter({e.key[:70]: e.self_device_time_total / count / 1e6 for e in own})
    return {
        "kernels of a step": sum(e.count for e in own) / count,
        "their time": sum(times.values()),
        **{f"kernel {name}": t for name, t in times.most_common(longest)},
    }


def waits(s: Setting) -> dict[str, str]:
    """Return the plans whose step makes the host wait for the device; none may. On a CPU, what would."""
    waiting = {}
    x, y = s.images()
    for name in registry.methods():
        one, plans = s.training(name)
        for plan in plans:
            train_step(one, x, y, plan, one.gen, 1e-3)
            try:
                if s.device.type == "cuda":
                    with no_waiting():
                        train_step(one, x, y, plan, one.gen, 1e-3)
                else:
                    with nothing_may_wait():
                        one.method.loss(one.net, x, y, plan, one.gen).backward()
            except (RuntimeError, Broken) as err:
                waiting[f"{name} {plan}"] = " ".join(str(err).split())[:200]
    return waiting


def methods(s: Setting) -> dict[str, Any]:
    """Measure every plan of every method: seconds eager and captured, how far off, and why not captured; then the
    means."""
    x, y = s.images()
    table: dict[str, Any] = {}
    for name in registry.methods():
        one, plans = s.training(name)
        capture_steps(one, s.backend(), "auto")
        engine = one.engine
        assert isinstance(engine, Graphs)
        mean = {"eager": 0.0, "graphs": 0.0}
        rows = {}
        for plan, share in plans.items():
            eager, captured = (
                partial(train_step, one, x, y, plan, one.gen, 1e-3),
                partial(take_step, one, x, y, plan, 1e-3),
            )
            times = {"eager": s.seconds(eager, 5), "graphs": s.seconds(captured, 10)}
            for kind, t in times.items():
                mean[kind] += share * t
            rows[str(plan)] = {"share": share, **times, "apart": engine.apart.get(plan)} | (
                {"eager because": engine.fallen[plan]} if plan in engine.fallen else {}
            )
        table[name] = {**mean, "captured": len(engine.replays), "plans": rows}
        if s.device.type == "cuda":
            table[name]["GiB"] = torch.cuda.max_memory_reserved(s.device) / 2**30
            torch.cuda.empty_cache()
    return table


def compiled(s: Setting) -> dict[str, Any]:
    """Measure the seconds of the plain step compiled, alone and captured, and of its compilation."""
    x, y = s.images()
    table = {}
    for engine in ("compile", "compile+graphs"):
        one, _ = s.training()
        if engine == "compile":
            use_engine(one, "compile")
        else:
            capture_steps(one, s.backend(), engine)
        start = time.perf_counter()
        take_step(one, x, y, None, 1e-3)
        synchronise(s.device)
        table[f"{engine}, first step"] = time.perf_counter() - start
        table[engine] = s.seconds(partial(take_step, one, x, y, None, 1e-3), 30, 5)
    return table


def epochs(s: Setting) -> dict[str, Any]:
    """Measure the seconds of a whole epoch as it is trained, the loader included, and of its look at the test error."""
    images = cost.random_images(80 if s.small else 50_000, s.size, 10)
    test = cost.random_images(40 if s.small else 10_000, s.size, 10)
    table = {}
    for engine in ("eager", "graphs"):
        one, _ = s.training()
        if engine == "graphs":
            capture_steps(one, s.backend())
        loader = make_loader(one.run, images, s.device)
        for epoch in range(2):
            table[engine] = train_epoch(one, loader, epoch, NoProgress())["seconds"]
        look = partial(test_error, one.net, test, one.precision, captured=one.looks)
        table[f"{engine}, test error"] = s.seconds(look, 1)
    return table


def evaluation(s: Setting) -> dict[str, Any]:
    """Measure images a second in fp32 by layout, captured or not, and with the gradient of the images; whether the bits
    of the logits depend on the batch, and which setting an evaluation would choose; then corruptions on the device
    against those on the CPU."""
    one, _ = s.training()
    spec, dataset = one.run.model, one.run.dataset.name
    n, table = 20 if s.small else 500, dict[str, Any]()
    x = torch.rand(n, 3, s.size, s.size, device=s.device)
    layouts = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    searches = (False, True) if s.device.type == "cuda" else (False,)
    for (layout, memory), search in product(layouts.items(), searches):
        net = build_net(spec, dataset, s.device).to(memory_format=memory)
        h, name = x.contiguous(memory_format=memory), layout + (", cudnn.benchmark" if search else "")
        with searching_convolutions(search), evaluation_mode(net):
            forward = Forward(net, s.backend(), optional=True)
            with torch.inference_mode():
                table[name] = n / s.seconds(partial(net, h), 10)
                table[f"{name}, captured"] = n / s.seconds(partial(forward, h), 10, 3)
                halves = torch.cat([net(part) for part in h.split(n // 2)])
                table[f"{name}, same bits in half batches"] = bool(torch.equal(net(h), halves))
            table[f"{name}, with gradient"] = n / s.seconds(partial(attack, net, h), 5, 1)
            if forward.fallen:
                table[f"{name}: not captured"] = forward.fallen
    net = build_net(spec, dataset, s.device)
    with evaluation_mode(net):
        chosen = choose_passes(net, x, lambda act: s.seconds(act, 5, 1))
    return table | {"chosen": chosen.facts()} | corrupted(s)


def attack(net: torch.nn.Module, x: Tensor) -> Tensor:
    z = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(net(z).logsumexp(1).sum(), z)
    return grad


def corrupted(s: Setting) -> dict[str, Any]:
    """Measure the seconds of one severity of all corruptions on the CPU and on the device, and of which the bytes
    differ."""
    images = cost.random_images(8 if s.small else 1000, 32, 10)
    devices = dict.fromkeys((torch.device("cpu"), s.device))
    spent, made = dict.fromkeys((device.type for device in devices), 0.0), {}
    for name, device in product(corruptions.NAMES, devices):
        z = images.x.to(device)

        def act(name: str = name, z: Tensor = z) -> Tensor:
            return corruptions.corrupt(z, name, 3, indices=range(len(z)), dataset="cifar100")

        made[name, device.type] = act().cpu()
        spent[device.type] += s.seconds(act, 1, 0)
    apart = [n for n in corruptions.NAMES if not torch.equal(made[n, "cpu"], made[n, s.device.type])]
    return {f"corruptions, s on {kind}": t for kind, t in spent.items()} | {"corruptions that differ": apart}


PARTS = {part.__name__: part for part in (machine, steps, waits, epochs, methods, evaluation, compiled)}


def measure(
    wanted: Iterable[str], device: torch.device, small: bool, out: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the parts: part → what it measured, or the ``error`` that ended it; also the seconds of each. ``out`` is
    written when a part ends. Raises :class:`UsageError` for an unknown part."""
    parts = list(wanted)
    for name in parts:
        pick("part", name, list(PARTS))
    setting = Setting(device, small)
    one = {"small": small, "batch_size": setting.batch, "provenance": {**stamp(), **describe(device, "")}}
    measured: dict[str, Any] = {"parts": {}, "seconds": {}, **one}
    measured["provenance"]["precision"] = choose_precision("auto", device)
    for name in parts:
        start = time.perf_counter()
        try:
            with exact_products():
                measured["parts"][name] = PARTS[name](setting)
        except (RuntimeError, BenchError) as err:  # the other parts are still to be had
            measured["parts"][name] = {"error": reason(err)}
        measured["seconds"][name] = time.perf_counter() - start
        say(f"{name}: {measured['seconds'][name]:.0f} s")
        if out is not None:
            write_json(out, measured)
    return measured
