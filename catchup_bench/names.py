"""Names that people type: look-up with a suggestion, and ``key=value`` settings."""

import difflib
import tomllib
from collections.abc import Iterable
from typing import Any

from .errors import UsageError
from .files import shallow


def pick(kind: str, name: str, known: Iterable[str]) -> str:
    """``name`` if it is known; :class:`UsageError` with a suggestion and the allowed values otherwise."""
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"unknown {kind} {name!r}: {hint}It is one of: {', '.join(names)}")


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
