"""How strong each corruption is, for an image size: the published tables of ``severities.toml``."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

Parameters = tuple[float, ...]


@cache
def tables() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("severities.toml").read_text(encoding="utf-8"))


def parameter_set(size: int) -> str:
    """Which published set serves images whose shorter side has ``size`` pixels."""
    return "cifar" if size < 48 else "tiny" if size < 128 else "imagenet"


def parameters(name: str, size: int) -> tuple[Parameters, ...]:
    """The parameters of severities 1 to 5; ``severities.toml`` names them.

    Elastic lengths are published as fractions of the image side, so they follow ``size``; all others are as printed.
    """
    chosen = parameter_set(size)
    rows = tuple(tuple(row) for row in tables()["corruptions"][name][chosen])
    if name != "elastic_transform":
        return rows
    scale = size / tables()["native_size"][chosen]
    return tuple(tuple(length * scale for length in row) for row in rows)


def frost_scale(size: int) -> float:
    """The factor by which frost pictures are shrunk for images of ``size`` pixels."""
    return float(tables()["frost_scale"][parameter_set(size)])
