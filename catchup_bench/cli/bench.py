"""``catchup-bench bench``: speed, as ratios within one run."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Engine, Json, ModelName, StepPrecision, Threads, Width, command, show

bench = typer.Typer(help="Measure speed, as ratios of times that are measured in one process.", no_args_is_help=True)

COUNTS = [5_000, 10_000, 25_000, 50_000]

SIZES = [32, 64, 128, 256, 512]


@command(bench, "methods")
def bench_methods(
    methods: Annotated[str, typer.Option(help="Methods, separated by commas; by default all.")] = "",
    dataset: Annotated[
        str, typer.Option(help="Dataset with the image size, classes and options; its files are not needed.")
    ] = "cifar100",
    model: ModelName = None,
    width: Width = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 100,
    precision: StepPrecision = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds; each times every plan of every method.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps per plan and round.")] = 1,
    engine: Engine = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure the training step of every method relative to the baseline's, interleaved in one process."""
    from .. import data, registry
    from ..runs.make import make_run
    from ..speed import cost, sheets
    from ..system.hardware import choose_device
    from . import tables

    wanted = ["baseline", *(m.strip() for m in methods.split(",") if m)] if methods else registry.methods()
    overrides = {"batch_size": batch_size, "precision": precision}
    runs = {m: make_run(m, dataset, model=model, width=width, overrides=overrides) for m in dict.fromkeys(wanted)}
    entry = data.get(dataset)
    images = cost.random_images(4 * batch_size, entry.size, entry.num_classes)
    measured = cost.measure(runs, choose_device(device), images, rounds, steps, engine)
    show(measured) if as_json else tables.print_sheets(sheets.costs(measured))


