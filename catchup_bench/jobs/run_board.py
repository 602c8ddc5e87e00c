"""Run what is missing of a board: choose the jobs, have an executor do them, measure costs, write the pages."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..boards import Board
from ..boards.grid import Job, jobs_of
from ..errors import RunFailed
from ..leaderboard.pages import make_pages
from ..leaderboard.table import Table, make_table
from ..records.costs import read_costs
from ..records.results_folder import cost_file
from ..runs.run import Run
from .costs import measure_costs
from .executor import Executor
from .job import BoardProgress, Workspace, has_failed, missing_jobs
from .selection import ALL, Selection


@dataclass(frozen=True)
class BoardWork:
    """What is to be done for a board: of all its ``jobs`` those ``todo``, and those that failed before and are not
    tried again."""

    board: Board
    workspace: Workspace
    jobs: list[Job]
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
    board: Board, workspace: Workspace, selection: Selection = ALL, *, retry_failed: bool = False
) -> BoardWork:
    """Find the selected jobs of ``board`` that have no complete record."""
    jobs = list(jobs_of(board))
    missing = missing_jobs(board, workspace, selection.of(jobs))
    failed = [] if retry_failed else [job for job in missing if has_failed(workspace, job)]
    todo = longest_first([job for job in missing if job not in failed], workspace)
    return BoardWork(board, workspace, jobs, todo, failed)


def longest_first(jobs: list[Job], workspace: Workspace) -> list[Job]:
    """Order jobs by their cost, as far as it was measured before, within each setup and seed: the last job to end then
    keeps the others waiting for the shortest time."""
    costs = measured_costs(jobs, workspace)
    groups = list(dict.fromkeys((job.setup, job.run.seed) for job in jobs))
    return sorted(
        jobs,
        key=lambda job: (groups.index((job.setup, job.run.seed)), -costs[job.setup].get(job.label, 1.0)),
    )


def measured_costs(jobs: Iterable[Job], workspace: Workspace) -> dict[str, dict[str, float]]:
    """Return, by setup and label, the costs that were measured before, relative to the baseline's."""
    return {setup: read_costs(cost_file(workspace.results, setup)).ratios for setup in {job.setup for job in jobs}}


def job_sizes(work: BoardWork) -> dict[str, float]:
    """Return, by the name of each job to do, how much work it is relative to the others: its images, times the measured
    cost of its method."""
    costs = {
        setup.name: read_costs(cost_file(work.workspace.results, setup.name)).ratios for setup in work.board.setups
    }
    sizes = {}
    for job in work.todo:
        sizes[job.name] = costs[job.setup].get(job.label, 1.0)
        if isinstance(job.run, Run):
            sizes[job.name] *= job.run.dataset.fraction * job.run.recipe.epochs
    return sizes


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
        measure_costs(work.board, work.jobs, work.workspace, progress.say, executor.measure_cost)
    table = make_table(work.board, work.workspace.results)
    pages = make_pages(work.workspace.root, {work.board.name: table})
    return BoardResult(table, pages.write(), left, failure)
