"""The jobs of a board: each method of its rows, in each of its setups, for each seed."""

import weakref
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

from .. import data, registry
from ..errors import UsageError, one_line
from ..records.record import Record
from ..records.results_folder import record_path
from ..runs.make import make_run, model_spec
from ..runs.run import ZOO, DatasetSpec, ExternalNetwork, Run
from . import STRICT, Board, Entry, ExternalEntry, Setup


class Job(BaseModel):
    """A run of the grid, where its record belongs, and what to evaluate."""

    model_config = STRICT
    run: Run | ExternalNetwork
    setup: str
    label: str
    suites: tuple[str, ...]
    only_setup: bool = False
    """Whether the board has no other setup."""

    @property
    def name(self) -> str:
        """Return what a display calls it: its row and seed, after its setup where the board has several."""
        name = f"{self.label} seed {self.run.seed}"
        return name if self.only_setup else f"{self.setup} {name}"

    @property
    def path(self) -> Path:
        """Return where the record belongs, below the board's folder."""
        return record_path(Path(), self.setup, self.label, self.run.seed)


_grids: dict[int, tuple[Job, ...]] = {}
"""Those of the boards that exist, by identity: a board has dictionaries in it, so it has no hash."""


def jobs_of(board: Board) -> Iterator[Job]:
    """Return all jobs of the grid, seed by seed, so that a board cut short has every method. They are made once for
    each board, without running a file of a method."""
    if id(board) not in _grids:
        _grids[id(board)] = tuple(make_jobs(board))
        weakref.finalize(board, _grids.pop, id(board), None)
    return iter(_grids[id(board)])


def make_jobs(board: Board) -> Iterator[Job]:
    only = len(board.setups) == 1
    for setup in board.setups:
        runs = {entry.row: make_board_run(setup, entry, board.seeds[0]) for entry in board.methods}
        for seed in board.seeds:
            for label, run in runs.items():
                own = run.model_copy(update={"seed": seed})
                yield Job(run=own, setup=setup.name, label=label, suites=setup.suites, only_setup=only)
    for external in board.loaded:
        yield external_job(board, external)


def make_board_run(setup: Setup, entry: Entry, seed: int) -> Run:
    options = {**setup.options_of(entry.own), **entry.set}
    return make_run(
        entry.name,
        setup.dataset,
        model=setup.model,
        width=setup.width,
        variant=setup.variant,
        recipe_name=setup.recipe,
        overrides={**setup.overrides, **entry.overrides},
        fraction=setup.fraction,
        seed=seed,
        settings={entry.own: options} if options else {},
    )


def external_job(board: Board, entry: ExternalEntry) -> Job:
    """Return the job of a row whose network was trained elsewhere. Raises :class:`UsageError` when a file of weights is
    not pinned by its SHA-256."""
    setup = next(s for s in board.setups if s.name == (entry.setup or board.setups[0].name))
    of_file = not entry.checkpoint.startswith(ZOO)
    model = model_spec(setup.model, setup.width, setup.variant, data.get(setup.dataset)) if of_file else None
    try:
        network = ExternalNetwork(
            checkpoint=entry.checkpoint,
            sha256=entry.sha256,
            dataset=DatasetSpec(name=setup.dataset, fraction=1.0),
            model=model,
            normalise=entry.normalise,
            weights=entry.weights,
        )
    except ValidationError as err:
        raise UsageError(f"{entry.label}: {one_line(err)}") from None
    only = len(board.setups) == 1
    return Job(run=network, setup=setup.name, label=entry.row, suites=setup.suites, only_setup=only)


def job_digest(record: Record) -> str:
    """Return the digest under which a record belongs to a grid: its own, or, when its method came as a file that is by
    now a built-in method to the byte, that of the same run of the built-in method."""
    run = record.run
    if run is None or run.method.sha256 is None or run.method.sha256 != registry.builtin_digest(run.method.name):
        return record.digest
    builtin = run.method.model_copy(update={"file": None, "sha256": None})
    return run.model_copy(update={"method": builtin}).digest
