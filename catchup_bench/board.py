"""A board: a grid of runs, suites and columns. It is the definition of a leaderboard and of how to reproduce it."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import UsageError
from .names import parse_settings
from .recipe import one_line, read_toml
from .run import Run

FOLDER = "boards"
STRICT = ConfigDict(frozen=True, extra="forbid")


class Entry(BaseModel):
    """A method of the grid; ``set`` are options other than its defaults, ``label`` then names the row."""

    model_config = STRICT
    name: str
    label: str = Field("", pattern=r"^[A-Za-z0-9_.-]*$", max_length=64)
    set: dict[str, Any] = {}


class Setup(BaseModel):
    """What is trained and evaluated: dataset, model, recipe, suites. Columns name it when a board has several."""

    model_config = STRICT
    name: str = Field("", pattern=r"^[A-Za-z0-9_.-]*$", max_length=64)
    dataset: str
    fraction: float = Field(1.0, gt=0, le=1)
    model: str
    width: int
    variant: str | None = None
    recipe: str
    overrides: dict[str, Any] = {}
    suites: tuple[str, ...]


class Column(BaseModel):
    """The mean error (or accuracy) over conditions of a setup, or the mean of other columns.

    A condition that ends in ``-*`` stands for the five severities of a corruption.
    """

    model_config = STRICT
    name: str
    about: str = ""
    metric: Literal["error", "accuracy"] = "error"
    setup: str = ""
    conditions: tuple[str, ...] = ()
    mean_of: tuple[str, ...] = ()

    @field_validator("conditions")
    @classmethod
    def _severities(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        five = {c: [f"{c[:-1]}{s}" for s in range(1, 6)] if c.endswith("-*") else [c] for c in conditions}
        return tuple(name for c in conditions for name in five[c])


class Job(BaseModel):
    """One cell of the grid: a run, where its record belongs, and what to evaluate."""

    model_config = STRICT
    run: Run
    setup: str
    label: str
    suites: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Below ``results/<board>/``."""
        return Path(self.setup) / self.label / f"seed{self.run.seed}.json"


class Board(BaseModel):
    model_config = STRICT
    title: str
    question: str
    methods: tuple[Entry, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    rank: str
    set: tuple[str, ...] = ()
    setups: tuple[Setup, ...] = Field(min_length=1)
    columns: tuple[Column, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """A method may be just its name; a setup is called after its model."""
        if isinstance(values, dict):
            values = dict(values)
            values["methods"] = [{"name": m} if isinstance(m, str) else m for m in values.get("methods", [])]
            values["setups"] = [
                {"name": f"{s.get('model')}-w{s.get('width')}", **s} if isinstance(s, dict) else s
                for s in values.get("setups", [])
            ]
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [c.name for c in self.columns]
        setups = [s.name for s in self.setups]
        if self.rank not in names:
            raise ValueError(f"rank = {self.rank!r} is not a column: {', '.join(names)}")
        if len({e.label or e.name for e in self.methods}) < len(self.methods) or len(set(setups)) < len(setups):
            raise ValueError("every method needs its own label, and every setup its own name")
        for column in self.columns:
            if bool(column.conditions) == bool(column.mean_of) or not set(column.mean_of) <= set(names) - {column.name}:
                raise ValueError(f"column {column.name!r} needs either conditions or mean_of other columns")
            if column.setup and column.setup not in setups:
                raise ValueError(f"column {column.name!r}: no setup {column.setup!r}")
        return self

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Options of the suites."""
        return parse_settings(self.set)

    def jobs(self) -> Iterator[Job]:
        """All cells of the grid, seed by seed, so that a board cut short has every method."""
        from .plan import make_run

        for setup in self.setups:
            for seed in self.seeds:
                for entry in self.methods:
                    run = make_run(
                        entry.name,
                        setup.dataset,
                        model=setup.model,
                        width=setup.width,
                        variant=setup.variant,
                        recipe_name=setup.recipe,
                        overrides=setup.overrides,
                        fraction=setup.fraction,
                        seed=seed,
                        settings={entry.name: entry.set} if entry.set else {},
                    )
                    yield Job(run=run, setup=setup.name, label=entry.label or entry.name, suites=setup.suites)

    def weights(self, column: Column) -> dict[tuple[str, str], float]:
        """What the column is the mean of: (setup, condition) → weight, summing to 1."""
        if column.conditions:
            setup = column.setup or self.setups[0].name
            return {(setup, c): 1 / len(column.conditions) for c in column.conditions}
        total: dict[tuple[str, str], float] = {}
        for name in column.mean_of:
            for key, weight in self.weights(self.column(name)).items():
                total[key] = total.get(key, 0) + weight / len(column.mean_of)
        return total

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)


def available() -> list[str]:
    return sorted(p.name.removesuffix(".toml") for p in resources.files(__package__).joinpath(FOLDER).iterdir())


def load(name: str) -> Board:
    """The board called ``name``, or the TOML file at that path."""
    try:
        return Board.model_validate(read_toml(name, "board", FOLDER))
    except ValidationError as err:
        raise UsageError(f"board {name}: {one_line(err)}") from None
