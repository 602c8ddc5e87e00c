"""Extensions: the one class that a file defines, its options, and ``--set`` words."""

import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, fields
from importlib import resources
from types import ModuleType
from typing import Any

from .errors import UsageError, pick
from .system.files import shallow


def parse_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``["catchup.alpha=1", "recipe.lr=0.05"]`` → ``{"catchup": {"alpha": 1}, "recipe": {"lr": 0.05}}``.

    Values are TOML; a bare comma list of numbers is a list; what is not TOML is text.
    """
    parsed: dict[str, dict[str, Any]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        owner, dot, field = key.strip().rpartition(".")
        if not equals or not dot or not owner or not field:
            raise UsageError(f"cannot read --set {setting!r}: write owner.key=value, such as catchup.alpha=1")
        parsed.setdefault(owner, {})[field] = parse_value(value.strip())
    return parsed


def parse_value(text: str) -> Any:
    for candidate in (text, f"[{text}]" if "," in text else text):
        try:
            return shallow(tomllib.loads(f"v = {candidate}\n")["v"])
        except (ValueError, RecursionError):
            continue
    return text


def module_names(package: str) -> list[str]:
    found = (p.name for p in resources.files(package).iterdir())
    return sorted(n.removesuffix(".py") for n in found if n.endswith(".py") and not n.startswith("_"))


def only_class(module: ModuleType, base: type, name: str) -> Any:
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


def complete_options(cls: type[Any], dataset: str | None, given: dict[str, Any], owner: str) -> dict[str, Any]:
    """All fields of a method or suite: its defaults, those for ``dataset``, then what was ``given``.

    Raises :class:`UsageError` for an unknown key or a value of another type or range.
    """
    known = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
    values = known | dict(getattr(cls, "defaults", {}).get(dataset, {}))
    for key, value in given.items():
        pick(f"option of {owner}", key, known)
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