@command(bench, "corruptions")
def bench_corruptions(
    types: Annotated[str, typer.Option(help="Corruptions, separated by commas; by default all 19.")] = "",
    size: Annotated[int, typer.Option(min=8, help="Height and width of the images.")] = 32,
    images: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 500,
    one_by_one: Annotated[int, typer.Option(min=1, help="Images for the published way, one at a time.")] = 10,
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds, in which both alternate; the median counts.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Measure the batched corruptions against their published definitions, one image at a time, on one CPU thread."""
    from ..corruptions import NAMES
    from ..speed import corruptions, sheets
    from . import tables

    wanted = [t.strip() for t in types.split(",")] if types else NAMES
    measured = corruptions.measure(wanted, size, images, one_by_one, rounds)
    show(measured) if as_json else tables.print_sheets(sheets.corruptions(measured))


@command(bench, "suites")
def bench_suites(
    dataset: Annotated[
        str, typer.Option(help="Dataset with the image size, classes and network; its files are not needed.")
    ] = "cifar100",
    model: ModelName = None,
    width: Width = None,
    images: Annotated[int, typer.Option(min=1, help="Random images to evaluate.")] = 50,
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds, in which all are interleaved; the median counts.")
    ] = 1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure each suite's images/s relative to plain forward passes, and the reading of CIFAR-100-C files."""
    from .. import data
    from ..runs.build import build_net
    from ..runs.make import model_spec
    from ..speed import sheets, suites
    from ..system.hardware import choose_device
    from . import tables

    entry, where = data.get(dataset), choose_device(device)
    spec = model_spec(model, width, None, entry)
    net = build_net(spec, dataset, where)
    measured = {"model": spec.label} | suites.measure(
        net, dataset, entry.size, entry.num_classes, where, images, rounds
    )
    show(measured) if as_json else tables.print_sheets(sheets.suites(measured))


@command(bench, "train")
def bench_train(
    methods: Annotated[str, typer.Option(help="Methods to compare with the baseline, separated by commas.")] = "",
    dataset: Annotated[
        str, typer.Option(help="Dataset with the image size and classes; its files are not needed.")
    ] = "cifar100",
    model: ModelName = None,
    width: Width = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images per step.")] = 128,
    precision: StepPrecision = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds; each times every loop.")] = 7,
    steps: Annotated[int, typer.Option(min=1, help="Steps per loop and round.")] = 3,
    compiled: Annotated[bool, typer.Option("--compile", help="Include the engine compile.")] = False,
    engine: Engine = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare images/s of the training loop and of a plain PyTorch loop; measure what each of its parts gains."""
    from .. import data
    from ..runs.make import make_run
    from ..speed import cost, sheets, train
    from ..system.hardware import choose_device
    from . import tables

    where, entry = choose_device(device), data.get(dataset)
    overrides = {"batch_size": batch_size, "precision": precision}
    wanted = dict.fromkeys(["baseline", *(m.strip() for m in methods.split(",") if m)])
    runs = {m: make_run(m, dataset, model=model, width=width, overrides=overrides) for m in wanted}
    images = cost.random_images(8 * batch_size, entry.size, entry.num_classes)
    measured = train.measure(runs, where, images, rounds, steps, compiled, engine)
    show(measured) if as_json else tables.print_sheets(sheets.loops(measured))


@command(bench, "load")
def bench_load(
    dataset: Annotated[
        str, typer.Option(help="Dataset with the image size and classes; its files are not needed.")
    ] = "digits",
    model: ModelName = None,
    width: Width = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images per step.")] = 50,
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds; each measures an idle machine and one with a busy core.")
    ] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round.")] = 10,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure the speed of training beside a program that keeps one core busy, relative to an idle machine."""
    from .. import data
    from ..runs.make import make_run
    from ..speed import cost, load, sheets
    from ..system.hardware import choose_device
    from . import tables

    entry = data.get(dataset)
    run = make_run("baseline", dataset, model=model, width=width, overrides={"batch_size": batch_size})
    images = cost.random_images(8 * batch_size, entry.size, entry.num_classes)
    measured = load.measure(run, choose_device("cpu"), images, rounds, steps, threads)
    show(measured) if as_json else tables.print_sheets(sheets.load(measured))


@command(bench, "gpu")
def bench_gpu(
    parts: Annotated[
        str,
        typer.Option(help="Parts, by default all: machine, steps, waits, epochs, methods, evaluation, compiled."),
    ] = "",
    small: Annotated[
        bool, typer.Option("--small", help="Measure a small network in few repetitions, as on a CPU.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file, written after each part.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a device part by part: steps by engine, waits, methods, epochs, evaluation in fp32."""
    from ..speed import gpu, sheets
    from ..system.hardware import choose_device
    from . import tables

    where = choose_device(device)
    named = [p.strip() for p in parts.split(",")] if parts else list(gpu.PARTS)
    if not parts and where.type == "cpu":
        named.remove("compiled")  # minutes, and a C++ compiler
    measured = gpu.measure(named, where, small or where.type == "cpu", out, lambda line: typer.echo(line, err=True))
    show(measured) if as_json else tables.print_sheets(sheets.gpu(measured))


@command(bench, "scale")
def bench_scale(
    dataset: Annotated[
        str, typer.Option(help="Dataset with the image size and classes; its files are not needed.")
    ] = "cifar100",
    model: ModelName = None,
    width: Width = None,
    precision: StepPrecision = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="Measure two sizes and two batches, in few steps.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure images/s and peak memory of training on 5,000 to 50,000 images, in batches of 32 to 512."""
    from ..runs.make import make_run
    from ..speed import scale, sheets
    from ..system.hardware import choose_device
    from . import tables

    where = choose_device(device)
    counts, sizes, steps = ([5_000, 50_000], [32, 128], 3) if quick else (COUNTS, SIZES, 10)
    overrides: dict[str, object] = {"precision": precision}
    runs = [
        make_run("baseline", dataset, model=model, width=width, overrides=overrides | {"batch_size": b}) for b in sizes
    ]
    measured = {"model": runs[0].model.label, **scale.measure(runs, counts, steps, where)}
    show(measured) if as_json else tables.print_sheets(sheets.scale(measured))


@command(bench, "page")
def bench_page(root: Annotated[Path, typer.Option(help="Folder that holds docs/speed/.")] = Path()) -> None:
    """Write docs/speed.md, and the lines on speed in README.md, from the JSON of benchmarks in docs/speed/."""
    from ..speed import page
    from ..system.files import write_text

    for path, text in page.expected(root).items():
        write_text(path, text)
        typer.echo(path)
