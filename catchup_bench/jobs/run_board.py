"""Run what is missing of a board: choose the jobs, have an executor do them, measure costs, write the pages."""

from dataclasses import dataclass
from pathlib import Path

from ..boards import Board
from ..boards.grid import Job, jobs_of
from ..errors import RunFailed
from ..leaderboard.pages import make_pages
from ..leaderboard.table import Table, make_table
from ..records.costs import read_costs
from ..records.results_folder import board_folder, cost_file, failed_digest
from ..runs.run import Run
from .costs import measure_costs
from .executor import Executor
from .job import BoardProgress, BoardWork, Workspace, missing_jobs
from .selection import ALL, Selection


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
    results = board_folder(workspace.root, board.name)
    costs = {setup.name: read_costs(cost_file(results, setup.name)).ratios for setup in board.setups}
    missing = missing_jobs(board, workspace, selection.of(jobs))
    failed = [] if retry_failed else [job for job in missing if failed_digest(results / job.path) == job.run.digest]
    todo = longest_first([job for job in missing if job not in failed], costs)
    return BoardWork(board, results, jobs, todo, failed, costs)


def longest_first(jobs: list[Job], costs: dict[str, dict[str, float]]) -> list[Job]:
    """Order jobs by their ``costs``, as far as they were measured before, within each setup and seed: the last job to
    end then keeps the others waiting for the shortest time."""
    groups = list(dict.fromkeys((job.setup, job.run.seed) for job in jobs))
    return sorted(
        jobs,
        key=lambda job: (groups.index((job.setup, job.run.seed)), -costs[job.setup].get(job.label, 1.0)),
    )


def job_sizes(work: BoardWork) -> dict[str, float]:
    """Return, by the name of each job to do, how much work it is relative to the others: its images, times the measured
    cost of its method."""
    sizes = {}
    for job in work.todo:
        sizes[job.name] = work.costs[job.setup].get(job.label, 1.0)
        if isinstance(job.run, Run):
            sizes[job.name] *= job.run.dataset.fraction * job.run.recipe.epochs
    return sizes


def run_board(
    work: BoardWork, workspace: Workspace, executor: Executor, progress: BoardProgress, until: float | None = None
) -> BoardResult:
    """Have ``executor`` do the work, then measure costs if no job is left, and write the board's pages."""
    if work.failed:
        progress.say(f"{len(work.failed)} runs have failed before; --retry-failed tries them again")
    failure: RunFailed | None = None
    left: list[Job] = []
    try:
        left = executor.run(work.board, workspace, work.todo, progress=progress, until=until)
    except RunFailed as err:
        failure = err  # the page says which run failed
    if not left:
        measure_costs(work, workspace, progress.say, executor.measure_cost)
    table = make_table(work.board, work.results)
    pages = make_pages(workspace.root, {work.board.name: table})
    return BoardResult(table, pages.write(), left, failure)
