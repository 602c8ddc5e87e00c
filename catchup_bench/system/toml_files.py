"""TOML files: those that a package carries, by name, and any other by path."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import UsageError, pick
from .files import read_limited, shallow


def packaged_toml(package: str) -> list[str]:
    """Return the names of the TOML files in ``package``, sorted, without their suffix."""
    names = (p.name for p in resources.files(package).iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_toml(name: str, kind: str, package: str) -> dict[str, Any]:
    """Read the TOML file called ``name`` in ``package``, or the one at that path if it ends in ``.toml``.

    Raises :class:`UsageError` naming ``kind`` and ``name`` when there is none or it is not TOML.
    """
    try:
        if name.endswith(".toml"):
            return dict(shallow(tomllib.loads(read_limited(Path(name)))))
        pick(kind, name, packaged_toml(package))
        return tomllib.loads(resources.files(package).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise UsageError(f"{kind} {name} is not valid TOML: {err}") from None
    except OSError as err:
        raise UsageError(f"cannot read {kind} {name}: {err.strerror}") from None
