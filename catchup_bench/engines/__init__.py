"""How training steps and evaluation passes are run: eagerly, compiled, or captured as CUDA graphs."""

import torch

from ..errors import UsageError
from ..system.hardware import ENGINES


def choose_engine(name: str, device: torch.device, processes: int = 1, captures: bool | None = None) -> str:
    """Choose how training steps and the passes of an evaluation are run.

    ``eager``; ``compile``, steps with torch.compile and passes eagerly; ``graphs``, both captured once for each plan or
    shape of batch; ``compile+graphs``, compiled steps that are captured. ``auto`` is ``eager`` on a CPU and for several
    processes; elsewhere it remains ``auto``: captured where that is possible, and eager otherwise. ``captures`` says
    whether anything captures on the device, by default CUDA alone does.
    """
    captures = device.type == "cuda" if captures is None else captures
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}: it is one of: {', '.join(ENGINES)}")
    if name.endswith("graphs") and not captures:
        raise UsageError(f"--engine {name} captures CUDA graphs, and this is a CPU: use --engine eager")
    if name.endswith("graphs") and processes > 1:
        raise UsageError(f"--engine {name} captures the steps of one process, not of several: use --engine eager")
    return "eager" if name == "auto" and (not captures or processes > 1) else name
