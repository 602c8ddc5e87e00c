"""Names of groups of conditions that a column may use instead of listing them, resolved without importing a suite.

``corruption:noise`` stands for the corruptions of that group at all five severities, ``corruption:noise-3`` at one of
them. What follows is kept: ``corruption:all19-n2000``, ``corruption:common15-official``, ``deformation:all-black``.
``corruption-bar:all`` is the same for the ten of CIFAR-10-C-bar, ``corruption-bar:imagenet`` of ImageNet-C-bar.
A ``!`` before a name or a group leaves its conditions out: ``["corruption:all19", "!frost-*"]``.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from ..errors import pick

SEVERITIES = ("1", "2", "3", "4", "5")

DEFORMATIONS = {
    "rotation": ("rotation-20", "rotation-40"),
    "shear": ("shear-28.6", "shear-57.2"),
    "zoom": ("zoom-60", "zoom-80", "zoom-120", "zoom-140"),
}

BAR = (
    "blue_noise_sample",
    "brownish_noise",
    "checkerboard_cutout",
    "inverse_sparkles",
    "sparkles",
    "lines",
    "pinch_and_twirl",
    "ripple",
    "circular_motion_blur",
    "transverse_chromatic_abberation",
)

BAR_IMAGENET = (
    "blue_noise_sample",
    "brownish_noise",
    "caustic_refraction",
    "checkerboard_cutout",
    "cocentric_sine_waves",
    "inverse_sparkles",
    "perlin_noise",
    "plasma_noise",
    "single_frequency_greyscale",
    "sparkles",
)


@cache
def groups() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Return the members of every group by suite; those of ``corruption`` are the groups of ``severities.toml``."""
    # read as a file: importing its package imports torch
    path = resources.files("catchup_bench") / "corruptions" / "severities.toml"
    named: dict[str, tuple[str, ...]] = {}
    for name, entry in tomllib.loads(path.read_text(encoding="utf-8"))["corruptions"].items():
        for group in (entry["group"], "all19", *(["common15"] if entry["group"] != "extra" else [])):
            named[group] = (*named.get(group, ()), name)
    every = tuple(name for members in DEFORMATIONS.values() for name in members)
    bar = {group: tuple(f"bar-{name}" for name in names) for group, names in (("all", BAR), ("imagenet", BAR_IMAGENET))}
    return {"corruption": named, "corruption-bar": bar, "deformation": {**DEFORMATIONS, "all": every}}


def expand(conditions: Iterable[str]) -> tuple[str, ...]:
    """Return the names of single conditions that ``conditions`` stand for, in their order.

    ``*`` stands for the five severities. Raises :class:`UsageError` for an unknown group, and :class:`ValueError` when
    something is left out that was not there.
    """
    names: list[str] = []
    for condition in conditions:
        if not condition.startswith("!"):
            names += _expand_one(condition)
            continue
        out = set(_expand_one(condition[1:]))
        if not out <= set(names):
            raise ValueError(f"{condition}: nothing before it has {', '.join(sorted(out - set(names)))}")
        names = [name for name in names if name not in out]
    return tuple(names)


def _expand_one(condition: str) -> list[str]:
    suite, colon, rest = condition.partition(":")
    if colon:
        group, dash, suffix = rest.partition("-")
        of_suite = groups()[pick("suite with groups", suite, groups())]
        members = of_suite[pick(f"group of {suite}", group, of_suite)]
        if suite.startswith("corruption") and not re.match(r"[1-5*](-|$)", suffix):
            dash, suffix = "-*", dash + suffix
        patterns = [f"{member}{dash}{suffix}" for member in members]
    else:
        patterns = [condition]
    return [pattern.replace("*", s) for pattern in patterns for s in (SEVERITIES if "*" in pattern else ("",))]
