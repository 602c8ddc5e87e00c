"""``catchup-bench train``."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options import (
    DataDir,
    Device,
    DryRun,
    Engine,
    Json,
    ModelName,
    Precision,
    Runs,
    Set,
    Threads,
    Track,
    Variant,
    Width,
    show,
)

DESCRIBES = {
    "method": "--method",
    "preset": "--preset",
    "dataset": "--dataset",
    "fraction": "--fraction",
    "model": "--model",
    "width": "--width",
    "variant": "--variant",
    "recipe": "--recipe",
    "epochs": "--epochs",
    "precision": "--precision",
    "seed": "--seed",
    "set_": "--set",
}
"""Parameters that say what a run is, which ``--from`` does instead → their options."""


def train(
    context: typer.Context,
    method: Annotated[
        str | None, typer.Option(help="Name of a method, or path of a Python file that defines one.")
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Repeat the run that a record, a run.json or a run's folder describes, with as many threads as it "
            "was trained with.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings of another benchmark for this method (see list presets): dataset, network, recipe and "
            "options, which other options here override. Its printed number is shown beside the result."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Name of a dataset, folder:PATH, hf:NAME or heldout:NAME; by default digits, or the preset's."
        ),
    ] = None,
    fraction: Annotated[
        float, typer.Option(help="Share of the training images of each class, above 0 and at most 1.")
    ] = 1.0,
    model: ModelName = None,
    width: Width = None,
    variant: Variant = None,
    recipe: Annotated[
        str | None, typer.Option(help="Name of a recipe, or a TOML file; by default that of the dataset.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs; overrides the recipe, whose milestones scale with it.")
    ] = None,
    precision: Precision = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights, data order, augmentation, method and subset.")] = 0,
    set_: Set = [],  # noqa: B006
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    engine: Engine = "auto",
    threads: Threads = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Seconds between saved states that a run resumes from.")
    ] = 15,
    track: Track = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a model, or resume an interrupted run; print the folder of the run.

    To train on several GPUs, each with its share of every batch: torchrun --nproc-per-node 2 -m catchup_bench train …
    """
    from .. import presets
    from ..plugins import parse_settings
    from ..records.described import read_described
    from ..runs.folder import RunFolder
    from ..runs.make import make_run

    described = None
    if from_ is not None:
        sources = {option: context.get_parameter_source(name) for name, option in DESCRIBES.items()}
        if given := [option for option, source in sources.items() if source and source.name == "COMMANDLINE"]:
            raise UsageError(f"--from {from_} says what the run is: leave out {', '.join(given)}")
        described = read_described(from_)
        run, threads = described.run, threads or described.threads
    elif method is None:
        raise UsageError("train needs --method NAME, or --from with a record or a run.json")
    else:
        overrides = {k: v for k, v in (("epochs", epochs), ("precision", precision)) if v is not None}
        settings = parse_settings(set_)
        if preset is not None:
            theirs, of_method = presets.preset_for(preset, method, settings.get(method, {}))
            model, width, variant = model or theirs.model, width or theirs.width, variant or theirs.variant
            dataset, recipe = dataset or theirs.dataset, recipe or theirs.recipe
            overrides = {**theirs.overrides, **settings.pop("recipe", {}), **overrides}
            settings[method] = {**of_method.set, **settings.get(method, {})}
        run = make_run(
            method, dataset or "digits", model=model, width=width, variant=variant, recipe_name=recipe,
            overrides=overrides, fraction=fraction, seed=seed, settings=settings,
        )  # fmt: skip
    from ..engines import choose_engine
    from ..system.hardware import choose_device
    from ..system.trackers import check_tracker, tracked
    from ..training import loop
    from ..training.distributed import join_group
    from .progress import TrainingBar

    check_tracker(track)
    length = "1 epoch" if run.recipe.epochs == 1 else f"{run.recipe.epochs} epochs"
    where = choose_device(device)
    chosen_engine = choose_engine(engine, where)
    if dry_run:
        loss = loop.dry_run(run, device=where, data_dir=data_dir)
        if as_json:
            return show({"run": run.model_dump(mode="json"), "folder": str(runs / run.folder), "first_loss": loss})
        return typer.echo(f"would train {run.folder} ({length}); one step works, its loss is {loss:.3f}")
    title = f"{run.method.name} on {run.dataset.name}, seed {run.seed}"
    with ExitStack() as stack:
        group = stack.enter_context(join_group(where))
        bar = stack.enter_context(TrainingBar(title, quiet=as_json or not group.main))
        tracker = track if group.main else None
        progress = stack.enter_context(tracked(bar, tracker, runs / run.folder, run.model_dump(mode="json")))
        folder = loop.train(
            run,
            runs,
            device=where,
            data_dir=data_dir,
            progress=progress,
            threads=threads,
            checkpoint_every=checkpoint_every,
            engine=chosen_engine,
            group=group,
        )
    if not group.main:
        return
    files = RunFolder(folder)
    facts = json.loads(files.training.read_text(encoding="utf-8"))
    if as_json:
        return show({"folder": str(folder), "run": run.model_dump(mode="json"), "training": facts})
    for plan, why in facts.get("eager_plans", {}).items():
        typer.echo(f"plan {plan} ran eagerly: {why}", err=True)
    for change in described.changes(facts) if described else ():
        typer.echo(f"not as it was described: {change}", err=True)
    lines = [json.loads(line) for line in files.metrics.read_text(encoding="utf-8").splitlines()]
    last = lines[-1]
    typer.echo(f"{folder}\n{length}, test error {last['test_error']:.2f} % at the last one")
    if preset is not None:
        typer.echo(presets.compared(preset, theirs, of_method, lines))
