"""Settings of other benchmarks for methods that this one has too, so that a number of theirs is repeated by one
command: network, recipe and options of each method, beside the accuracy that they print."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UsageError, one_line, pick
from ..system.toml_files import packaged_toml, read_toml


class MethodPreset(BaseModel):
    """``set`` are options of the method, ``printed`` top-1 test accuracies in percent by the number of epochs, and
    ``differs`` in what the method is another one here.

    Of a method that is put on top of another, its option ``base``, ``base`` are what differs with that one: the first
    where none is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    set: dict[str, Any] = {}
    printed: dict[int, float] = {}
    differs: str = ""
    base: dict[str, "MethodPreset"] = {}


class Preset(BaseModel):
    """A TOML file of this folder. ``reported`` says which accuracy of a run is printed: that of its last epoch, or the
    median of its last ten."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    source: str
    differs: str
    dataset: str
    model: str
    width: int
    variant: str | None = None
    recipe: str
    overrides: dict[str, Any] = {}
    reported: Literal["last", "median of the last 10"] = "last"
    methods: dict[str, MethodPreset] = Field(min_length=1)


def available() -> list[str]:
    """Return the names of the presets, sorted."""
    return packaged_toml(__package__)


def load(name: str) -> Preset:
    """Load the preset called ``name``, or the TOML file at that path. Raises :class:`UsageError` for what is none."""
    try:
        return Preset.model_validate(read_toml(name, "preset", __package__))
    except ValidationError as err:
        raise UsageError(f"preset {name}: {one_line(err)}") from None


def preset_for(
    name: str, method: str, options: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Preset, MethodPreset]:
    """Return a preset and what it says of ``method`` with the ``options`` that are asked for. Raises
    :class:`UsageError` when it says nothing of it."""
    preset = load(name)
    found = preset.methods[pick(f"method of preset {name}", method, preset.methods)]
    if not found.base:
        return preset, found
    base = pick(f"{method}.base of preset {name}", str(options.get("base", next(iter(found.base)))), found.base)
    own = found.base[base]
    differs = "; ".join(filter(None, (found.differs, own.differs)))
    return preset, own.model_copy(update={"set": {"base": base, **found.set, **own.set}, "differs": differs})


def reported_accuracy(preset: Preset, errors: list[float]) -> float | None:
    """Return the accuracy in percent that the other benchmark would print, from the test ``errors`` of the last epochs
    in order; ``None`` where there are too few."""
    if preset.reported == "last":
        return 100 - errors[-1] if errors else None
    if len(errors) < 10:
        return None
    middle = sorted(errors[-10:])[4:6]
    return 100 - sum(middle) / 2


def compared(name: str, preset: Preset, of_method: MethodPreset, metrics: list[dict[str, Any]]) -> str:
    """Return the line that sets the accuracy of a run, of whose epochs ``metrics`` are, beside the printed one."""
    epochs = len(metrics)
    looked = [line["test_error"] for line in metrics[-10:] if "test_error" in line]
    ours = reported_accuracy(preset, looked)
    shown = "not measured: set recipe.looks to the number of epochs" if ours is None else f"{ours:.2f} %"
    printed = of_method.printed.get(epochs)
    theirs = f"{name} prints {printed:.2f} %" if printed is not None else f"{name} prints nothing for {epochs} epochs"
    return f"test accuracy, {preset.reported} epoch{'s' if preset.reported != 'last' else ''}: {shown}; {theirs}"
