"""What a board asks of a record in it: the run, every condition of its columns in the board's protocol, and that what
is stated of the training is what the recipe says."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import boards
from ..boards import Board, Setup
from ..boards.grid import Job, job_digest, jobs_of
from ..records.costs import CostRecord
from ..records.record import Record, as_json
from ..runs.run import ExternalNetwork, Run
from ..suites import make_suites, resolve_suites
from ..text import printable

BASELINE = "baseline"
"""Label of the row that costs are relative to."""

Protocols = dict[str, tuple[str, Any]]
"""Condition → its suite and protocol."""


@dataclass(frozen=True)
class BoardGrid:
    """A board, its jobs by the places of their records below its folder, and what each setup's columns need."""

    name: str
    board: Board
    jobs: dict[Path, Job] = field(default_factory=dict)
    protocols: dict[str, Protocols] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> "BoardGrid":
        """Read the board called ``name``. Raises :class:`UsageError` as :func:`catchup_bench.boards.load`."""
        board = boards.load(name)
        jobs = {job.path: job for job in jobs_of(board)}
        return cls(name, board, jobs, {s.name: needed_protocols(board, s) for s in board.setups})

    def problems(self, record: Record, place: Path) -> Iterator[str]:
        """Yield what is wrong with ``record`` at ``place``, a path below the board's folder."""
        job = self.jobs.get(place)
        if job is None:
            yield f"board {self.name} has no such job: its rows, setups and seeds are in {self.name}.toml"
        elif job_digest(record) != job.run.digest:
            yield f"it is of run {record.digest}; this job of board {self.name} is run {job.run.digest}"
        else:
            yield from off_protocol(record, self.protocols[job.setup])
            yield from of_another_training(record)

    def asked(self, record: Record, place: Path, data_dir: Path | None) -> set[str]:
        """Return the conditions of ``record`` that the board asks for, in its own protocol."""
        job = self.jobs[place]
        own = make_suites(job.suites, self.board.settings)
        allowed = dict(self.protocols[job.setup])
        for suites in (own, resolve_suites(own, job.run.dataset.name, data_dir)):
            for name, suite in suites.items():
                allowed |= {c: (name, as_json(suite.protocol(c))) for c in suite.conditions()}
        return {c for c, o in record.outcomes.items() if allowed.get(c) == (o.suite, o.protocol)}

    def cost_problems(self, cost: CostRecord, setup: str) -> Iterator[str]:
        """Yield what a cost record beside the records of ``setup`` states that the board does not say."""
        runs = {job.label: job.run for job in self.jobs.values() if job.setup == setup and isinstance(job.run, Run)}
        if not runs:
            yield f"board {self.name} has no setup {printable(setup)} with methods"
            return
        if others := cost.methods.keys() - runs.keys():
            yield f"{min(others)} is no row of board {self.name}"
        base = cost.methods.get(BASELINE)
        if base is None or {base.low, base.ratio, base.high} != {1}:
            yield f"its {BASELINE} is not at 1, which the others are relative to"
        first = next(iter(runs.values()))
        stated = {"model": first.model.label, "batch_size": first.recipe.batch_size}
        for name, value in stated.items():
            if getattr(cost, name) != value:
                yield f"its {name} is {printable(getattr(cost, name))}, the board's is {value}"
        for name in ("baseline_seconds_per_step", "image_size", "rounds", "steps_per_plan_and_round"):
            if not getattr(cost, name):
                yield f"it does not say its {name}"
        if not {"device", "date"} <= cost.provenance.keys():
            yield "it does not say when and on what device it was measured"


def needed_protocols(board: Board, setup: Setup) -> Protocols:
    """Return the suite and protocol of every condition of ``setup`` that a column of the board needs."""
    suites = make_suites(setup.suites, board.settings)
    needed = {c for column in board.columns for name, c in board.weights(column) if name == setup.name}
    known = {
        condition: (name, as_json(suite.protocol(condition)))
        for name, suite in suites.items()
        for condition in suite.conditions()
        if condition in needed
    }
    return known | dict.fromkeys(needed - known.keys(), ("", None))


def off_protocol(record: Record, protocols: Protocols) -> Iterator[str]:
    """Yield the conditions that are missing, or were evaluated in another way than ``protocols`` says."""
    if missing := sorted(protocols.keys() - record.outcomes.keys()):
        yield (
            f"{len(missing)} of {len(protocols)} conditions of its board are missing, such as {missing[0]}: evaluate "
            "the run again, or take its row's seed from the board"
        )
    for condition in sorted(protocols.keys() & record.outcomes.keys()):
        outcome, (suite, protocol) = record.outcomes[condition], protocols[condition]
        if not suite:  # a name that a suite gives only where certain files are
            continue
        if outcome.suite != suite:
            yield f"{condition} is of suite {suite}, not {outcome.suite}"
        if outcome.protocol != protocol:
            yield f"{condition} was evaluated with {printable(outcome.protocol)}, not {protocol}"


def of_another_training(record: Record) -> Iterator[str]:
    """Yield what is stated of the weights that the run's recipe does not say."""
    if isinstance(record.source, ExternalNetwork):
        return
    recipe, training, checkpoint = record.source.recipe, record.training, record.checkpoint
    for what, epochs in (("checkpoint", checkpoint.get("epoch")), ("training", training.get("epochs"))):
        if epochs != recipe.epochs:
            yield f"its {what} is of {printable(epochs)} epochs, its recipe of {recipe.epochs}"
    for what, stated in (("checkpoint", checkpoint.get("sha256")), ("training images", training.get("train_sha256"))):
        if not stated:
            yield f"it does not say the SHA-256 of its {what}"
    if recipe.precision != "auto" and training.get("precision") != recipe.precision:
        yield f"it was trained in {printable(training.get('precision'))}, its recipe says {recipe.precision}"


def unlike_others(every: Mapping[Path, Record]) -> Iterator[tuple[Path, str]]:
    """Yield the records of one setup of a board whose test images, or their number, or whose training images are not
    those of most: the latter of the records of the same seed."""
    images = Counter(record.test_sha256 for record in every.values()).most_common(1)[0][0]
    counts: dict[str, Counter[int]] = {}
    trained: dict[int, Counter[Any]] = {}
    for record in every.values():
        for condition, outcome in record.outcomes.items():
            counts.setdefault(condition, Counter())[outcome.n] += 1
        if record.run is not None:
            trained.setdefault(record.run.seed, Counter())[record.training.get("train_sha256")] += 1
    usual = {condition: count.most_common(1)[0][0] for condition, count in counts.items()}
    for path, record in every.items():
        if record.test_sha256 != images:
            yield path, f"its test images are {record.test_sha256}; those of most records beside it are {images}"
        if record.run is not None:
            most, mine = trained[record.run.seed].most_common(1)[0][0], record.training.get("train_sha256")
            if mine != most:
                yield path, f"its training images are {mine}; those of most records of its seed are {most}"
        for condition, outcome in record.outcomes.items():
            if outcome.n != (n := usual[condition]):
                yield path, f"{condition} is of {outcome.n} images; that of most records beside it is of {n}"


def shared_weights(every: Iterable[tuple[Path, Record]]) -> Iterator[tuple[Path, str]]:
    """Yield the records of a board that state a checkpoint which another one states, too."""
    first: dict[str, Path] = {}
    for path, record in every:
        digest = record.checkpoint.get("sha256")
        if digest and first.setdefault(digest, path) != path:
            other = "/".join(first[digest].parts[-3:])
            yield path, f"its checkpoint is that of {other}: every run has weights of its own"
