"""Settings of other benchmarks for methods that this one has too, so that a number of theirs is repeated by one
command: network, recipe and options of each method, beside the accuracy that they print."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UsageError, one_line, pick
from ..system.toml_files import packaged_toml, read_toml


class MethodPreset(BaseModel):
    """``set`` are options of the method, ``printed`` top-1 test accuracies in percent by the number of epochs, and
    ``differs`` in what the method is another one here."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    set: dict[str, Any] = {}
    printed: dict[int, float] = {}
    differs: str = ""


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


def preset_for(name: str, method: str) -> tuple[Preset, MethodPreset]:
    """Return a preset and what it says of ``method``. Raises :class:`UsageError` when it says nothing of it."""
    preset = load(name)
    return preset, preset.methods[pick(f"method of preset {name}", method, preset.methods)]


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
