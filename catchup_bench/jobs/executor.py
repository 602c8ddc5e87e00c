"""Executors of a board's jobs: this machine, a Ray cluster, Slurm, or anything else with these two methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..boards import Board, Setup
from ..boards.grid import Job
from ..runs.folder import RunFolder
from ..runs.run import Run
from .job import BoardProgress, Workspace
from .ray_cluster import Cluster
from .slurm import Slurm


class Executor(Protocol):
    """Does jobs and measures costs; records are written as the jobs end."""

    def run(
        self, board: Board, workspace: Workspace, todo: Sequence[Job], *, progress: BoardProgress, until: float | None
    ) -> list[Job]:
        """Do ``todo``; return the jobs that are left when the clock passes ``until`` (seconds since the epoch). Raises
        :class:`RunFailed`, after all others are done, when a job fails."""

    def measure_cost(self, setup: Setup, runs: dict[str, Run], workspace: Workspace) -> dict[str, Any]:
        """Return the cost record of these runs of a setup."""


@dataclass(frozen=True)
class LocalExecutor:
    """Runs side by side in processes of this machine; ``workers`` is as for
    :func:`catchup_bench.jobs.local.run_locally`."""

    workers: int | Literal["auto"] | None = None

    def run(
        self, board: Board, workspace: Workspace, todo: Sequence[Job], *, progress: BoardProgress, until: float | None
    ) -> list[Job]:
        from ..runs.pretrained import check_pretrained
        from .local import run_locally

        unfinished = [job.run for job in todo if not RunFolder(workspace.runs / job.run.folder).finished]
        check_pretrained([run for run in unfinished if isinstance(run, Run)], workspace.data_dir)
        return run_locally(board, workspace, todo, workers=self.workers, progress=progress, until=until)

    def measure_cost(self, setup: Setup, runs: dict[str, Run], workspace: Workspace) -> dict[str, Any]:
        from .costs import measure_cost

        return measure_cost(setup, runs, workspace)


@dataclass(frozen=True)
class RayExecutor:
    """Tasks of the Ray cluster that is connected (see :func:`catchup_bench.jobs.ray_cluster.connect`)."""

    cluster: Cluster

    def run(
        self, board: Board, workspace: Workspace, todo: Sequence[Job], *, progress: BoardProgress, until: float | None
    ) -> list[Job]:
        from .ray_tasks import run_on_ray

        return run_on_ray(board, workspace, todo, cluster=self.cluster, progress=progress, until=until)

    def measure_cost(self, setup: Setup, runs: dict[str, Run], workspace: Workspace) -> dict[str, Any]:
        from .ray_tasks import measure_cost_on_ray

        return measure_cost_on_ray(self.cluster, setup, runs, workspace)


@dataclass(frozen=True)
class SlurmExecutor:
    """Jobs of Slurm, as ``slurm`` describes them."""

    slurm: Slurm

    def run(
        self, board: Board, workspace: Workspace, todo: Sequence[Job], *, progress: BoardProgress, until: float | None
    ) -> list[Job]:
        from .slurm import run_on_slurm

        return run_on_slurm(board, workspace, todo, slurm=self.slurm, progress=progress, until=until)

    def measure_cost(self, setup: Setup, runs: dict[str, Run], workspace: Workspace) -> dict[str, Any]:
        from .slurm import measure_cost_on_slurm

        return measure_cost_on_slurm(self.slurm, setup, runs, workspace)
