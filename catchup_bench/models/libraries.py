"""Networks that were not made here: of timm, of torchvision, or of a function in a Python file."""

import difflib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import UsageError, one_line_of
from ..registry import importing
from ..system.files import file_digest

WITHOUT_AUXILIARY = ("googlenet", "inception_v3")
"""Networks of torchvision that have several outputs in training unless told otherwise."""


def make_network(name: str, num_classes: int | None, file: str | None = None) -> nn.Module:
    """Return a fresh network for ``name``: ``timm:NAME``, ``torchvision:NAME``, or ``STEM:FUNCTION`` of ``file``, which
    is run. With ``num_classes`` outputs, or as many as its library gives it.

    Raises :class:`UsageError` for a library that is not installed, an unknown name, and whatever a function raises.
    """
    library, _, own = name.partition(":")
    if file is not None:
        return _of_file(Path(file), own, num_classes)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if library == "timm":
        timm = import_timm()
        _known(name, own, timm.is_model(own), timm.list_models())
        make = timm.create_model
    else:
        from torchvision import models

        names = models.list_models(module=models)
        _known(name, own, own in names, names)
        options |= {"aux_logits": False, "init_weights": True} if own in WITHOUT_AUXILIARY else {}
        make = models.get_model
    try:
        net: nn.Module = make(own, **options)
    except Exception as err:  # of a library, which may raise anything
        raise UsageError(f"{name} cannot be made: {one_line_of(err)}") from None
    return net


def import_timm() -> Any:
    """Import timm. Raises :class:`UsageError` where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what torch deprecates
            import timm
    except ImportError:
        raise UsageError("timm:NAME needs timm: pip install 'catchup-bench[timm]'") from None
    return timm


def _known(name: str, own: str, known: bool, names: Iterable[str]) -> None:
    if not known:
        near = difflib.get_close_matches(own, names, n=3, cutoff=0.5)
        raise UsageError(f"unknown model {name}" + (f": did you mean {' or '.join(near)}?" if near else ""))


def _of_file(path: Path, function: str, num_classes: int | None) -> nn.Module:
    what = f"{path}:{function}"
    build = getattr(_load(path), function, None)
    if not callable(build):
        raise UsageError(f"{path} has no function {function}: --model takes FILE.py:FUNCTION, which returns a network")
    try:
        takes = [*inspect.signature(build).parameters]
    except (TypeError, ValueError):
        takes = []
    given = {"num_classes": num_classes} if "num_classes" in takes and num_classes is not None else {}
    try:
        net = build(**given)
    except Exception as err:  # somebody else's function may raise anything
        raise UsageError(f"{what} failed: {one_line_of(err)}") from None
    if not isinstance(net, nn.Module):
        raise UsageError(f"{what} must return a torch.nn.Module; it returns {type(net).__name__}")
    return net


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"no file at {path}: --model takes FILE.py:FUNCTION, such as ./net.py:build")
    name = f"_network_file_{path.stem}_{file_digest(path)[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with importing(path):
        spec.loader.exec_module(module)
    return module
