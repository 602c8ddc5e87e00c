"""What is installed, what hardware there is, and what is wrong with it."""

import importlib.util
import os
from pathlib import Path
from typing import Any


def examine() -> dict[str, Any]:
    """Facts and ``problems``; imports torch, and nothing else that is heavy."""
    import torch

    from . import __version__, hardware, robustbench_bridge, sources
    from .provenance import code

    device = hardware.choose_device()
    copy = robustbench_bridge.copy_on_disk()
    folder = sources.default_folder()
    return {
        "catchup-bench": __version__,
        "code": code(),
        "versions": hardware.versions(
            "torch", "torchvision", "torchattacks", "robustbench", "pyautoattack", "datasets", "numpy", "setuptools"
        ),
        "device": hardware.device_name(device),
        "precision": hardware.choose_precision("auto", device),
        "threads": torch.get_num_threads(),
        "robustbench on disk": copy,
        "data folder": str(folder),
        "data": {name: present(name, folder) for name in sources.SOURCES},
        "problems": problems(copy),
    }


def present(name: str, folder: Path) -> str:
    """Whether the parts of a dataset are there; ``catchup-bench data check`` opens them."""
    from . import sources

    if not sources.SOURCES[name].needs:
        return "embedded"
    return "absent" if sources.missing(name, folder) else "there"


def problems(copy: str) -> list[str]:
    found = []
    if copy == "torchattacks":
        found.append(
            "the package robustbench on disk is the older copy that torchattacks carries: the suites work with it; "
            "for RobustBench's own, pip install --force-reinstall --no-deps robustbench"
        )
    if copy in ("absent", "unknown"):
        found.append(f"the package robustbench on disk is {copy}: pip install --force-reinstall --no-deps robustbench")
    if importlib.util.find_spec("pkg_resources") is None:
        found.append("pkg_resources is missing, which robustbench imports: pip install 'setuptools<81'")
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE":
        found.append("OMP_WAIT_POLICY=ACTIVE makes threads wait by spinning: small networks side by side will crawl")
    return found
