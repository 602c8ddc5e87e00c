"""The run that a file describes: a record, the ``run.json`` of a run's folder, or that folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..runs.folder import RunFolder
from ..runs.run import Run, parse_run
from ..system.files import read_json
from .record import parse_record


@dataclass(frozen=True)
class DescribedRun:
    """A run, and what is known of how it was ``training``: hardware, threads, precision, versions, data."""

    run: Run
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def threads(self) -> int | None:
        """Return the CPU threads of its training, as far as they are known; another number gives other weights."""
        threads = self.training.get("threads")
        on_cpu = "cores" in str(self.training.get("device", ""))
        return threads if type(threads) is int and 1 <= threads <= 256 and on_cpu else None

    def changes(self, now: dict[str, Any]) -> list[str]:
        """Return what is another than in a training ``now`` and may change its bits, as ``name before → after``."""

        def shown(facts: dict[str, Any]) -> dict[str, str]:
            versions = facts.get("versions")
            kept = {k: facts[k] for k in ("device", "precision", "threads") if k in facts}
            kept |= {k: v for k, v in versions.items() if k in ("torch", "numpy")} if isinstance(versions, dict) else {}
            return {k: str(v) for k, v in kept.items()} | {"engine": str(facts.get("engine", "eager"))}

        before, after = shown(self.training), shown(now)
        return [f"{k} {before[k]} → {after[k]}" for k in before if k in after and before[k] != after[k]]


def read_described(path: Path) -> DescribedRun:
    """Read the run that ``path`` describes. Raises :class:`UsageError` for anything else, and for the record of a
    network that was not trained here."""
    if path.is_dir():
        path = RunFolder(path).description
    values = read_json(path, "record or run.json")
    if not isinstance(values, dict) or "outcomes" not in values:
        run = parse_run(values, path)
        beside = RunFolder(path.parent).training
        facts = read_json(beside, "training summary") if beside.exists() else {}
        return DescribedRun(run, facts if isinstance(facts, dict) else {})
    record = parse_record(values, path)
    if record.run is None:
        raise UsageError(f"{path} is the record of a network that was not trained here: there is nothing to repeat")
    return DescribedRun(record.run, record.training)
