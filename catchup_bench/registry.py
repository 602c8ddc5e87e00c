"""Name → method, suite, dataset, model, recipe, board. The only module that knows where methods live.

The folder is the registry: a file in ``methods/`` is a method, a file in ``suites/`` a suite. Third parties give a
path (``./mine.py``) or an entry point of the group ``catchup_bench.methods``.
"""

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import MISSING, fields
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import names
from .errors import UsageError

if TYPE_CHECKING:
    from .method import Method
    from .suites import Suite

GROUP = "catchup_bench.methods"


def methods() -> list[str]:
    """Names of all methods, without importing any."""
    return sorted({*_files("catchup_bench.methods"), *(point.name for point in metadata.entry_points(group=GROUP))})


def suites() -> list[str]:
    return _files("catchup_bench.suites")


def _files(package: str) -> list[str]:
    found = (p.name for p in resources.files(package).iterdir())
    return sorted(n.removesuffix(".py") for n in found if n.endswith(".py") and not n.startswith("_"))


def is_file(name: str) -> bool:
    """Whether a method is named by its path."""
    return name.endswith(".py")


def method_class(name: str) -> "type[Method]":
    """The method called ``name``, or the one in the Python file at that path."""
    from .method import Method

    if is_file(name):
        return _only(_load_file(Path(name)), Method, name)
    names.pick("method", name, methods())
    for point in metadata.entry_points(group=GROUP):
        if point.name == name and name not in _files(GROUP):
            return _only(importlib.import_module(point.module), Method, name)
    return _only(importlib.import_module(f"{GROUP}.{name}"), Method, name)


def suite_class(name: str) -> "type[Suite]":
    from .suites import Suite

    names.pick("suite", name, suites())
    return _only(importlib.import_module(f"catchup_bench.suites.{name}"), Suite, name)


def _only(module: ModuleType, base: type, name: str) -> Any:
    """The one public subclass of ``base`` that ``module`` defines."""
    found = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]
    if len(found) != 1:
        raise UsageError(f"{name} must define exactly one public {base.__name__} class; it defines {len(found)}")
    return found[0]


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


def file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}") from None


def source_digest(name: str) -> str:
    """SHA-256 of the file that defines a method."""
    return file_digest(Path(sys.modules[method_class(name).__module__].__file__ or ""))


def builtin_digest(name: str) -> str | None:
    """SHA-256 of the file of the built-in method called ``name``, read without importing it; ``None`` if there is
    none."""
    if name not in _files(GROUP):
        return None
    return hashlib.sha256(resources.files(GROUP).joinpath(f"{name}.py").read_bytes()).hexdigest()


def options(
    cls: "type[Method] | type[Suite]", dataset: str | None, given: dict[str, Any], owner: str
) -> dict[str, Any]:
    """All fields of a method or suite: its defaults, those for ``dataset``, then what was ``given``.

    Raises :class:`UsageError` for an unknown key or a value of another type or range.
    """
    known = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
    values = known | dict(getattr(cls, "defaults", {}).get(dataset, {}))
    for key, value in given.items():
        names.pick(f"option of {owner}", key, known)
        values[key] = _like(known[key], value, f"{owner}.{key}")
    try:
        cls(**values)
    except Exception as err:  # a stranger's class may raise anything
        raise UsageError(f"{owner}: {err}") from None
    return values


def _like(default: Any, value: Any, name: str) -> Any:
    """``value`` in the type of ``default``; numbers stand for tuples of one number."""
    if isinstance(default, tuple):
        items = tuple(value) if isinstance(value, list | tuple) else (value,)
        return tuple(_like(default[0] if default else 0, item, name) for item in items)
    if isinstance(default, bool) != isinstance(value, bool) and default is not None:
        raise UsageError(f"{name} = {value!r}: it takes {_takes(default)}")
    if isinstance(value, int | float) and not -1e300 <= value <= 1e300:  # nor infinite, nor not a number
        raise UsageError(f"{name}: it takes {_takes(default)} of an ordinary size")
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if default is not None and not isinstance(value, type(default)):
        raise UsageError(f"{name} = {value!r}: it takes {_takes(default)}")
    return value


def _takes(default: Any) -> str:
    if isinstance(default, bool):
        return "true or false"
    return {int: "a whole number", float: "a number"}.get(type(default), "text")
