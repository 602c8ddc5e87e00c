"""``catchup-bench evaluate`` and ``merge``: outcomes of suites, whole or in parts."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DataDir, Device, Engine, Json, ModelName, Runs, Set, Threads, Track, Variant, Width, show

if TYPE_CHECKING:
    from ..evaluation.evaluated_model import EvaluatedModel
    from ..records.record import Outcome


def evaluate(
    which: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN]...", help="Run folders, by default all in which a condition of the suites is missing."
        ),
    ] = [],  # noqa: B006
    suite: Annotated[list[str], typer.Option(help="Suite or group; repeat for several.")] = ["robustness"],  # noqa: B006
    ood: Annotated[
        str | None,
        typer.Option(
            help="Out-of-distribution datasets, separated by commas, or openood for those of OpenOOD v1.5; the same "
            "as --suite ood --set ood.out=NAMES."
        ),
    ] = None,
    slice_: Annotated[
        str, typer.Option("--slice", help="Evaluate only part i of n, for n machines or array jobs: i/n.")
    ] = "1/1",
    checkpoint: Annotated[
        str | None,
        typer.Option(help="External weights: a safetensors or state-dict file, hf://OWNER/NAME or robustbench:NAME."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Dataset of the checkpoint, where the file does not name it.")
    ] = None,
    model: ModelName = None,
    width: Width = None,
    variant: Variant = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            help="Constants that normalise the checkpoint's images: dataset, imagenet, cifar10, cifar100, half, none "
            "or MEAN,STD (two numbers or six, for images in [0,1])."
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights to take from a checkpoint with several, such as state_dict_ema.")
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="File that maps the checkpoint's outputs to classes: per class of the dataset a line with the index "
            "of its output, or per output a line with the name of its class."
        ),
    ] = None,
    set_: Set = [],  # noqa: B006
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    engine: Engine = "auto",
    threads: Threads = None,
    track: Track = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build the networks and show the missing conditions; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Evaluate the conditions of a suite that are missing; store each as soon as it is finished.

    With --slice, n machines evaluate a part each; where they share no folder of runs, merge combines the parts.
    """
    from ..system.slices import Slice

    part = Slice.parse(slice_)
    from .. import data
    from ..engines import choose_engine
    from ..errors import UsageError
    from ..evaluation.evaluate import evaluate, select_runs
    from ..evaluation.evaluated_model import Choices, model_of_checkpoint, trained_model, weights_file
    from ..evaluation.external_model import external_model, is_external
    from ..plugins import parse_settings
    from ..records.outcomes import lacking_in
    from ..report.summary import summarise
    from ..runs.folder import read_run
    from ..runs.make import model_spec
    from ..suites import make_suites, resolve_suites
    from ..system.hardware import captures, choose_device
    from ..system.trackers import check_tracker, tracked
    from . import tables
    from .progress import EvaluationBar

    settings = parse_settings(set_)
    if ood is not None:
        suite, settings["ood"] = [*suite, "ood"], settings.get("ood", {}) | {"out": ood}
    suites = make_suites(suite, settings)
    check_tracker(track)
    where = choose_device(device)
    chosen_engine = choose_engine(engine, where)
    models: list[tuple[Path, str, Callable[[], EvaluatedModel]]]
    choices = Choices(normalise=normalise, weights=weights, classes=classes)
    if is_external(model):
        if dataset is None or which:
            raise UsageError(f"--model {model} needs --dataset, on whose test images it is evaluated, and takes no RUN")
        path = None if checkpoint is None else weights_file(checkpoint)
        other = external_model(str(model), path, dataset, runs, data_dir, where, choices)
        typer.echo("".join(f"{line}\n" for line in other.notes), err=True, nl=False)
        models = [(other.folder, other.dataset, lambda: other)]
    elif checkpoint is None:
        if choices != Choices():
            raise UsageError("--normalise, --weights and --classes are for a --checkpoint: a run has its own")
        folders, left_out = select_runs(runs, which, suites, data_dir, part)
        typer.echo("".join(f"{line}\n" for line in left_out), err=True, nl=False)
        models = [(f, read_run(f).dataset.name, functools.partial(trained_model, f, where)) for f in folders]
    else:
        spec = model_spec(model, width, variant, data.get(dataset)) if model and dataset else None
        external = model_of_checkpoint(checkpoint, spec, dataset, runs, data_dir, where, choices)
        typer.echo("".join(f"{line}\n" for line in external.notes), err=True, nl=False)
        models = [(external.folder, external.dataset, lambda: external)]
    resolved = {folder: resolve_suites(suites, of, data_dir) for folder, of, _ in models}
    todo = {folder: lacking_in(folder, of_run, part) for folder, of_run in resolved.items()}
    if dry_run:
        for _, _, make in models:
            make()
        lacking = {str(folder): [c for names in by_suite.values() for c in names] for folder, by_suite in todo.items()}
        if as_json:
            return show({"missing": lacking})
        return typer.echo("\n".join(f"{f} lacks {len(c)} conditions: {', '.join(c)}" for f, c in lacking.items()))
    outcomes: dict[Path, dict[str, Outcome]] = {}
    with EvaluationBar("evaluating", quiet=as_json) as bar:
        bar.begin([(n, s.passes(c)) for f, by in todo.items() for n, s in resolved[f].items() for c in by[n]])
        for folder, _, make in models:
            model_now = make()
            with tracked(bar, track, folder, *described(folder)) as progress:
                outcomes[folder] = evaluate(
                    model_now, resolved[folder], device=where, data_dir=data_dir, part=part, engine=chosen_engine,
                    progress=progress, threads=threads,
                )  # fmt: skip
    if captures(chosen_engine):
        typer.echo("".join(f"{line}\n" for line in eager_lines(outcomes)), err=True, nl=False)
    if as_json:
        return show({str(f): tables.outcomes_json(of_run) for f, of_run in outcomes.items()})
    tables.print_outcomes({f.name: summarise(of_run, resolved[f]) for f, of_run in outcomes.items()})


def eager_lines(folders: Iterable[Path]) -> list[str]:
    """Return a line for each reason why passes of these folders' evaluations were not captured."""
    from ..records.outcomes import read_stored

    facts = [stored.provenance for folder in folders for stored in read_stored(folder).values()]
    reasons = {str(f["eager"]) for f in facts if f.get("eager")}
    return [f"some conditions were evaluated eagerly: {why}" for why in sorted(reasons)]


def described(folder: Path) -> tuple[dict[str, Any], int]:
    """Return what the run in ``folder`` is, and its number of epochs; nothing and 0 of a network made elsewhere."""
    from ..runs.folder import RunFolder, read_run

    if not RunFolder(folder).description.exists():
        return {}, 0
    run = read_run(folder)
    return run.model_dump(mode="json"), run.recipe.epochs


def merge(
    into: Annotated[Path, typer.Argument(help="Run folder that receives all outcomes.")],
    others: Annotated[list[Path], typer.Argument(help="Folders of the same run, evaluated elsewhere.")],
    as_json: Json = False,
) -> None:
    """Merge outcomes of the same weights that were evaluated in different folders."""
    from ..records.outcomes import merge_outcomes

    taken = merge_outcomes(into, others)
    show({"folder": str(into), "taken": taken}) if as_json else typer.echo(f"{into}: {len(taken)} conditions merged")
