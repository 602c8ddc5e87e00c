"""Check that this machine computes right gradients: each network against itself in float64, in another process.

Libraries have written outside their buffers on some processors for narrow layers: a crash, or a wrong gradient without
a word. So the check runs apart, and with glibc's heap checker where the system has one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.02
"""Relative error of a parameter's gradient in fp32 above which it is wrong; rounding stays below 0.001."""
ROUNDED = 10.0
"""Relative error that bf16 may have in deep, narrow networks; memory that was never written is read as far more."""
SIZES = {"densenet121": 32, "vgg11": 32}
"""Pixels of the images, where 16 are too few; at 16, the last maps of networks for 224 px have a single one."""
QUICK = (("preactresnet10", 4), ("preactresnet18", 6), ("preactresnet18", 16), ("resnet18", 4), ("wrn16-8", 1))
"""Networks and widths that the check of an installation takes, in a few seconds."""


MODULE = "catchup_bench.verification.gradients"


def check_gradients(
    cases: Sequence[tuple[str, int]] = QUICK, timeout: float = 300.0, module: str = MODULE
) -> list[str]:
    """Return a line for each network and width whose gradients are wrong on this machine, or that ended the process;
    nothing where all is well. ``timeout`` is in seconds and for all of them; ``module`` is what Python runs in the
    other process."""
    environment = {**os.environ, "MALLOC_CHECK_": "3", "OMP_WAIT_POLICY": "PASSIVE"}
    if checker := heap_checker():
        environment["LD_PRELOAD"] = checker
    command = [sys.executable, "-m", module, json.dumps(list(cases))]
    lines: list[str] = []
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return [f"the check of gradients did not end in {timeout:.0f} s"]
    begun = ""
    for line in done.stdout.splitlines():
        case, error = json.loads(line)
        begun = case if error is None else ""
        if error is not None and not error <= TOLERANCE:
            lines.append(f"{case}: its gradient is {error:.0%} off")
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [""])[-1]
        lines.append(f"{begun or 'the check of gradients'}: ended the process with {done.returncode} ({said[:120]})")
    return lines


def heap_checker() -> str | None:
    """Return the path of glibc's debugging allocator, if the system has one."""
    if find_library("c_malloc_debug"):
        return find_library("c_malloc_debug")
    folders = (Path("/lib/x86_64-linux-gnu"), Path("/lib/aarch64-linux-gnu"), Path("/lib64"), Path("/usr/lib64"))
    return next((str(f / "libc_malloc_debug.so.0") for f in folders if (f / "libc_malloc_debug.so.0").exists()), None)


def errors_of(name: str, width: int) -> Iterator[float]:
    """Yield the largest relative error of a parameter's gradient on one and two threads, in channels_last as runs are
    trained: in fp32, then in bf16, where an error that rounding explains counts as none."""
    import torch

    from ..models import MODELS

    architecture = MODELS[name]
    size = SIZES.get(name, 16)
    torch.manual_seed(0)
    net = architecture.build(num_classes=10, width=width, variant=architecture.variants[0])
    x, y = torch.rand(5, 3, size, size), torch.arange(5)
    wanted = gradients(net.double(), x.double(), y)
    net = net.float().to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        yield largest_error(gradients(net, x, y), wanted)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = largest_error(gradients(net, x, y), wanted)
        yield 0.0 if coarse < ROUNDED else coarse


def largest_error(computed: list["torch.Tensor"], wanted: list["torch.Tensor"]) -> float:
    """Return the largest distance of a parameter's gradient, relative to its norm or to a hundredth of the largest."""
    import torch

    least = torch.stack([g.norm() for g in wanted]).max() / 100
    far = [float((g - w).norm() / torch.maximum(w.norm(), least)) for g, w in zip(computed, wanted, strict=True)]
    return max((error if error == error else float("inf") for error in far), default=0.0)


def gradients(net: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor") -> list["torch.Tensor"]:
    """Return the gradient of the cross-entropy for each parameter, in float64. BatchNorm's statistics are fixed: those
    of a narrow layer may vanish, and rounding then decides the gradient."""
    import torch

    net.eval().zero_grad()
    torch.nn.functional.cross_entropy(net(x).to(x.dtype), y).backward()
    return [p.grad.double().clone() for p in net.parameters() if p.grad is not None]


def main() -> None:
    """Check the cases given as JSON; print a line before and after each."""
    for name, width in json.loads(sys.argv[1]):
        case = f"{name} of width {width}"
        print(json.dumps([case, None]), flush=True)
        print(json.dumps([case, max(errors_of(name, width))]), flush=True)


if __name__ == "__main__":
    main()
