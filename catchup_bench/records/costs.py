"""Read the cost of a setup's methods: ``cost.json`` beside its records."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from ..errors import UsageError, one_line
from ..system.files import read_json
from . import facts

LEAST, MOST = 0.1, 10_000
"""Ratios that a measurement can give: every method has a forward and a backward pass, as the baseline has."""

Ratio = Annotated[float, Field(ge=LEAST, le=MOST)]


class Cost(facts.Facts):
    """The time of a training step of a method, relative to the baseline's: median and quartiles over rounds."""

    ratio: Ratio
    low: Ratio | None = None
    high: Ratio | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not (self.low or self.ratio) <= self.ratio <= (self.high or self.ratio):
            raise ValueError("the ratio must lie between its quartiles")
        return self


class CostRecord(facts.Facts):
    """The costs by the label of a row, as :func:`catchup_bench.speed.cost.measure` gives them, and on what machine."""

    methods: dict[facts.Word, Cost]
    baseline_seconds_per_step: Annotated[float, Field(gt=0)] | None = None
    batch_size: facts.Count | None = None
    image_size: facts.Count | None = None
    model: facts.Text | None = None
    rounds: facts.Count | None = None
    steps_per_plan_and_round: facts.Count | None = None
    engine: facts.Word | None = None
    engines: dict[facts.Word, facts.Word] = {}
    eager_plans: dict[facts.Word, dict[facts.Text, facts.Text]] = {}
    provenance: Annotated[dict[str, Any], AfterValidator(facts.of(facts.Stamp))] = {}

    @property
    def ratios(self) -> dict[str, float]:
        """Return the relative time of a step by label."""
        return {label: cost.ratio for label, cost in self.methods.items()}


NO_COSTS = CostRecord(methods={})


def read_costs(path: Path) -> CostRecord:
    """Return the cost record in ``path``, an empty one where there is no file. Raises :class:`UsageError` for another
    file."""
    if not path.exists():
        return NO_COSTS
    try:
        return CostRecord.model_validate(read_json(path, "cost record"))
    except ValidationError as err:
        raise UsageError(
            f"{path} is not a cost record: {one_line(err)}; delete it, and leaderboard run measures again"
        ) from None
