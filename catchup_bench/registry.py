"""Names of methods → their files and classes. The only module that knows where methods live.

The folder is the registry: a file in ``methods/`` is a method, a file in ``suites/`` a suite. Third parties give a
path (``./mine.py``) or an entry point of the group ``catchup_bench.methods``.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata, resources
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .errors import UsageError, pick
from .method_files import Outline, outline
from .plugins import module_names, only_class
from .system.files import file_digest

if TYPE_CHECKING:
    from .method import Method


GROUP = "catchup_bench.methods"


def methods() -> list[str]:
    """Return the names of all methods, without importing any."""
    return sorted({*module_names(GROUP), *entry_points()})


@cache
def entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the methods of installed packages, by name; read once, as that takes as long as hundreds of runs."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def is_file(name: str) -> bool:
    """Return whether a method is named by its path."""
    return name.endswith(".py")


def method_class(name: str) -> "type[Method]":
    """Import the method called ``name``, or the one in the Python file at that path."""
    from .method import Method

    if is_file(name):
        module = _load_file(Path(name))
    else:
        pick("method", name, methods())
        path = f"{GROUP}.{name}" if name in module_names(GROUP) else entry_points()[name].module
        with importing(path):
            module = importlib.import_module(path)
    return only_class(module, Method, name)


def method_outline(name: str) -> type[Outline]:
    """Return what can be known of the method called ``name``, or of the one in the file at that path, without running
    it: see :mod:`catchup_bench.method_files`."""
    return outline(method_file(name))


def method_file(name: str) -> Path:
    """Return the file that defines a method, without importing it or a package that it is in."""
    if is_file(name):
        return Path(name)
    pick("method", name, methods())
    if name in module_names(GROUP):
        return Path(str(resources.files(GROUP).joinpath(f"{name}.py")))
    module = entry_points()[name].module
    first, *rest = module.split(".")
    spec = importlib.util.find_spec(first)
    for part in rest:
        spec = spec and PathFinder.find_spec(part, spec.submodule_search_locations or [])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UsageError(f"method {name}: its package says that it is in {module}, which is no Python file here")
    return Path(spec.origin)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"no method file at {path}")
    spec = importlib.util.spec_from_file_location(f"_method_file_{path.stem}_{file_digest(path)[:12]}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    with importing(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def importing(what: Path | str) -> Iterator[None]:
    """Raise :class:`UsageError` naming the module for whatever running it raises, ``SystemExit`` included."""
    try:
        yield
    except (KeyboardInterrupt, UsageError):
        raise
    except SyntaxError as err:
        raise UsageError(f"{what}, line {err.lineno}: not valid Python: {err.msg}") from None
    except BaseException as err:
        raise UsageError(f"{what} failed at import: {type(err).__name__}: {' '.join(str(err).split())}") from None


def builtin_digest(name: str) -> str | None:
    """Return the SHA-256 of the file of the built-in method called ``name``, read without importing it; ``None`` if
    there is none."""
    if name not in module_names(GROUP):
        return None
    return hashlib.sha256(resources.files(GROUP).joinpath(f"{name}.py").read_bytes()).hexdigest()
