"""Weights as safetensors with a card in their header, and the state that a run resumes from.

A stranger's pickle is never opened.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .errors import UsageError
from .files import write_atomic
from .run import Run, parse

CARD = "catchup_bench"


def save_tensors(state: dict[str, Tensor], run: Run, path: Path, *, epoch: int) -> None:
    """The network's tensors, without what the method keeps in ``extra``; the run and the epoch as the card."""
    tensors = {k: v.contiguous() for k, v in state.items() if not k.startswith("extra.")}
    card = json.dumps({"run": run.model_dump(mode="json"), "epoch": epoch}, sort_keys=True)
    write_atomic(path, lambda p: save_file(tensors, p, metadata={CARD: card}))


def read_weights(path: Path) -> tuple[dict[str, Tensor], Run | None]:
    """Tensors and, if we wrote the file, the run they come from. Raises :class:`UsageError` for anything but a
    whole safetensors file; a pickle is refused unopened."""
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}")
    with open(path, "rb") as f:
        start = f.read(9)
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise UsageError(f"{path} is a pickle, which can run code when it is opened: convert it to safetensors")
    try:
        with safe_open(path, framework="pt") as f:
            card = (f.metadata() or {}).get(CARD)
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as err:
        raise UsageError(f"{path} is not a whole safetensors file: {err}") from None
    return tensors, None if card is None else parse(_card(card, path).get("run"), path)


def _card(text: str, path: Path) -> dict[str, Any]:
    try:
        card = json.loads(text)
    except (ValueError, RecursionError):
        card = None
    if not isinstance(card, dict):
        raise UsageError(f"{path} has a damaged card in its header")
    return card


def load_weights(net: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put ``tensors`` into ``net``; :class:`UsageError` naming what does not fit."""
    own = {k: v.shape for k, v in net.state_dict().items() if not k.startswith("extra.")}
    wrong = [f"missing {k}" for k in own.keys() - tensors.keys()]
    wrong += [f"unexpected {k}" for k in tensors.keys() - own.keys()]
    misfits = {k: tensors[k].shape for k in own.keys() & tensors.keys() if tensors[k].shape != own[k]}
    wrong += [f"{k} is {tuple(s)}, not {tuple(own[k])}" for k, s in misfits.items()]
    if wrong:
        raise UsageError(f"{path} is of another network: {'; '.join(sorted(wrong)[:3])} ({len(wrong)} differences)")
    net.load_state_dict(tensors, strict=False)


def save_state(state: dict[str, Any], path: Path) -> None:
    """What a run resumes from: weights, optimiser, epoch."""
    write_atomic(path, lambda p: torch.save(state, p))


def read_state(path: Path) -> dict[str, Any] | None:
    """The state in ``path``, or ``None`` when there is none; never unpickles anything but tensors and plain values."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # a truncated archive raises many kinds
        raise UsageError(f"{path} cannot be resumed from ({type(err).__name__}): delete it to start over") from None
    return state
