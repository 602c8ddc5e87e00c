"""How training steps and evaluation passes are run: eagerly, compiled, or captured as CUDA graphs."""

import torch

from ..errors import UsageError


def choose_engine(name: str, device: torch.device, processes: int = 1) -> str:
    """How training steps and the passes of an evaluation are run: ``eager``; ``compile``, steps with torch.compile and
    passes eagerly; or ``graphs``, captured once for each plan or shape of batch. ``auto`` is ``eager``."""
    if name not in ("auto", "eager", "compile", "graphs"):
        raise UsageError(f"unknown engine {name!r}: it is one of: auto, eager, compile, graphs")
    if name == "graphs" and device.type != "cuda":
        raise UsageError("--engine graphs captures CUDA graphs, and this is a CPU: use --engine eager")
    if name == "graphs" and processes > 1:
        raise UsageError("--engine graphs captures the steps of one process, not of several: use --engine eager")
    return "eager" if name == "auto" else name
