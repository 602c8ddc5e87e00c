"""Run what is missing of a board: choose the jobs, have an executor do them, measure costs, write the pages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..boards import Board, load
from ..boards.grid import Job, jobs_of
from ..errors import RunFailed
from ..leaderboard.pages import make_pages
from ..leaderboard.table import Table
from . import selection
from .costs import known_costs, measure_costs
from .executor import Executor
from .job import BoardProgress, Workspace, has_failed, missing_jobs


@dataclass(frozen=True)
class BoardWork:
    """What is to be done for a board: the ``todo`` jobs, and those that failed before and are not tried again."""

    name: str
    recipe: str | None
    board: Board
    workspace: Workspace
    todo: list[Job]
    failed: list[Job] = field(default_factory=list)


@dataclass(frozen=True)
class BoardResult:
    """What became of it: the table that the records give, the pages written, the jobs for which no time was left, and
    the error to raise once all of that has been shown."""

    table: Table
    files: list[Path]
    left: list[Job]
    failure: RunFailed | None


def find_work(
    name: str,
    workspace: Workspace,
    *,
    recipe: str | None = None,
    choices: Sequence[str] = (),
    share: str = "1/1",
    retry_failed: bool = False,
) -> BoardWork:
    """Find the chosen jobs of the board called ``name`` that have no complete record.

    Raises :class:`UsageError` for an unknown board, choice or share.
    """
    board = load(name, recipe)
    missing = missing_jobs(board, workspace, selection.parse(board, choices, share).of(jobs_of(board)))
    failed = [] if retry_failed else [job for job in missing if has_failed(workspace, job)]
    todo = longest_first([job for job in missing if job not in failed], workspace)
    return BoardWork(name, recipe, board, workspace, todo, failed)


def longest_first(jobs: list[Job], workspace: Workspace) -> list[Job]:
    """Order jobs by their cost, as far as it was measured before, within each setup and seed: the last job to end then
    keeps the others waiting for the shortest time."""
    costs = {setup: known_costs(workspace, setup) for setup in {job.setup for job in jobs}}
    groups = list(dict.fromkeys((job.setup, job.run.seed) for job in jobs))
    return sorted(
        jobs,
        key=lambda job: (groups.index((job.setup, job.run.seed)), -costs[job.setup].get(job.label, 1.0)),
    )


def run_board(work: BoardWork, executor: Executor, progress: BoardProgress, until: float | None = None) -> BoardResult:
    """Have ``executor`` do the work, then measure costs if no job is left, and write the board's pages."""
    if work.failed:
        progress.say(f"{len(work.failed)} runs have failed before; --retry-failed tries them again")
    failure: RunFailed | None = None
    left: list[Job] = []
    try:
        left = executor.run(work.board, work.workspace, work.todo, progress=progress, until=until)
    except RunFailed as err:
        failure = err  # the page says which run failed
    if not left:
        measure_costs(work.board, work.workspace, progress.say, executor.measure_cost)
    pages = make_pages(work.workspace.root, work.name, work.recipe)
    return BoardResult(pages.tables[work.workspace.board], pages.write(), left, failure)
