"""Boards: a grid of runs, suites and columns, which defines a leaderboard and how to reproduce it."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, field_validator, model_validator

from .. import recipes
from ..errors import UsageError, one_line
from ..plugins import parse_settings
from ..reference_errors import PUBLISHED
from ..runs.run import Seed, plain
from ..system.toml_files import packaged_toml, read_toml
from . import paper
from .condition_groups import expand
from .metrics import METRICS, MetricName

BY_IMAGE = ("error", "accuracy")
"""Metrics that are a mean over images; the others are one number of a whole test set."""

SEVERITY = re.compile(r"-[1-5](-.*)?$")
"""What follows the type of corruption in the name of a condition."""

FOLDER_NAME = r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?$"
"""Names that become folders: none leads out of its own."""


def is_file_name(label: str) -> bool:
    """Return whether a row's folder of this name could be taken for a file beside it, or is none on Windows."""
    first = label.partition(".")[0].upper()
    return label.endswith((".json", ".")) or first in DEVICES


MOST_RUNS, MOST_CONDITIONS = 100_000, 20_000
"""Sizes of boards beyond which a table is of no use and takes hours to make."""

DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}
"""Names that Windows keeps for devices."""

STRICT = ConfigDict(frozen=True, extra="forbid")


class Entry(BaseModel):
    """A method of the grid, by its name or its file; ``set`` are options other than its defaults and ``overrides``
    values other than the recipe's, ``label`` then names the row. ``paper`` is the row of the paper's tables that it
    stands beside, if that is called otherwise."""

    model_config = STRICT
    name: str
    label: str = Field("", pattern=FOLDER_NAME, max_length=64)
    set: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    paper: str = ""

    @property
    def own(self) -> str:
        """Return the method's name: of a file its stem."""
        return self.name.rsplit("/", 1)[-1].removesuffix(".py")

    @property
    def row(self) -> str:
        """Return the label of the row."""
        return self.label or self.own

    @property
    def printed(self) -> str:
        """Return the name of the paper's row."""
        return self.paper or self.row


class ExternalEntry(BaseModel):
    """A row of its own: a network that was trained elsewhere (see :class:`catchup_bench.runs.run.ExternalNetwork`), in
    one setup. The model is that of the setup for a file of weights."""

    model_config = STRICT
    label: str = Field(pattern=FOLDER_NAME, min_length=1, max_length=64)
    checkpoint: str
    sha256: str = ""
    setup: str = ""
    paper: str = ""
    normalise: str | None = None
    weights: str | None = None

    @property
    def row(self) -> str:
        """Return the label of the row."""
        return self.label

    @property
    def printed(self) -> str:
        """Return the name of the paper's row."""
        return self.paper or self.label


class Setup(BaseModel):
    """What is trained and evaluated: dataset, model, recipe, suites. Columns name it when a board has several.

    ``set`` are options of methods in this set-up alone, such as ``cutmix.alpha=0.2``; a row's own ``set`` comes first.
    """

    model_config = STRICT
    name: str = Field("", pattern=FOLDER_NAME, max_length=64)
    dataset: str
    fraction: float = Field(1.0, gt=0, le=1)
    model: str
    width: int | None = None
    variant: str | None = None
    recipe: str
    overrides: dict[str, Any] = {}
    set: tuple[str, ...] = ()
    suites: tuple[str, ...]

    @model_validator(mode="after")
    def _width_is_said(self) -> Self:
        if (self.width is None) != (":" in self.model):
            raise ValueError("width is needed for a network of this project, and not for one that was not made here")
        return self

    def options_of(self, method: str) -> dict[str, Any]:
        """Return the options that ``set`` gives to ``method``."""
        return parse_settings(self.set).get(method, {})


PrintedColumn = Annotated[paper.Printed | None, PlainValidator(paper.printed_column)]
"""A column of the paper's tables, read by its name; ``None`` for an empty one."""


