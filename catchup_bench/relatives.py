"""Which test corruptions a method has trained on relatives of, with its options."""

from collections.abc import Mapping
from typing import Any

Relatives = Mapping[str, tuple[str, ...]]
"""Option that has to be on, or ``""`` for any options → corruptions of CIFAR-C."""


def related(relatives: Relatives, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the corruptions in ``relatives`` with these options, each once."""
    named = (names for option, names in relatives.items() if not option or options.get(option))
    return tuple(dict.fromkeys(name for names in named for name in names))


def relatives_text(relatives: Relatives) -> str:
    """Return the corruptions, with the options that it takes."""
    return "; ".join(", ".join(names) + f" (with {option})" * bool(option) for option, names in relatives.items())
