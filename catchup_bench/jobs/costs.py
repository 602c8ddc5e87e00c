"""The cost of a board's methods, measured once they have been run."""

from collections.abc import Callable
from typing import Any

from ..boards import Setup
from ..records.costs import read_costs
from ..records.results_folder import cost_file
from ..runs.run import ExternalNetwork, Run
from ..system.files import write_json
from .job import BoardWork, Workspace


def measure_cost(setup: Setup, runs: dict[str, Run], workspace: Workspace) -> dict[str, Any]:
    """Measure the cost record of these runs of a setup, in this process."""
    from .. import data
    from ..speed import cost
    from ..system.hardware import choose_device
    from ..system.threads import computing_with

    images = data.load(setup.dataset, "train", workspace.data_dir, setup.fraction)
    with computing_with(workspace.threads or threads_of(next(iter(runs.values())))):  # as the runs were trained
        return cost.measure(runs, choose_device(workspace.device), images, engine=workspace.engine)


def threads_of(run: Run | ExternalNetwork) -> int:
    """Return the number of CPU threads that a run computes with; of a network whose architecture is not said, one."""
    import torch

    from .. import data
    from ..runs.build import build_net
    from ..system.threads import choose_threads

    if run.model is None:
        return 1
    net = build_net(run.model, run.dataset.name, torch.device("cpu"))
    return choose_threads(None, net, data.get(run.dataset.name).size, torch.device("cpu"))


def measure_costs(
    work: BoardWork,
    workspace: Workspace,
    tell: Callable[[str], None],
    measured: Callable[[Setup, dict[str, Run], Workspace], dict[str, Any]] = measure_cost,
) -> None:
    """Measure the cost of the methods of a setup that have been run, unless all of them are measured by now."""
    done = [job for job in work.jobs if (work.results / job.path).exists()]
    for setup in work.board.setups:
        mine = [(j.label, j.run) for j in done if j.setup == setup.name]
        runs = {label: run for label, run in mine if isinstance(run, Run) and run.seed == work.board.seeds[0]}
        path = cost_file(work.results, setup.name)
        if "baseline" not in runs or runs.keys() <= read_costs(path).methods.keys():
            continue
        tell(f"measuring the cost of {len(runs)} methods, interleaved")
        write_json(path, measured(setup, runs, workspace))