class Column(BaseModel):
    """The mean error (or accuracy) over conditions of a setup, or the mean of other columns.

    ``conditions`` may name groups, such as ``corruption:noise``, and leave some out (see
    :mod:`catchup_bench.boards.condition_groups`); ``*`` stands for the five severities of a corruption. Metrics
    beside ``error`` and ``accuracy`` are numbers that a suite stores (see :mod:`catchup_bench.boards.metrics`).
    ``paper`` is the column of the paper's tables to stand beside, by its name, such as ``T1.mce``.

    ``relative_to`` makes it an mCE: the mean over types of corruption of 100 times the error divided by that of a
    reference. It is a row of the board, or ``published:alexnet`` for ImageNet-C. Conditions that differ in their
    severity alone are of one type.

    ``source`` is the row on whose network the examples of the column were made: such columns are those of a matrix.
    """

    model_config = STRICT
    name: str
    about: str = ""
    metric: MetricName = "error"
    paper: PrintedColumn = None
    relative_to: str = ""
    source: str = ""
    setup: str = ""
    conditions: tuple[str, ...] = ()
    mean_of: tuple[str, ...] = ()

    @field_validator("conditions")
    @classmethod
    def _expanded(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        return expand(conditions)

    @property
    def types(self) -> dict[str, tuple[str, ...]]:
        """Return the types of corruption, each with its conditions."""
        types: dict[str, tuple[str, ...]] = {}
        for condition in self.conditions:
            name = SEVERITY.sub("", condition)
            types[name] = (*types.get(name, ()), condition)
        return types


class Board(BaseModel):
    """``name`` is that of the file, of its page and of the folder of its records. ``rank`` is the column that orders
    the rows. ``differs`` says, where columns stand beside the paper's, in what this is not its protocol; ``cost_paper``
    is the paper's column of times. ``schedule`` are columns of errors or accuracies after ever longer training, in that
    order: the page says from which on a method is better than the baseline. ``claim`` is the row of which the page says
    whether it relies on more features and has a flatter loss than the others; ``claim_board`` is another board, with
    the same networks, whose answer to that the page shows."""

    model_config = STRICT
    name: str
    title: str
    question: str
    differs: str = ""
    methods: tuple[Entry, ...] = Field(min_length=1)
    loaded: tuple[ExternalEntry, ...] = ()
    seeds: tuple[Seed, ...] = Field(min_length=1)
    rank: str
    set: tuple[str, ...] = ()
    cost_paper: PrintedColumn = None
    claim: str = ""
    claim_board: str = ""
    schedule: tuple[str, ...] = ()
    setups: tuple[Setup, ...] = Field(min_length=1)
    columns: tuple[Column, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Let a method be just its name, and call a setup without a name after its model."""
        if isinstance(values, dict) and all(isinstance(values.get(k, []), list) for k in ("methods", "setups")):
            values = dict(values)
            values["methods"] = [{"name": m} if isinstance(m, str) else m for m in values.get("methods", [])]
            values["setups"] = [
                {"name": f"{s.get('model')}-w{s.get('width')}" if "width" in s else plain(str(s.get("model"))), **s}
                if isinstance(s, dict)
                else s
                for s in values.get("setups", [])
            ]
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [c.name for c in self.columns]
        setups = [s.name for s in self.setups]
        if self.rank not in names:
            raise ValueError(f"rank = {self.rank!r} is not a column: {', '.join(names)}")
        if len({e.row.casefold() for e in self.rows}) < len(self.rows) or len(set(setups)) < len(setups):
            raise ValueError(
                "every method needs its own label, one that differs in more than case, and every setup its own name"
            )
        runs = len(self.methods) * len(self.setups) * len(self.seeds) + len(self.loaded)
        conditions = sum(len(column.conditions) for column in self.columns)
        for count, most, what in (
            (runs, MOST_RUNS, "runs"),
            (conditions, MOST_CONDITIONS, "conditions in its columns"),
        ):
            if count > most:
                raise ValueError(f"it has {count:,} {what}; a board takes at most {most:,}")
        if wrong := [name for name in (*setups, *(e.row for e in self.rows)) if is_file_name(name)]:
            raise ValueError(f"{wrong[0]}: rows and setups are folders beside files such as cost.json")
        if len(set(names)) < len(names) or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("every column needs its own name, and every seed stands once")
        for column in self.columns:
            if bool(column.conditions) == bool(column.mean_of) or not set(column.mean_of) <= set(names) - {column.name}:
                raise ValueError(f"column {column.name!r} needs either conditions or mean_of other columns")
            if any(len(set(parts)) < len(parts) for parts in (column.conditions, column.mean_of)):
                raise ValueError(f"column {column.name!r} names something twice")
            if any(other.mean_of for other in self.columns if other.name in column.mean_of):
                raise ValueError(f"column {column.name!r}: mean_of takes columns of conditions, not means")
            if column.setup and column.setup not in setups:
                raise ValueError(f"column {column.name!r}: no setup {column.setup!r}")
            if not {self.column(n).metric for n in column.mean_of} <= set(BY_IMAGE):
                raise ValueError(f"column {column.name!r}: a mean is of errors and accuracies")
            if any(self.column(n).relative_to for n in column.mean_of):
                raise ValueError(f"column {column.name!r}: a mean is of plain errors, not of relative ones")
            if column.relative_to:
                self._check_reference(column)
            if column.source and (column.metric != "error" or column.source not in self._plain_rows()):
                raise ValueError(
                    f"column {column.name!r}: source = {column.source!r} is no row of a method with its own options, "
                    "or this is no error"
                )
        for setup in self.setups:
            if others := parse_settings(setup.set).keys() - {e.own for e in self.methods}:
                raise ValueError(
                    f"setup {setup.name!r} sets options of {min(others)}, which is no method of this board"
                )
        for entry in self.loaded:
            if entry.setup and entry.setup not in setups:
                raise ValueError(f"{entry.label}: no setup {entry.setup!r}")
        if self.claim and self.claim not in {e.row for e in self.rows}:
            raise ValueError(f"claim = {self.claim!r} is no row of this board")
        if self.claim and not any(METRICS[c.metric].claim for c in self.columns):
            tests = ", ".join(name for name, metric in METRICS.items() if metric.claim)
            raise ValueError(f"claim = {self.claim!r} is tested by no column: it needs a metric such as {tests}")
        if self.claim and self.claim_board:
            raise ValueError("claim_board is for a board that tests no claim itself")
        if self.claim_board and self.claim_board not in available():
            raise ValueError(f"claim_board = {self.claim_board!r} is not one of: {', '.join(available())}")
        if self.column(self.rank).metric not in BY_IMAGE:
            raise ValueError(f"rank = {self.rank!r} has no outcome per image: rank by an error or an accuracy")
        for name in self.schedule:
            if name not in names or self.column(name).metric not in BY_IMAGE:
                raise ValueError(f"schedule: {name!r} is no column of errors or accuracies")
        return self

    def _plain_rows(self) -> frozenset[str]:
        """Return the rows of a method under its own name and with its own options, as examples are made on."""
        plain = [entry for entry in self.methods if entry.row == entry.own and not entry.set]
        return frozenset(e.row for e in plain if not any(setup.options_of(e.own) for setup in self.setups))

    def _check_reference(self, column: Column) -> None:
        """Raise :class:`ValueError` unless errors can be relative to what the column says."""
        named = f"column {column.name!r}: relative_to = {column.relative_to!r}"
        if column.metric != "error" or not column.conditions:
            raise ValueError(f"{named}: only errors over conditions are relative to others")
        if column.relative_to in {e.row for e in self.rows}:
            return
        if column.relative_to not in PUBLISHED:
            raise ValueError(f"{named} is no row of this board and not {', '.join(PUBLISHED)}")
        _, dataset, errors = PUBLISHED[column.relative_to]
        setup = next(s for s in self.setups if s.name == (column.setup or self.setups[0].name))
        if setup.dataset != dataset or not column.types.keys() <= errors.keys():
            raise ValueError(f"{named} has errors on {', '.join(errors)} of {dataset} alone")

    @property
    def rows(self) -> tuple[Entry | ExternalEntry, ...]:
        """Return the rows: methods, then networks that were trained elsewhere."""
        return (*self.methods, *self.loaded)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the options of the suites."""
        return parse_settings(self.set)

    def weights(self, column: Column) -> dict[tuple[str, str], Fraction]:
        """Return what the column is the mean of: (setup, condition) → weight, summing to 1. Of errors that are relative
        to others, these are the weights before the division."""
        if column.conditions:
            setup = column.setup or self.setups[0].name
            if column.relative_to:
                types = column.types
                return {(setup, c): Fraction(1, len(types) * len(own)) for own in types.values() for c in own}
            return dict.fromkeys(((setup, c) for c in column.conditions), Fraction(1, len(column.conditions)))
        total: dict[tuple[str, str], Fraction] = {}
        for name in column.mean_of:
            for key, weight in self.weights(self.column(name)).items():
                total[key] = total.get(key, Fraction(0)) + weight / len(column.mean_of)
        return total

    def column(self, name: str) -> Column:
        """Return the column called ``name``."""
        return next(c for c in self.columns if c.name == name)


QUICK = "-quick"

DEMO = "demo"
"""The board of ``catchup-bench demo``, which is written beside its runs and not published."""


def available() -> list[str]:
    """Return the names of the boards, ``table2`` before ``table10``."""
    return sorted(packaged_toml(__package__), key=lambda name: re.sub(r"\d+", lambda digits: digits[0].zfill(9), name))


def load(name: str, recipe: str | None = None) -> Board:
    """Return the board called ``name``, or the TOML file at that path, with another recipe if one is given.

    ``recipe`` is a name, a TOML file, or ``quick``: then every setup takes the quick variant of its own. The board
    called ``NAME-quick`` is ``NAME`` with quick recipes.
    """
    if recipe is None and name.endswith(QUICK) and name not in available() and name.removesuffix(QUICK) in available():
        name, recipe = name.removesuffix(QUICK), "quick"
    board = parse_board(read_toml(name, "board", __package__), name)
    return board if recipe is None else with_recipe(board, recipe)


def parse_board(values: dict[str, Any], name: str) -> Board:
    """Return the board that a TOML file holds, which has the name of the file. Raises :class:`UsageError`."""
    if "name" in values:
        raise UsageError(f"board {name}: name = {values['name']!r}: a board has the name of its file; leave it out")
    try:
        return Board.model_validate({"name": Path(name).stem if name.endswith(".toml") else name, **values})
    except ValidationError as err:
        raise UsageError(f"board {name}: {one_line(err)}") from None


def with_recipe(board: Board, recipe: str) -> Board:
    """Return ``board`` with another schedule, named in its title, and with records and a page of its own."""
    setups = []
    for setup in board.setups:
        other = setup.recipe.removesuffix("-paper").removesuffix(QUICK) + QUICK if recipe == "quick" else recipe
        if recipe == "quick" and other not in recipes.available():
            raise UsageError(f"--recipe quick: there is no {other}, a short variant of {setup.recipe}: name a recipe")
        if "epochs" in setup.overrides:
            raise UsageError(f"--recipe {recipe}: {board.name} sets the epochs of its recipes itself; copy its file")
        setups.append(setup.model_copy(update={"recipe": other}))
    words = f"recipe {recipe}" if recipe != "quick" else "quick recipes"
    differs = f"{board.differs}; {words}" if board.differs else f"{words} instead of the paper's"
    return board.model_copy(
        update={
            "name": f"{board.name}-{Path(recipe).stem}",
            "title": f"{board.title}, {words}",
            "differs": differs,
            "claim_board": "",  # its networks have the other schedule
            "setups": tuple(setups),
        }
    )
