"""``catchup-bench leaderboard``: run what is missing of a board, render its page, check it."""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import DataDir, Device, Engine, Json, Root, Runs, Workers, command, show, show_catalog

if TYPE_CHECKING:
    from . import ray_jobs

leaderboard = typer.Typer(help="Run a board's missing runs, render its page, check it.", no_args_is_help=True)

BoardName = Annotated[str, typer.Argument(help="Name of a board, or a TOML file.")]
OneBoard = Annotated[str | None, typer.Argument(help="One board; all that have records if not said.")]
Recipe = Annotated[
    str | None, typer.Option(help="Instead of the board's: quick, a recipe or a TOML file. Its page is another one.")
]


@command(leaderboard, "run")
def leaderboard_run(
    board: BoardName,
    more: Annotated[list[str], typer.Argument(metavar="[KEY=VALUES]...", help="Further choices, as --only.")] = [],  # noqa: B006
    only: Annotated[list[str], typer.Option(help="method=NAME,… seed=N,… setup=NAME,…: only these.")] = [],  # noqa: B006
    share: Annotated[str, typer.Option("--slice", help="i/n: the i-th of n shares, for a job array.")] = "1/1",
    recipe: Recipe = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop after this long, such as 9m or 2.5h; the same command goes on.")
    ] = None,
    root: Root = None,
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    engine: Engine = "auto",
    workers: Workers = None,
    on: Annotated[
        str, typer.Option(help="local, or ray: as tasks of a Ray cluster, whose nodes have this package.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster, or auto; without it one is found or started here.")
    ] = None,
    cpus_per_run: Annotated[float | None, typer.Option(help="On Ray: cores of each run, 1 if not said.")] = None,
    gpus_per_run: Annotated[
        float | None, typer.Option(help="On Ray: 0.25 puts four runs on a GPU; 1 where there are any, if not said.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also runs whose training failed.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="What is missing, where data comes from, how long it may take.")
    ] = False,
    print_: Annotated[bool, typer.Option("--print", help="A command for each missing run, and nothing else.")] = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate what is missing of a board, write its records and render its page."""
    from .ray_jobs import cluster
    from .render import find_root

    run_board(
        board, choices=[*only, *more], share=share, recipe=recipe, time_budget=time_budget, root=find_root(root),
        runs=runs, data_dir=data_dir, device=device, engine=engine, workers=workers, retry_failed=retry_failed,
        dry_run=dry_run, print_=print_, as_json=as_json,
        cluster=cluster(on, address, cpus_per_run, gpus_per_run, workers),
    )  # fmt: skip


def run_board(
    name: str,
    *,
    root: Path,
    runs: Path,
    data_dir: Path | None,
    device: str,
    workers: str | None,
    dry_run: bool,
    as_json: bool,
    choices: Sequence[str] = (),
    share: str = "1/1",
    recipe: str | None = None,
    time_budget: str | None = None,
    print_: bool = False,
    retry_failed: bool = False,
    cluster: "ray_jobs.Cluster | None" = None,
    engine: str = "auto",
) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # workers side by side must not spin
    from . import board as boards
    from . import jobs, ray_jobs, render, report, selection, table
    from .errors import RunFailed
    from .hardware import choose_device, choose_engine
    from .progress import BoardBar

    until = time.time() + selection.seconds(time_budget) if time_budget else None
    board = boards.load(name, recipe)
    chosen = selection.parse(board, choices, share)
    where = choose_device(device if cluster is None else "cpu")  # a cluster's head may have no GPU
    engine = choose_engine(engine, where) if cluster is None else engine
    count = jobs.parse_workers(workers)
    place = jobs.Place(runs, root, boards.stem(name, recipe), data_dir, where.type, engine)
    todo = jobs.missing(board, place, chosen.of(board.jobs()))
    failed = [] if retry_failed else [job for job in todo if jobs.has_failed(place, job)]
    todo = [job for job in todo if job not in failed]
    if print_:
        commands = [jobs.command(name, recipe, job) for job in todo]
        return show(commands) if as_json else typer.echo("".join(f"{line}\n" for line in commands), nl=False)
    if dry_run:
        from . import estimate

        found = estimate.look_ahead(board, place, todo, where)
        return show(found) if as_json else report.print_estimate(found)
    failure: RunFailed | None = None
    left: list[boards.Job] = []
    with BoardBar(board.title, quiet=as_json) as bar, ray_jobs.connected(cluster, device) as connected:
        if failed:
            bar.say(f"{len(failed)} runs have failed before; --retry-failed tries them again")
        try:
            if connected is None:
                left = jobs.run(board, place, todo, workers=count, watcher=bar, until=until)
            else:
                left = ray_jobs.run(board, place, todo, cluster=connected, watcher=bar, until=until)
        except RunFailed as err:
            failure = err  # the page says which run failed
        if not left:
            jobs.measure_costs(
                board, place, bar.say, partial(ray_jobs.cost_of, connected) if connected else jobs.cost_of
            )
    files = render.write(root, name, recipe)
    made = table.make(board, place.results)
    if as_json:
        show(report.table_json(made) | {"left": [str(job.path) for job in left]})
    else:
        report.print_table(made)
        typer.echo(f"written: {', '.join(str(f) for f in files)}")
        if left:
            typer.echo(f"time is over: {len(left)} runs are left; the same command goes on with them")
    if failure is not None:
        raise failure


@command(leaderboard, "render")
def leaderboard_render(
    board: OneBoard = None,
    recipe: Recipe = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write the pages, and the README's excerpts, that the records give."""
    from . import render

    files = [str(f) for f in render.write(render.find_root(root), board, recipe)]
    show({"written": files}) if as_json else typer.echo("\n".join(files))


@command(leaderboard, "html")
def leaderboard_html(
    out: Annotated[Path | None, typer.Option(help="Where to; leaderboards/index.html if not said.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write one page of all boards that have records, with plots: no network, nothing to build."""
    from . import html, render

    path = str(html.write(render.find_root(root), out))
    show({"written": [path]}) if as_json else typer.echo(path)


@command(leaderboard, "check")
def leaderboard_check(
    board: OneBoard = None,
    recipe: Recipe = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Exit with 4 when a page is not what the records give."""
    from . import render
    from .errors import VerificationFailed

    if stale := render.stale(render.find_root(root), board, recipe):
        raise VerificationFailed(f"{', '.join(stale)}: not what the records give; run catchup-bench leaderboard render")
    show({"stale": []}) if as_json else typer.echo("every page is what the records give")


@command(leaderboard, "list")
def leaderboard_list(as_json: Json = False) -> None:
    """Names of the boards, and the questions they answer."""
    show_catalog("boards", False, as_json)
