"""``catchup-bench doctor``: what is installed, which hardware there is, and problems with either."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import typer

from .options import Json, show


def examine() -> dict[str, Any]:
    """Return facts and ``problems``; takes half a minute, most of it for a check of gradients."""
    from .. import __version__, data_sources, robustbench_bridge
    from ..system import hardware
    from ..system.provenance import code, device_name, versions

    device = hardware.choose_device()
    copy = robustbench_bridge.copy_on_disk()
    folder = data_sources.default_folder()
    return {
        "catchup-bench": __version__,
        "code": code(),
        "versions": versions(
            "torch", "torchvision", "torchattacks", "robustbench", "pyautoattack", "datasets", "numpy", "setuptools"
        ),
        "device": device_name(device),
        "precision": hardware.choose_precision("auto", device),
        "cores": hardware.cores(),
        "robustbench on disk": copy,
        "data folder": str(folder),
        "data": {name: present(name, folder) for name in data_sources.SOURCES},
        "problems": [*problems(copy), *gradient_problems()],
    }


def present(name: str, folder: Path) -> str:
    """Return whether the parts of a dataset are there; ``catchup-bench data check`` opens them."""
    from .. import data_sources

    if not data_sources.SOURCES[name].needs:
        return "embedded"
    return "absent" if data_sources.missing(name, folder) else "there"


def gradient_problems() -> list[str]:
    """Return a line for each small network that has wrong gradients on this machine."""
    from ..verification.gradients import check_gradients

    return [f"{line}: training such a network here gives wrong results" for line in check_gradients()]


def problems(copy: str) -> list[str]:
    """Return a line for each problem of the installation; ``copy`` is whose robustbench is on disk."""
    lines = []
    if copy == "torchattacks":
        lines.append(
            "the package robustbench on disk is the older copy that torchattacks carries: the suites work with it; "
            "for RobustBench's own, pip install --force-reinstall --no-deps robustbench"
        )
    if copy in ("absent", "unknown"):
        lines.append(f"the package robustbench on disk is {copy}: pip install --force-reinstall --no-deps robustbench")
    if importlib.util.find_spec("pkg_resources") is None:
        lines.append("pkg_resources is missing, which robustbench imports: pip install 'setuptools<81'")
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE":
        lines.append("OMP_WAIT_POLICY=ACTIVE makes threads wait by spinning: small networks side by side will crawl")
    return lines


def doctor(as_json: Json = False) -> None:
    """Show the installed versions and the hardware, and check them; check that gradients are computed rightly."""
    facts = examine()
    if as_json:
        return show(facts)
    typer.echo("\n".join(lines_of(facts)))


def lines_of(facts: dict[str, Any]) -> list[str]:
    """Return what to print of ``facts``."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            known = [f"{k} {v}" for k, v in value.items() if v is not None]
            lines.append(f"{key}: {', '.join(known) or 'unknown'}")
        elif key != "problems":
            lines.append(f"{key}: {value}")
    problems = [f"problem: {problem}" for problem in facts["problems"]]
    return [*lines, *(problems or ["no problem was found, and gradients are right"])]
