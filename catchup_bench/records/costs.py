"""Read the cost of a setup's methods: ``cost.json`` beside its records."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UsageError, one_line
from ..system.files import read_json


class Cost(BaseModel):
    """The time of a training step of a method, relative to the baseline's."""

    model_config = ConfigDict(frozen=True)
    ratio: float = Field(allow_inf_nan=False)


class CostRecord(BaseModel):
    """The costs by the label of a row, as :func:`catchup_bench.speed.cost.measure` gives them, and on what machine."""

    model_config = ConfigDict(frozen=True)
    methods: dict[str, Cost]
    provenance: dict[str, Any] = {}

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
