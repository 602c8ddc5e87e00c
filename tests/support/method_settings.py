"""What tests of all methods need to know of single ones, in one table; a method without an entry has the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from catchup_bench import registry

NO_BRANCHES = dict.fromkeys(("densenet121", "vgg11"), "residual blocks")

NO_POOLING = {"vgg11": "one linear layer"}


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """What is particular to a method.

    ``refuses`` are the networks that it cannot be used with, and the words that say so; ``skips_last_stage`` is true of
    a method whose deepest plan is not the network's last stage. ``engines`` says whether its steps are captured in the
    tests, and resumed after an interruption: one method of each kind of step is, as that takes seconds for each.
    ``plans`` is the least number of plans that two epochs capture. ``compiled`` says when its compiled steps are
    tested: of the methods of level "input" those with several views or terms in a pass, as the others pass through as
    the baseline does.
    """

    refuses: Mapping[str, str] = field(default_factory=dict)
    skips_last_stage: bool = False
    engines: bool = False
    resumed: bool = False
    plans: int = 1
    compiled: Literal["always", "slow", "never"] | None = None


SETTINGS = {
    "adautomix": MethodSettings(refuses=NO_POOLING),
    "alignmixup": MethodSettings(refuses=NO_POOLING, engines=True, plans=3),
    "augmix": MethodSettings(compiled="slow"),
    "baseline": MethodSettings(engines=True, resumed=True, compiled="always"),
    "catchup": MethodSettings(engines=True, resumed=True, plans=3, compiled="always"),
    "cutmix": MethodSettings(engines=True),
    "manifold": MethodSettings(skips_last_stage=True, engines=True, plans=3),
    "nfm": MethodSettings(skips_last_stage=True),
    "noisymix": MethodSettings(skips_last_stage=True),
    "recursivemix": MethodSettings(refuses=NO_POOLING, engines=True, resumed=True, compiled="always"),
    "regmixup": MethodSettings(compiled="slow"),
    "shakedrop": MethodSettings(refuses=NO_BRANCHES),
    "snapmix": MethodSettings(refuses=NO_POOLING),
    "stochdepth": MethodSettings(refuses=NO_BRANCHES, engines=True, resumed=True),
    "sumix": MethodSettings(refuses=NO_POOLING),
}


def settings_of(name: str) -> MethodSettings:
    return SETTINGS.get(name, MethodSettings())


def captured_methods() -> list[str]:
    """The methods whose steps are captured in the tests."""
    return [name for name in registry.methods() if settings_of(name).engines]


def resumed_methods() -> list[str]:
    """The methods that are interrupted and resumed."""
    return [name for name in registry.methods() if settings_of(name).resumed]


def compiled_methods() -> list[Any]:
    """The methods whose steps are compiled, the slow ones marked."""

    def when(name: str) -> str:
        return settings_of(name).compiled or ("never" if registry.method_class(name).level == "input" else "slow")

    marks = {"always": (), "slow": (pytest.mark.slow,)}
    return [pytest.param(name, marks=marks[when(name)]) for name in registry.methods() if when(name) in marks]
