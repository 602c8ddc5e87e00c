"""External weights, in the files that PyTorch users keep: the state dicts in them, and their names as they are here.

Only tensors and plain values are read; a pickle with anything else in it is refused.
"""

import mmap
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..models.keys import translate

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network", "student", "module")
"""Where training scripts put the weights beside the epoch and the optimiser."""

AVERAGED = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "ema_model", "net_ema", "teacher", "shadow")
"""Where they put an exponential moving average of the weights, or before which names."""

RAW = "raw"
"""What the weights are called that stand beside averaged ones under no name of their own."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and ``torch.compile`` put before every name."""

PREFIX = re.compile(r"(?:module|_orig_mod|model|net|backbone|encoder|student|\d+)\.")
"""What DataParallel, ``torch.compile``, other wrappers and ``nn.Sequential`` put before every name."""

AVERAGED_PREFIX = re.compile(rf"(?:module\.|_orig_mod\.)*({'|'.join(AVERAGED)})\.")

CONSTANTS = re.compile(r"(?:normali[sz]e|normali[sz]er|normali[sz]ation|norm)\.(mean|std)$")
"""How a layer before the network calls its constants."""

DEPTH = 4
"""How many keys may lead to a state dict."""

COUNTERS = ("n_averaged",)
"""Tensors of ``torch.optim.swa_utils.AveragedModel`` that are no weights."""

GROWING = (b"\nbytearray\n", b"_codecs\nencode\n")
"""How pickles name the calls that torch allows and that can make gigabytes out of a hundred bytes."""


def load(path: Path) -> Any:
    """Return what ``torch.save`` wrote, if it is nothing but tensors and plain values; let the errors of the library,
    and those below it, pass otherwise. In memory it is no larger than the file: PyTorch does not compress."""
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if any(content.find(call) >= 0 for call in GROWING):
            raise pickle.UnpicklingError("bytes made by a call")
        if content[:2] == b"PK":
            inside = zipfile.ZipFile(f).infolist()
            if any(i.compress_type for i in inside) or sum(i.file_size for i in inside) > len(content):
                raise zipfile.BadZipFile("compressed, or parts of it used twice")
    return torch.load(path, map_location="cpu", weights_only=True)


def read_state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts in a file of ``torch.save``, as :func:`state_dicts`. Raises :class:`UsageError` when there
    is more in it than tensors and plain values, when it is damaged, and when it holds no state dict."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about archives that are refused anyway
            value = load(path)
    except pickle.UnpicklingError:
        raise UsageError(
            f"{path} is a pickle of more than tensors and plain values, which can run code when it is read: "
            "save the network's state_dict() alone, or convert it to safetensors"
        ) from None
    except Exception as err:  # a damaged archive raises many kinds
        raise UsageError(f"{path} is not a whole PyTorch file ({type(err).__name__}): save or copy it again") from None
    by_name = state_dicts(value)
    if not by_name:
        raise UsageError(f"{path} holds no state dict but {_contents(value)}: save the network's state_dict()")
    return by_name


def state_dicts(value: Any) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts in ``value`` by the keys that lead to them, joined by dots: ``""`` for ``value`` itself,
    ``model.state_dict``. Names that begin with one of ``AVERAGED`` are a state dict of their own."""
    return dict(_search(value, (), {}))


def _search(
    value: Any, path: tuple[str, ...], seen: dict[int, dict[str, dict[str, Tensor]]]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the state dicts in ``value``, at most ``DEPTH`` keys deep. A pickle may contain a dictionary twice, or in
    itself: what is ``seen``, by its id, is not searched again, but a state dict has every name that leads to it."""
    if not isinstance(value, Mapping) or not value or len(path) > DEPTH:
        return
    known = id(value) in seen
    groups = seen.setdefault(id(value), {} if known else _group(value))
    for group, tensors in groups.items():
        yield ".".join(filter(None, (*path, group))) or (RAW if len(groups) > 1 else ""), tensors
    if not known and not groups:
        for key, inside in value.items():
            if isinstance(key, str):
                yield from _search(inside, (*path, key), seen)


def _group(value: Mapping[Any, Any]) -> dict[str, dict[str, Tensor]]:
    """Return ``value`` by which of ``AVERAGED`` its names begin with, ``""`` for none; empty if it is no state dict."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in value.items():
        if not isinstance(key, str) or type(tensor) not in (Tensor, torch.nn.Parameter):
            return {}
        if key not in COUNTERS:
            prefix = AVERAGED_PREFIX.match(key)
            group = groups.setdefault(prefix[1] if prefix else "", {})
            rest = key[prefix.end() :] if prefix else key
            group[key if rest in group else rest] = tensor.detach()
    return groups


def _contents(value: Any) -> str:
    """Return what is in a file that holds no state dict."""
    for key in CONTAINERS:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping) and value[key] is not value:
            value = value[key]
    if not isinstance(value, Mapping):
        return type(value).__name__
    other = [k for k, v in value.items() if not isinstance(k, str) or type(v) not in (Tensor, torch.nn.Parameter)]
    return f"{listed(other)}, which are no tensors" if other else "nothing"


def choose_state_dict(names: Mapping[str, Any], wanted: str | None, path: Path) -> tuple[str, list[str]]:
    """Return which of the state dicts ``names`` to take, and which others a training script keeps beside it.

    It is ``wanted``, or else the first of ``CONTAINERS``, or else of ``AVERAGED``. Raises :class:`UsageError` for a
    ``wanted`` that is not there, and when none of the usual names is there.
    """
    usual = sorted((name for name in names if _rank(name) is not None), key=lambda name: _rank(name) or ())
    if wanted is not None:
        if wanted not in names:
            there = listed([name or RAW for name in names])
            raise UsageError(f"{path} has no weights under {listed([wanted])}: --weights takes one of {there}")
        return wanted, [name for name in usual if name != wanted]
    if not usual:
        raise UsageError(
            f"{path} holds no state dict alone or under one of {', '.join((*CONTAINERS, *AVERAGED))}, but under "
            f"{listed(list(names))}: say which with --weights"
        )
    return usual[0], usual[1:]


def _rank(name: str) -> tuple[int, ...] | None:
    """Return what to sort the names of state dicts by; ``None`` for an unusual one."""
    order = ("", RAW, *CONTAINERS, *AVERAGED)
    parts = name.split(".")
    if any(part not in order for part in parts):
        return None
    return (int(any(part in AVERAGED for part in parts)), *(order.index(part) for part in parts))


def rename(tensors: Mapping[str, Tensor], table: Mapping[str, str], path: Path) -> dict[str, Tensor]:
    """Return ``tensors`` without the prefixes of wrappers, and with the names that ``table`` leads to.

    Raises :class:`UsageError` when two of them come to the same name.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = key
        while prefix := PREFIX.match(name):
            name = name[prefix.end() :]
        constants = CONSTANTS.fullmatch(name)
        name = constants[1] if constants else translate(name, table)
        if name in renamed:
            raise UsageError(f"{path} has two tensors for {listed([name])}: keep the one that is meant")
        renamed[name] = value
    return renamed


def listed(names: list[Any]) -> str:
    """Return the first few of ``names``, on one line whatever they contain."""
    shown = [n if isinstance(n, str) and n.isprintable() else ascii(n) for n in names[:3]]
    return ", ".join(n[:80] for n in shown) + (", …" if len(names) > 3 else "")
