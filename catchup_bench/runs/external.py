"""Weights that others trained, in the files that PyTorch users keep: unwrapped, and named as they are here.

Only tensors and plain values are read; a pickle with anything else in it is refused.
"""

import mmap
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..models.keys import translate

CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
"""Where training scripts put the weights beside the epoch and the optimiser."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, ``torch.compile`` and wrappers put before every name."""

GROWING = (b"\nbytearray\n", b"_codecs\nencode\n")
"""How pickles name the calls that torch allows and that can make gigabytes out of a hundred bytes."""


def load(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is nothing but tensors and plain values; the library's errors and those below
    it otherwise. In memory it is no larger than the file: PyTorch does not compress."""
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if any(content.find(call) >= 0 for call in GROWING):
            raise pickle.UnpicklingError("bytes made by a call")
        if content[:2] == b"PK":
            inside = zipfile.ZipFile(f).infolist()
            if any(i.compress_type for i in inside) or sum(i.file_size for i in inside) > len(content):
                raise zipfile.BadZipFile("compressed, or parts of it used twice")
    return torch.load(path, map_location="cpu", weights_only=True)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of ``torch.save``. Raises :class:`UsageError` when there is more in it than tensors and
    plain values, when it is damaged, and when it holds no state dict."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about archives that are refused anyway
            value = load(path)
    except pickle.UnpicklingError:
        raise UsageError(
            f"{path} is a pickle of more than tensors and plain values, which can run code when it is opened: "
            "save the network's state_dict() alone, or convert it to safetensors"
        ) from None
    except Exception as err:  # a damaged archive raises many kinds
        raise UsageError(f"{path} is not a whole PyTorch file ({type(err).__name__}): save or copy it again") from None
    return unwrap(value, path)


def unwrap(value: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in ``value``: itself, or what one of ``CONTAINERS`` holds."""
    for _ in CONTAINERS:  # a pickled dictionary may contain itself
        inside = [value[k] for k in CONTAINERS if isinstance(value, Mapping) and isinstance(value.get(k), Mapping)]
        value = inside[0] if inside else value
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{path} holds no state dict but {type(value).__name__}: save the network's state_dict()")
    other = [k for k, v in value.items() if not isinstance(k, str) or type(v) not in (Tensor, torch.nn.Parameter)]
    if other:
        raise UsageError(
            f"{path} holds no state dict: {listed(other)} is no tensor; "
            f"it may lie alone or under one of: {', '.join(CONTAINERS)}"
        )
    return {k: v.detach() for k, v in value.items()}


def rename(tensors: Mapping[str, Tensor], table: Mapping[str, str], path: Path) -> dict[str, Tensor]:
    """``tensors`` without the prefixes of wrappers, and torchvision's names led to ours by ``table``.

    Raises :class:`UsageError` when two of them come to the same name.
    """
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = key
        while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
            name = name.removeprefix(prefix)
        name = translate(name, table)
        if name in found:
            raise UsageError(f"{path} has two tensors for {listed([name])}: keep the one that is meant")
        found[name] = value
    return found


def listed(names: list[Any]) -> str:
    """The first few of ``names``, on one line whatever they contain."""
    shown = [n if isinstance(n, str) and n.isprintable() else ascii(n) for n in names[:3]]
    return ", ".join(n[:80] for n in shown) + (", …" if len(names) > 3 else "")
