"""The cost of a board's methods, measured once they have been run."""

from collections.abc import Callable
from typing import Any

from ..boards import Board, Setup
from ..boards.grid import jobs_of
from ..records.results_folder import cost_file
from ..runs.run import Run
from ..system.files import read_json, write_json
from .job import Workspace


def measure_cost(setup: Setup, runs: dict[str, Run], workspace: Workspace) -> dict[str, Any]:
    """The cost record of these runs of a setup, measured in this process."""
    import torch

    from .. import data
    from ..speed import cost
    from ..system.hardware import choose_device

    torch.set_num_threads(1)  # as the runs were trained
    images = data.load(setup.dataset, "train", workspace.data_dir, setup.fraction)
    return cost.measure(runs, choose_device(workspace.device), images)


def measure_costs(
    board: Board,
    workspace: Workspace,
    tell: Callable[[str], None],
    measured: Callable[[Setup, dict[str, Run], Workspace], dict[str, Any]] = measure_cost,
) -> None:
    """Measure the cost of the methods of a setup that have been run, unless all of them are measured."""
    jobs = [job for job in jobs_of(board) if (workspace.results / job.path).exists()]
    for setup in board.setups:
        mine = [(j.label, j.run) for j in jobs if j.setup == setup.name]
        runs = {label: run for label, run in mine if isinstance(run, Run) and run.seed == board.seeds[0]}
        path = cost_file(workspace.results, setup.name)
        known = read_json(path, "cost record")["methods"] if path.exists() else {}
        if "baseline" not in runs or runs.keys() <= known.keys():
            continue
        tell(f"measuring the cost of {len(runs)} methods, interleaved")
        write_json(path, measured(setup, runs, workspace))
