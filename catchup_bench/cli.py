"""The command line: parses and prints, nothing else. Whatever is heavy is imported inside a command."""

import functools
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .cli_bench import bench
from .cli_data import data_app
from .cli_options import (
    DataDir,
    Device,
    DryRun,
    Json,
    ModelName,
    Root,
    Runs,
    Set,
    Variant,
    Width,
    Workers,
    command,
    show,
)
from .errors import UsageError

HELP = "Does this training method make a CNN more robust, and at what cost?"
app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
leaderboard = typer.Typer(help="Run a board's missing runs, render its page, check it.", no_args_is_help=True)
app.add_typer(leaderboard, name="leaderboard")
app.add_typer(data_app, name="data")
app.add_typer(bench, name="bench")


@command(app)
def train(
    method: Annotated[str, typer.Option(help="Name of a method, or the path of a Python file with one.")],
    dataset: Annotated[str, typer.Option(help="Name of a dataset, or hf:NAME.")] = "digits",
    fraction: Annotated[float, typer.Option(help="Share of the training images of every class.")] = 1.0,
    model: ModelName = None,
    width: Width = None,
    variant: Variant = None,
    recipe: Annotated[str | None, typer.Option(help="Training protocol: a name or a TOML file.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's; its milestones scale.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation, method and subset.")] = 0,
    set_: Set = [],  # noqa: B006
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds between resumable states.")] = 15,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a model, or go on where its training stopped; prints where the run is."""
    from .names import parse_settings
    from .plan import make_run

    overrides = {k: v for k, v in (("epochs", epochs), ("precision", precision)) if v is not None}
    run = make_run(
        method, dataset, model=model, width=width, variant=variant, recipe_name=recipe, overrides=overrides,
        fraction=fraction, seed=seed, settings=parse_settings(set_),
    )  # fmt: skip
    from . import train as training
    from .hardware import choose_device
    from .progress import TrainingBar

    where = choose_device(device)
    if dry_run:
        loss = training.dry_run(run, device=where, data_dir=data_dir)
        if as_json:
            return show({"run": run.model_dump(mode="json"), "folder": str(runs / run.folder), "first_loss": loss})
        return typer.echo(
            f"would train {run.folder} ({run.recipe.epochs} epochs); one step works, its loss is {loss:.3f}"
        )
    with TrainingBar(f"{run.method.name} on {dataset}, seed {seed}", quiet=as_json) as bar:
        folder = training.train(
            run, runs, device=where, data_dir=data_dir, report=bar, checkpoint_every=checkpoint_every
        )
    facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    if as_json:
        return show({"folder": str(folder), "run": run.model_dump(mode="json"), "training": facts})
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    typer.echo(f"{folder}\n{run.recipe.epochs} epochs, test error {last['test_error']:.2f} % at the last one")


@command(app)
def evaluate(
    which: Annotated[
        list[str], typer.Argument(metavar="[RUN]...", help="Run folders; all that lack the suite if none.")
    ] = [],  # noqa: B006
    suite: Annotated[list[str], typer.Option(help="Suite or group; repeat for several.")] = ["robustness"],  # noqa: B006
    ood: Annotated[str | None, typer.Option(help="Dataset to be told apart: suite ood with --set ood.out.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="A safetensors file, or robustbench:NAME.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset of the checkpoint, when it does not say.")] = None,
    model: ModelName = None,
    width: Width = None,
    variant: Variant = None,
    set_: Set = [],  # noqa: B006
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Evaluate what is missing of a suite; every condition is kept as soon as it is finished."""
    from . import data, report, results
    from . import evaluate as evaluation
    from .hardware import choose_device
    from .names import parse_settings
    from .plan import model_spec
    from .progress import Bar

    settings = parse_settings(set_)
    if ood is not None:
        suite, settings["ood"] = [*suite, "ood"], settings.get("ood", {}) | {"out": ood}
    suites = evaluation.make_suites(suite, settings)
    where = choose_device(device)
    if checkpoint is None:
        folders = evaluation.select(runs, which, suites, data_dir)
        subjects = [functools.partial(evaluation.trained, folder, where) for folder in folders]
    else:
        spec = model_spec(model, width, variant, data.get(dataset)) if model and dataset else None
        subjects = [functools.partial(evaluation.from_checkpoint, checkpoint, spec, dataset, runs, data_dir, where)]
    found: dict[str, dict[str, results.Outcome]] = {}
    shown: dict[str, dict[str, str]] = {}
    with Bar("evaluating", quiet=as_json) as bar:
        for make in subjects:
            subject = make()
            resolved = evaluation.resolve(suites, subject.dataset, data_dir)
            if dry_run:
                bar.say(f"{subject.folder.name} lacks {evaluation.missing(subject.folder, resolved)}")
                continue
            bar.say(subject.folder.name)
            found[str(subject.folder)] = evaluation.evaluate(
                subject, resolved, device=where, data_dir=data_dir,
                tell=lambda condition, o: bar.say(f"  {condition}: error {o.error:.2f} %"),
            )  # fmt: skip
            shown[subject.folder.name] = report.summarise(found[str(subject.folder)], resolved)
    if as_json:
        return show({f: {c: {"error": o.error, "n": o.n} for c, o in out.items()} for f, out in found.items()})
    if found:
        report.print_outcomes(shown)


@command(app)
def demo(
    runs: Annotated[Path, typer.Option(help="Folder for runs, records and the page.")] = Path("runs/demo"),
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate four methods on embedded digits and print their leaderboard: about two minutes on 2 cores."""
    run_board("demo", runs, runs, None, "cpu", workers, dry_run, as_json)


@command(leaderboard, "run")
def leaderboard_run(
    board: Annotated[str, typer.Argument(help="Name of a board, or a TOML file.")],
    root: Root = None,
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate what is missing of a board, write its records and render its page."""
    from .render import find_root

    run_board(board, find_root(root), runs, data_dir, device, workers, dry_run, as_json)


def run_board(
    name: str,
    root: Path,
    runs: Path,
    data_dir: Path | None,
    device: str,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # workers side by side must not spin
    from . import board as boards
    from . import jobs, render, report, table, train
    from .hardware import choose_device
    from .progress import BoardBar

    board = boards.load(name)
    where = choose_device(device)
    place = jobs.Place(runs, root, Path(name).stem, data_dir, where.type)
    todo = jobs.missing(board, place)
    if dry_run:
        for job in {job.label: job for job in todo}.values():
            train.dry_run(job.run, device=where, data_dir=data_dir)
        cells = [str(job.path) for job in todo]
        return show({"missing": cells}) if as_json else typer.echo("\n".join([*cells, f"{len(cells)} runs missing"]))
    with BoardBar(board.title, quiet=as_json) as bar:
        jobs.run(board, place, workers=workers, watcher=bar)
        jobs.measure_costs(board, place, bar.say)
    files = render.write(root, name)
    made = table.make(board, place.results)
    if as_json:
        return show(report.table_json(made))
    report.print_table(made)
    typer.echo(f"written: {', '.join(str(f) for f in files)}")


@command(leaderboard, "render")
def leaderboard_render(
    board: Annotated[str | None, typer.Argument(help="One board; all that have records if not said.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write the pages, and the README's excerpts, that the records give."""
    from . import render

    files = [str(f) for f in render.write(render.find_root(root), board)]
    show({"written": files}) if as_json else typer.echo("\n".join(files))


@command(leaderboard, "check")
def leaderboard_check(
    board: Annotated[str | None, typer.Argument(help="One board; all that have records if not said.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Exit with 4 when a page is not what the records give."""
    from . import render
    from .errors import VerificationFailed

    if stale := render.stale(render.find_root(root), board):
        raise VerificationFailed(f"{', '.join(stale)}: not what the records give; run catchup-bench leaderboard render")
    show({"stale": []}) if as_json else typer.echo("every page is what the records give")


@command(leaderboard, "list")
def leaderboard_list(as_json: Json = False) -> None:
    """Names of the boards, and the questions they answer."""
    list_("boards", as_json=as_json)


@command(app, "list")
def list_(
    kind: Annotated[str, typer.Argument(help="methods, datasets, models, suites, recipes or boards.")],
    long: Annotated[bool, typer.Option("--long", help="Everything that is known of each.")] = False,
    as_json: Json = False,
) -> None:
    """What there is."""
    from . import catalog

    entries = catalog.entries(kind)
    if as_json:
        return show(entries if long else [e["name"] for e in entries])
    from . import report

    report.print_catalog(entries, long)


@command(app)
def verify(
    record: Annotated[Path | None, typer.Argument(help="A record: is it consistent with itself?")] = None,
    run: Annotated[Path | None, typer.Option(help="Its run folder: evaluate the checkpoint again.")] = None,
    method: Annotated[str | None, typer.Option(help="A method or its file: does it keep the contract?")] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check a record, or a method's conformance; exit with 4 when something does not hold."""
    if (record is None) == (method is None):
        raise UsageError("verify takes either a RECORD or --method NAME, and not both")
    if method is not None:
        return verify_method(method, as_json)
    from .hardware import choose_device
    from .verify import verify as check

    assert record is not None
    verdict = check(record, run, choose_device(device), data_dir)
    if as_json:
        return show({"level": verdict.level, "conditions": verdict.conditions, "differing": verdict.differing})
    how = "evaluated again" if verdict.level == 2 else "agrees with its bits and digests"
    typer.echo(f"{record}: level {verdict.level}, {verdict.conditions} conditions, {how}")


def verify_method(method: str, as_json: bool) -> None:
    from . import conformance, registry, report
    from .errors import VerificationFailed

    checks = conformance.conform(registry.method_class(method))
    if as_json:
        show({c.name: {"ok": c.ok, "detail": c.detail} for c in checks})
    else:
        report.print_checks(method, checks)
    if failed := [c.name for c in checks if not c.ok]:
        raise VerificationFailed(f"{method} breaks the contract: {', '.join(failed)}")


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
    app()
