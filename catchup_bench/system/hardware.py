"""The device, the precision and the threads that a run uses, and their description for provenance."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import RunFailed, UsageError

ENGINES = ("auto", "eager", "compile", "graphs", "compile+graphs")


def choose_device(name: str = "auto") -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}: it is one of: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device here: use --device cpu")
    return torch.device(name)


def choose_precision(wanted: str, device: torch.device) -> str:
    """Return ``wanted``; for ``auto`` bf16 where the hardware multiplies it natively (elsewhere it is emulated, and
    slower), else fp32.

    ``tf32`` is fp32 whose products CUDA rounds to 10 bits of mantissa. Raises :class:`UsageError` where there is none.
    """
    if wanted == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device)[0] < 8):
        raise UsageError("--precision tf32 needs a CUDA device of compute capability 8.0 or later: use fp32")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    native = flags.get("avx512_bf16") or flags.get("amx_bf16")
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "DEFAULT"
    return "bf16" if native and cap.upper() not in WITHOUT_BF16 else "fp32"


WITHOUT_BF16 = frozenset({"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"})
"""Instruction sets to which oneDNN may be limited, and that do not multiply bf16."""


def captures(engine: str) -> bool:
    """Return whether ``engine``, as :func:`choose_engine` gives it, makes CUDA graphs."""
    return engine in ("auto", "graphs", "compile+graphs")


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return ``x`` on ``device``. The host does not wait, as it would for a copy out of memory that is not pinned."""
    if device.type == "cpu" or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


@contextmanager
def exact_products(precision: str = "fp32") -> Iterator[None]:
    """Compute products and convolutions of fp32 numbers within in fp32, unless ``precision`` is ``tf32``.

    Torch rounds the factors of convolutions on CUDA to TF32 by default.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def searching_convolutions(on: bool) -> Iterator[None]:
    """Turn cuDNN's search for its fastest convolutions on or off within."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Raise :class:`RunFailed` for ``what`` when the device's memory is exhausted."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise RunFailed(
            f"{what}: out of device memory; try a smaller --set recipe.batch_size or --width, or end other processes "
            "on the device"
        ) from None


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoding_workers() -> int:
    """Return how many processes or threads decode images: ``CATCHUP_BENCH_WORKERS``, or one per core and at most 8; the
    cores are shared with the other processes of a run, which torchrun counts in ``LOCAL_WORLD_SIZE``."""
    given = os.environ.get("CATCHUP_BENCH_WORKERS", "")
    if not given:
        return max(1, min(8, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    if not given.isdecimal() or int(given) > 256:
        raise UsageError(f"CATCHUP_BENCH_WORKERS = {given!r}: it takes 0 (no process of their own) to 256")
    return int(given)
