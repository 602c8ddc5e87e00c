"""``catchup-bench leaderboard``: run the missing runs of a board, render its page, check it."""

import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .list import show_catalog
from .options import DataDir, Device, Engine, Json, Root, Runs, Threads, Track, Workers, command, show

if TYPE_CHECKING:
    import torch

    from ..jobs.job import BoardWork, Workspace
    from ..jobs.ray_cluster import Cluster
    from ..jobs.slurm import Slurm
    from ..suites import Suite
    from ..verification.reproduction import Reproduction

leaderboard = typer.Typer(help="Run the missing runs of a board; render and check its page.", no_args_is_help=True)

BoardName = Annotated[str, typer.Argument(help="Name of a board, or a TOML file.")]

OneBoard = Annotated[str | None, typer.Argument(help="Name of a board, by default all that have records.")]

Recipe = Annotated[
    str | None,
    typer.Option(
        help="Recipe of all runs: quick, a name or a TOML file; overrides the board. The results have their own page."
    ),
]


@command(leaderboard, "run")
def leaderboard_run(
    board: BoardName,
    more: Annotated[list[str], typer.Argument(metavar="[KEY=VALUES]...", help="The same as --only.")] = [],  # noqa: B006
    only: Annotated[list[str], typer.Option(help="Run only these: method=NAME,… seed=N,… setup=NAME,…")] = [],  # noqa: B006
    share: Annotated[str, typer.Option("--slice", help="Run only part i of n, for a job array: i/n.")] = "1/1",
    recipe: Recipe = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop after this time, such as 9m or 2.5h; run the same command again to resume.")
    ] = None,
    root: Root = None,
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    engine: Engine = "auto",
    threads: Threads = None,
    workers: Workers = None,
    on: Annotated[
        Literal["local", "ray", "slurm"],
        typer.Option(
            help="Where to run: on this machine, on a Ray cluster, or as jobs of Slurm; the nodes need this package."
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Address of the Ray cluster, or auto; by default that of RAY_ADDRESS, of this machine, or a new one."
        ),
    ] = None,
    cpus_per_run: Annotated[float | None, typer.Option(help="Cores of each run on Ray or Slurm, by default 1.")] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            help="GPUs of each run. On Ray, 0.25 puts four runs on a GPU, and the default is 1 where there are any; on "
            "Slurm the default is 0."
        ),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(help="Partition of the jobs of Slurm, by default Slurm's own.")
    ] = None,
    time_per_run: Annotated[
        str | None,
        typer.Option(
            help="Time limit of each job of Slurm, by default 4h; a run that takes longer continues in another."
        ),
    ] = None,
    sbatch: Annotated[
        list[str], typer.Option(help="Further option of sbatch: KEY=VALUE, such as account=NAME; repeat for several.")
    ] = [],  # noqa: B006
    track: Track = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Include runs whose training failed.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what is missing, where its data comes from and how long it may take; write nothing."
        ),
    ] = False,
    print_: Annotated[bool, typer.Option("--print", help="Print a command for each missing run; run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate the missing runs of a board, write their records and render its page."""
    from .. import boards
    from ..engines import choose_engine
    from ..jobs import selection
    from ..jobs.job import Workspace
    from ..jobs.local import parse_workers
    from ..jobs.ray_cluster import parse_cluster
    from ..jobs.run_board import find_work
    from ..jobs.slurm import parse_slurm
    from ..records.results_folder import find_root
    from ..system.hardware import choose_device
    from ..system.trackers import check_tracker

    side_by_side = parse_workers(workers)
    check_tracker(track)
    slurm = parse_slurm(on, address, cpus_per_run, gpus_per_run, workers, device, partition, time_per_run, sbatch)
    cluster = None if slurm else parse_cluster(on, address, cpus_per_run, gpus_per_run, workers)
    here = cluster is None and slurm is None
    where = choose_device(device if here else "cpu")  # a cluster's head may have no GPU
    chosen_engine = choose_engine(engine, where) if here else engine
    until = time.time() + selection.seconds(time_budget) if time_budget else None
    root_folder = find_root(root)
    chosen = boards.load(board, recipe)
    workspace = Workspace(runs, root_folder, data_dir, where.type, chosen_engine, threads, track)
    selected = selection.parse(chosen, [*only, *more], share)
    work = find_work(chosen, workspace, selected, retry_failed=retry_failed)
    if print_:
        return show_commands(board, recipe, work, as_json)
    if dry_run:
        return show_estimate(work, workspace, where, as_json)
    run_and_show(work, workspace, side_by_side, until, as_json, cluster, device, slurm)


def demo(
    runs: Annotated[Path, typer.Option(help="Folder of the runs, records and the page.")] = Path("runs/demo"),
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is missing and how long it may take; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate four methods on the embedded digits; print their leaderboard (2 to 3 minutes on 2 cores)."""
    from .. import boards
    from ..jobs.job import Workspace
    from ..jobs.local import parse_workers
    from ..jobs.run_board import find_work
    from ..system.hardware import choose_device

    side_by_side = parse_workers(workers)
    workspace = Workspace(runs, runs, None, "cpu")
    work = find_work(boards.load(boards.DEMO), workspace)
    if dry_run:
        return show_estimate(work, workspace, choose_device("cpu"), as_json)
    run_and_show(work, workspace, side_by_side, None, as_json)


def show_commands(board: str, recipe: str | None, work: "BoardWork", as_json: bool) -> None:
    """Print a command for each missing run of a board, which is named as it was on the command line."""
    from ..jobs.job import command_of

    commands = [command_of(board, recipe, job) for job in work.todo]
    show(commands) if as_json else typer.echo("".join(f"{line}\n" for line in commands), nl=False)


def show_estimate(work: "BoardWork", workspace: "Workspace", device: "torch.device", as_json: bool) -> None:
    from ..jobs.estimate import look_ahead
    from .tables import print_estimate

    estimate = look_ahead(work, workspace, device)
    show(estimate) if as_json else print_estimate(estimate)


def run_and_show(
    work: "BoardWork",
    workspace: "Workspace",
    workers: int | Literal["auto"] | None,
    until: float | None,
    as_json: bool,
    cluster: "Cluster | None" = None,
    device: str = "auto",
    slurm: "Slurm | None" = None,
) -> None:
    """Run the board here, on ``cluster`` or on ``slurm``, then print its table and what was written."""
    from ..jobs.executor import Executor, LocalExecutor, RayExecutor, SlurmExecutor
    from ..jobs.ray_cluster import connect
    from ..jobs.run_board import job_sizes, run_board
    from . import tables
    from .progress import BoardBar

    with BoardBar(work.board.title, job_sizes(work), quiet=as_json) as bar, connect(cluster, device) as connected:
        executor: Executor = LocalExecutor(workers) if connected is None else RayExecutor(connected)
        if slurm is not None:
            executor = SlurmExecutor(slurm)
        result = run_board(work, workspace, executor, bar, until)
    if as_json:
        show(tables.table_json(result.table) | {"left": [str(job.path) for job in result.left]})
    else:
        tables.print_table(result.table)
        typer.echo(f"written: {', '.join(map(str, result.files))}")
        if result.left:
            typer.echo(f"out of time: {len(result.left)} runs are left; run the same command again to resume")
    if result.failure is not None:
        raise result.failure


@command(leaderboard, "render")
def leaderboard_render(
    board: OneBoard = None,
    recipe: Recipe = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write the pages, and the excerpts in the README, from the records."""
    from .. import boards
    from ..leaderboard.pages import write_pages
    from ..records.results_folder import find_root

    files = [str(f) for f in write_pages(find_root(root), None if board is None else boards.load(board, recipe))]
    show({"written": files}) if as_json else typer.echo("\n".join(files))


@command(leaderboard, "html")
def leaderboard_html(
    out: Annotated[Path | None, typer.Option(help="File to write, by default leaderboards/index.html.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write one HTML file with plots of all boards that have records; it opens without a network or a server."""
    from ..leaderboard.html_page import write_html
    from ..records.results_folder import find_root

    path = str(write_html(find_root(root), out))
    show({"written": [path]}) if as_json else typer.echo(path)


@command(leaderboard, "check")
def leaderboard_check(
    board: OneBoard = None,
    recipe: Recipe = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Check that every page is what the records give; exit with 4 when one is not."""
    from .. import boards
    from ..errors import VerificationFailed
    from ..leaderboard.pages import stale_pages
    from ..records.results_folder import find_root, strays

    root_folder = find_root(root)
    for path, text in strays(root_folder) if board is None else ():
        raise VerificationFailed(f"{path.relative_to(root_folder)}: {text}")
    if stale := stale_pages(root_folder, None if board is None else boards.load(board, recipe)):
        raise VerificationFailed(f"{', '.join(stale)}: not what the records give; run catchup-bench leaderboard render")
    show({"stale": []}) if as_json else typer.echo("every page is what the records give")


@command(leaderboard, "reproduce")
def leaderboard_reproduce(
    record: Annotated[Path, typer.Argument(help="Record of a board, below leaderboards/results.")],
    board: Annotated[
        str | None,
        typer.Option(help="Name of its board, or a TOML file; by default the name of the folder that it lies in."),
    ] = None,
    root: Root = None,
    runs: Annotated[Path, typer.Option(help="Folder in which the run is trained again; one of its own.")] = Path(
        "runs/reproduced"
    ),
    data_dir: DataDir = None,
    device: Device = "auto",
    engine: Engine = "auto",
    as_json: Json = False,
) -> None:
    """Train the run of a record again and evaluate it; say whether it came to the same bits, or to a result inside the
    prediction interval, and exit with 4 when it did neither.

    The interval is that of one further run of the method, from its seeds on the board.
    """
    from ..errors import VerificationFailed
    from ..records.results_folder import find_root
    from ..system.hardware import choose_device
    from ..verification.reproduction import reproduce
    from .progress import EvaluationBar, TrainingBar

    with ExitStack() as bars:
        bar = bars.enter_context(TrainingBar("training", quiet=as_json))

        def begin(suites: "dict[str, Suite]", todo: dict[str, list[str]]) -> EvaluationBar:
            bar.progress.stop()  # one live display at a time
            return bars.enter_context(EvaluationBar("evaluating", quiet=as_json)).begin_suites(suites, todo)

        found = reproduce(
            record, find_root(root), runs, device=choose_device(device), board=board, data_dir=data_dir,
            engine=engine, progress=bar, begin=begin,
        )  # fmt: skip
    verdict = "same bits" if found.same else "inside" if found.inside else "outside" if found.interval else "one seed"
    if as_json:
        facts = {k: v for k, v in asdict(found).items() if k != "folder"}
        show({"verdict": verdict, "folder": str(found.folder), **facts})
    else:
        typer.echo("\n".join(reproduction_lines(found)))
    if verdict in ("outside", "one seed"):
        raise VerificationFailed(
            f"{record}: {found.column} came to {found.value:.2f}, "
            + (
                "outside the interval of one further run"
                if found.interval
                else "and one seed alone gives no interval of a further run: train more seeds"
            )
        )


def reproduction_lines(found: "Reproduction") -> list[str]:
    """Return what to print of a run that was trained again."""
    weights = "the same" if found.weights else "another"
    lines = [str(found.folder)]
    if found.same:
        lines.append(f"the same bits: the outcomes of all {len(found.differing)} conditions; {weights} file of weights")
        return lines if found.weights else [*lines, *(f"not as it was: {change}" for change in found.changes)]
    bits, conditions = sum(found.differing.values()), sum(map(bool, found.differing.values()))
    lines.append(
        f"{bits} outcomes differ, in {conditions} of {len(found.differing)} conditions; {weights} file of weights"
    )
    lines += [f"not as it was: {change}" for change in found.changes]
    value = f"{found.column}: {found.value:.2f}, before {found.before:.2f}"
    if found.interval is None:
        return [*lines, value]
    low, high = found.interval
    where = "inside" if found.inside else "outside"
    return [
        *lines,
        f"{value}; {where} {low:.2f} to {high:.2f}, where one further run lies in 95 % of cases ({found.seeds} seeds)",
    ]


@command(leaderboard, "list")
def leaderboard_list(as_json: Json = False) -> None:
    """List the boards and the questions that they answer."""
    show_catalog("boards", False, as_json)
