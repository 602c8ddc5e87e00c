"""Name → method, suite, dataset, model, recipe, board. The only module that knows where methods live.

The folder is the registry: a file in ``methods/`` is a method, a file in ``suites/`` a suite. Third parties give a
path (``./mine.py``) or an entry point of the group ``catchup_bench.methods``.
"""

import hashlib
import importlib.util
import sys
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .errors import UsageError, pick
from .plugins import module_names, only_class
from .system.files import file_digest

if TYPE_CHECKING:
    from .method import Method


GROUP = "catchup_bench.methods"


def methods() -> list[str]:
    """Names of all methods, without importing any."""
    return sorted(
        {*module_names("catchup_bench.methods"), *(point.name for point in metadata.entry_points(group=GROUP))}
    )


def is_file(name: str) -> bool:
    """Whether a method is named by its path."""
    return name.endswith(".py")


def method_class(name: str) -> "type[Method]":
    """The method called ``name``, or the one in the Python file at that path."""
    from .method import Method

    if is_file(name):
        return only_class(_load_file(Path(name)), Method, name)
    pick("method", name, methods())
    for point in metadata.entry_points(group=GROUP):
        if point.name == name and name not in module_names(GROUP):
            return only_class(importlib.import_module(point.module), Method, name)
    return only_class(importlib.import_module(f"{GROUP}.{name}"), Method, name)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"no method file at {path}")
    spec = importlib.util.spec_from_file_location(f"_method_file_{path.stem}_{file_digest(path)[:12]}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except SyntaxError as err:
        raise UsageError(f"{path}, line {err.lineno}: not valid Python: {err.msg}") from None
    except BaseException as err:  # a stranger's file may raise anything, SystemExit included
        if isinstance(err, KeyboardInterrupt):
            raise
        raise UsageError(f"{path} failed at import: {type(err).__name__}: {' '.join(str(err).split())}") from None
    return module


def source_digest(name: str) -> str:
    """SHA-256 of the file that defines a method."""
    return file_digest(Path(sys.modules[method_class(name).__module__].__file__ or ""))


def builtin_digest(name: str) -> str | None:
    """SHA-256 of the file of the built-in method called ``name``, read without importing it; ``None`` if there is
    none."""
    if name not in module_names(GROUP):
        return None
    return hashlib.sha256(resources.files(GROUP).joinpath(f"{name}.py").read_bytes()).hexdigest()
