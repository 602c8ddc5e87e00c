"""Provenance: the code, the device and the versions that made a number."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


@cache
def code() -> dict[str, Any]:
    """Return :func:`code_in` of the folder that this package lies in, as it was at the first call."""
    return code_in(Path(__file__).resolve().parents[2])


def code_in(checkout: Path) -> dict[str, Any]:
    """Return the commit of a checkout, and whether its code differs from it, which the page that a board writes among
    the methods is no part of; empty for another folder, as where the package is installed."""
    if not (checkout / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(checkout, "rev-parse", "HEAD")
    changed = _git(checkout, "status", "--porcelain", "--", "catchup_bench", "methods", ":(exclude)methods/README.md")
    return {"commit": commit or None, "dirty": None if commit is None else bool(changed)}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def stamp() -> dict[str, Any]:
    return {**code(), "date": datetime.now(UTC).date().isoformat()}


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def versions(*packages: str) -> dict[str, str]:
    installed = {"python": platform.python_version()}
    for package in packages:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "absent"
    return installed


def describe(device: torch.device, precision: str) -> dict[str, Any]:
    """Return what can change a result besides the run itself: hardware, threads, precision, versions."""
    return {
        "device": device_name(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "versions": versions("catchup-bench", "torch", "torchvision", "torchattacks", "numpy"),
    }
