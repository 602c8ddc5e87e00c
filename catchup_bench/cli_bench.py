"""``catchup-bench bench``: speed, as ratios within one run."""

from typing import Annotated

import typer

from .cli_options import Device, Json, ModelName, Width, command, show

bench = typer.Typer(help="Measure speed, as ratios within one run.", no_args_is_help=True)


@command(bench, "methods")
def bench_methods(
    methods: Annotated[str, typer.Option(help="Names with commas; all if not said.")] = "",
    dataset: Annotated[
        str, typer.Option(help="Whose image size, classes and options; its files are not needed.")
    ] = "cifar100",
    model: ModelName = None,
    width: Width = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 100,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each with every plan of every method.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps a plan and round.")] = 1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """The training step of every method relative to the baseline's, interleaved in one process."""
    from . import cost, data, registry, report
    from .hardware import choose_device
    from .plan import make_run

    wanted = ["baseline", *(m.strip() for m in methods.split(",") if m)] if methods else registry.methods()
    overrides = {"batch_size": batch_size, "precision": precision}
    runs = {m: make_run(m, dataset, model=model, width=width, overrides=overrides) for m in dict.fromkeys(wanted)}
    entry = data.get(dataset)
    images = cost.random_images(4 * batch_size, entry.size, entry.num_classes)
    found = cost.measure(runs, choose_device(device), images, rounds, steps)
    show(found) if as_json else report.print_costs(found)
