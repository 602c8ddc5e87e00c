"""Weights as safetensors with a card in their header, and the state that a run resumes from."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from ..errors import UsageError
from ..system.files import parse_json, write_bytes
from .external import listed, load, read_state_dicts, state_dicts
from .run import Run, parse_run

CARD = "catchup_bench"

COUNTS = "num_batches_tracked"

PICKLED = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files of ``torch.save`` begin: a zip archive, or a pickle."""


def save_tensors(state: dict[str, Tensor], run: Run, path: Path, *, epoch: int) -> None:
    """Write the network's tensors, without what the method keeps in ``extra``; the run and the epoch as the card."""
    tensors = {k: v.contiguous() for k, v in state.items() if not k.startswith("extra.")}
    card = json.dumps({"run": run.model_dump(mode="json"), "epoch": epoch}, sort_keys=True)
    write_bytes(path, to_bytes(tensors, {CARD: card}))  # the library's own writer hides what the disk says


def read_weights(path: Path) -> tuple[dict[str, Tensor], Run]:
    """Return the tensors and the run of a file that we wrote. Raises :class:`UsageError` as :func:`read_file`, and for
    a file that says no run."""
    state_dicts_of, run = read_file(path)
    if run is None:
        raise UsageError(f"{path} does not say what run it is of")
    return state_dicts_of[""], run


def read_file(path: Path) -> tuple[dict[str, dict[str, Tensor]], Run | None]:
    """Return the state dicts in a file, as :func:`.external.state_dicts`, and the run if we wrote it. Raises
    :class:`UsageError` for anything but a whole safetensors file or a PyTorch file of tensors and plain values alone.
    """
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}")
    try:
        with open(path, "rb") as f:
            start = f.read(9)
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}") from None
    # a header of 1,152 bytes begins as a pickle does; but no pickle has a length that fits, and then a bracket
    has_header = start.endswith(b"{") and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8
    if start.startswith(PICKLED) and not has_header:
        return read_state_dicts(path), None
    try:
        with safe_open(path, framework="pt") as f:
            card = (f.metadata() or {}).get(CARD)
        tensors = load_file(path)
    except Exception as err:  # of headers that were made to break it, too
        reason = listed([" ".join(str(err).split())])
        raise UsageError(f"{path} is not a whole safetensors file, nor one of PyTorch: {reason}") from None
    if card is None:
        return state_dicts(tensors), None
    return {"": tensors}, parse_run(_card(card, path).get("run"), path)


def read_card(path: Path) -> dict[str, Any]:
    """Return the card in the header of a file that we wrote: its run and epoch. Raises :class:`UsageError` where there
    is none."""
    try:
        with safe_open(path, framework="pt") as f:
            card = (f.metadata() or {}).get(CARD, "")
    except Exception:
        raise UsageError(f"{path} is not a whole safetensors file") from None
    return _card(card, path)


def num_classes(tensors: dict[str, Tensor]) -> int | None:
    """Return how many classes these weights know, which are fewer than the dataset's where a part of it was trained on;
    ``None`` when the head is not that of our networks. A network that was not made here says it in ``classes``."""
    stated = tensors.get("classes")
    if stated is not None and stated.ndim == 0 and not stated.is_floating_point():
        return int(stated)
    linear = sorted(k for k, v in tensors.items() if k.startswith("head.") and k.endswith(".weight") and v.ndim == 2)
    return len(tensors[linear[-1]]) if linear else None


def state_digest(net: nn.Module, *stated: str) -> str:
    """Return the SHA-256 of the names, kinds and values in the state of ``net``, and of what else is ``stated``."""
    total = hashlib.sha256("".join(stated).encode())
    for name, value in sorted(net.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        total.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _card(text: str, path: Path) -> dict[str, Any]:
    try:
        card = parse_json(text)
    except (ValueError, RecursionError):
        card = None
    if not isinstance(card, dict):
        raise UsageError(f"{path} has a damaged card in its header")
    return card


def load_weights(net: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put ``tensors`` into ``net``; raise :class:`UsageError` listing what does not fit, with nothing put in.

    The constants of the normalisation and BatchNorm's counts of batches may be missing: the network's own then stay.
    """
    if misfit := describe_misfit(net, tensors):
        raise UsageError(f"{path} is of another network than this: {misfit}")
    net.load_state_dict(tensors, strict=False)


def describe_misfit(net: nn.Module, tensors: dict[str, Tensor]) -> str:
    """Return what of ``tensors`` is not as in ``net``, whose own may be on the meta device; nothing when all fit."""
    expected = {k: v for k, v in net.state_dict().items() if not k.startswith("extra.")}
    missing = [k for k in expected if k not in tensors and k not in ("mean", "std") and not k.endswith(COUNTS)]
    unexpected = [k for k in tensors if k not in expected]
    misfits = [k for k in expected if k in tensors and not _fits(tensors[k], expected[k])]
    wrong = [
        f"{len(names)} {how} ({listed(names)})"
        for how, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if misfits:
        k = misfits[0]
        given, wanted = (f"{tuple(t.shape)} of {t.dtype}" for t in (tensors[k], expected[k]))
        example = f"{k} is {given}, not {wanted}"
        wrong.append(f"{len(misfits)} of another shape or kind ({example}{', …' if misfits[1:] else ''})")
    return "; ".join(wrong)


def _fits(given: Tensor, expected: Tensor) -> bool:
    """Return whether both are dense numbers of the same shape; precision may differ."""
    plain = given.layout == torch.strided and given.device.type == "cpu" and not given.is_complex()
    return plain and given.shape == expected.shape and given.is_floating_point() == expected.is_floating_point()


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write what a run resumes from: weights, optimiser, epoch."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the state in ``path``, or ``None`` when there is none; unpickle nothing but tensors and plain values."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = load(path)
    except Exception as err:  # a truncated archive raises many kinds
        raise UsageError(f"{path} cannot be resumed from ({type(err).__name__}): delete it to start over") from None
    if not isinstance(state, dict):
        raise UsageError(f"{path} cannot be resumed from: delete it to start over")
    return state
