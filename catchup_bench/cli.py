"""The command line: parses and prints, nothing else. Whatever is heavy is imported inside a command."""

import atexit
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_bench import bench
from .cli_data import data_app
from .cli_evaluate import evaluate, merge
from .cli_leaderboard import leaderboard, run_board
from .cli_options import (
    DataDir,
    Device,
    DryRun,
    Engine,
    Json,
    ModelName,
    Runs,
    Set,
    Variant,
    Width,
    Workers,
    command,
    show,
    show_catalog,
)
from .cli_verify import submit, verify

HELP = "Does this training method make a CNN more robust, and at what cost?"
app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.add_typer(leaderboard, name="leaderboard")
app.add_typer(data_app, name="data")
app.add_typer(bench, name="bench")


@command(app)
def train(
    method: Annotated[str, typer.Option(help="Name of a method, or the path of a Python file with one.")],
    dataset: Annotated[str, typer.Option(help="Name of a dataset, folder:PATH or hf:NAME.")] = "digits",
    fraction: Annotated[float, typer.Option(help="Share of the training images of every class.")] = 1.0,
    model: ModelName = None,
    width: Width = None,
    variant: Variant = None,
    recipe: Annotated[str | None, typer.Option(help="Training protocol: a name or a TOML file.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's; its milestones scale.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, tf32 (CUDA) or bf16.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation, method and subset.")] = 0,
    set_: Set = [],  # noqa: B006
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    engine: Engine = "auto",
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds between resumable states.")] = 15,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a model, or go on where its training stopped; prints where the run is.

    On several GPUs: torchrun --nproc-per-node 2 -m catchup_bench train …, each with its share of every batch.
    """
    from .names import parse_settings
    from .plan import make_run

    overrides = {k: v for k, v in (("epochs", epochs), ("precision", precision)) if v is not None}
    run = make_run(
        method, dataset, model=model, width=width, variant=variant, recipe_name=recipe, overrides=overrides,
        fraction=fraction, seed=seed, settings=parse_settings(set_),
    )  # fmt: skip
    from . import train as training
    from .hardware import choose_device, choose_engine
    from .parallel import joined
    from .progress import TrainingBar

    where = choose_device(device)
    engine = choose_engine(engine, where)
    if dry_run:
        loss = training.dry_run(run, device=where, data_dir=data_dir)
        if as_json:
            return show({"run": run.model_dump(mode="json"), "folder": str(runs / run.folder), "first_loss": loss})
        return typer.echo(
            f"would train {run.folder} ({run.recipe.epochs} epochs); one step works, its loss is {loss:.3f}"
        )
    title = f"{run.method.name} on {dataset}, seed {seed}"
    with joined(where) as group, TrainingBar(title, quiet=as_json or not group.main) as bar:
        folder = training.train(
            run,
            runs,
            device=where,
            data_dir=data_dir,
            report=bar,
            checkpoint_every=checkpoint_every,
            engine=engine,
            group=group,
        )
    if not group.main:
        return
    facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    if as_json:
        return show({"folder": str(folder), "run": run.model_dump(mode="json"), "training": facts})
    for plan, why in facts.get("eager_plans", {}).items():
        typer.echo(f"plan {plan} ran eagerly: {why}", err=True)
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    typer.echo(f"{folder}\n{run.recipe.epochs} epochs, test error {last['test_error']:.2f} % at the last one")


command(app)(evaluate)
command(app)(merge)


@command(app)
def demo(
    runs: Annotated[Path, typer.Option(help="Folder for runs, records and the page.")] = Path("runs/demo"),
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate four methods on embedded digits and print their leaderboard: about two minutes on 2 cores."""
    run_board(
        "demo", root=runs, runs=runs, data_dir=None, device="cpu", workers=workers, dry_run=dry_run, as_json=as_json
    )


@command(app, "list")
def list_(
    kind: Annotated[str, typer.Argument(help="methods, datasets, models, suites, recipes or boards.")],
    long: Annotated[bool, typer.Option("--long", help="Everything that is known of each.")] = False,
    as_json: Json = False,
) -> None:
    """What there is."""
    show_catalog(kind, long, as_json)


command(app)(verify)
command(app)(submit)


@command(app)
def doctor(as_json: Json = False) -> None:
    """What is installed, what hardware there is, and what is wrong with it."""
    from .doctor import examine

    found = examine()
    if as_json:
        return show(found)
    for key, value in found.items():
        if key != "problems":
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            typer.echo(f"{key}: {text}")
    for problem in found["problems"]:
        typer.echo(f"problem: {problem}")


@app.callback(invoke_without_command=True)
def root_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        from . import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except SystemExit as end:
        if end.code in (130, 143):  # nobody waits the seconds that taking torch apart takes
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(end.code))
        raise
