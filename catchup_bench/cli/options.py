"""Options that several commands share, and how a command ends."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from ..errors import BenchError, RunFailed
from ..system.signals import stoppable
from .streams import forget_stdout

READER_GONE = 141
"""Exit code when nobody reads the output any more: 128 + SIGPIPE, as of other programs."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Build the model and one batch and try one step; write nothing.")
]

Runs = Annotated[Path, typer.Option(help="Folder of the runs.", envvar="CATCHUP_BENCH_RUNS")]

DataDir = Annotated[Path | None, typer.Option(help="Folder of the datasets.", envvar="CATCHUP_BENCH_DATA")]

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Device to compute on; auto is CUDA if there is one, else the CPU."),
]

Engine = Annotated[
    Literal["auto", "eager", "compile", "graphs", "compile+graphs"],
    typer.Option(
        help="How to run steps. compile: training steps with torch.compile, evaluation eagerly; graphs: both captured "
        "as CUDA graphs; compile+graphs: compiled steps, captured; auto: graphs on CUDA where a step can be captured, "
        "else eager."
    ),
]

PrecisionName = Literal["auto", "fp32", "tf32", "bf16"]

Precision = Annotated[
    PrecisionName | None,
    typer.Option(
        help="Precision of training; overrides the recipe. auto: bf16 where the hardware has it, else fp32; tf32: on "
        "CUDA only."
    ),
]

StepPrecision = Annotated[PrecisionName, typer.Option(help="Precision of the steps; tf32 on CUDA only.")]

Kind = Literal["methods", "datasets", "models", "suites", "recipes", "presets", "boards"]

Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="CPU threads of a run, by default 1 for small networks and 4 for larger ones on every machine. "
        "The results depend on it.",
    ),
]

Set = Annotated[
    list[str],
    typer.Option(
        "--set", help="Set an option: method.key=value, recipe.key=value or suite.key=value, such as catchup.alpha=1."
    ),
]

Root = Annotated[
    Path | None, typer.Option(help="Folder that contains leaderboards/, by default the nearest one upwards from here.")
]

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]

Track = Annotated[
    Tracker | None,
    typer.Option("--track", help="Send losses and errors to a tracker of experiments, too."),
]

Workers = Annotated[
    str | None,
    typer.Option(
        envvar="CATCHUP_BENCH_SIDE_BY_SIDE",
        help="Runs side by side, each in a process of its own: a number, or auto: on a CPU as many as the cores have "
        "threads for, on a GPU as many as its free memory is estimated to hold. By default auto on a CPU, 1 on a GPU. "
        "0 does one after the other in this process.",
    ),
]

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Network, by default that of the dataset; or one that was not made here: timm:NAME, torchvision:NAME, "
        "./FILE.py:FUNCTION, and for evaluation hf:REPO.",
    ),
]

Width = Annotated[
    int | None,
    typer.Option(
        help="Channels after the stem (DenseNet: growth rate), by default as published or as usual for the dataset."
    ),
]

Variant = Annotated[str | None, typer.Option(help="Variant of the network; catchup-bench list models names them.")]


def command(group: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose errors become one line and an exit code."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                forget_notes()
                with stoppable():
                    function(*args, **kwargs)
                for line in forget_notes():
                    typer.echo(line, err=True)
            except BenchError as err:
                stop(err)
            except BrokenPipeError:  # what was to be done is done; only its reader has gone, as after `| head`
                forget_stdout()
                raise typer.Exit(READER_GONE) from None
            except OSError as err:  # a full disk, a folder that may not be read
                stop(RunFailed(f"{err.filename or 'input or output'}: {err.strerror or err}"))
            except KeyboardInterrupt as err:
                typer.echo("interrupted; run the same command again to resume", err=True)
                raise typer.Exit(getattr(err, "exit_code", 130)) from None

        group.command(name)(guarded)
        return guarded

    return register


def forget_notes() -> list[str]:
    """Return the notes on the data read since the last call, and forget them."""
    notes = sys.modules.get("catchup_bench.data.notes")  # not imported: it needs torch, and --help must not wait
    return [] if notes is None else notes.take()


def stop(err: BenchError) -> NoReturn:
    """End with one printable line, whatever an untrusted file has put into the message."""
    text = " ".join(str(err).split())
    typer.echo("error: " + "".join(c if c.isprintable() else "?" for c in text), err=True)
    raise typer.Exit(err.exit_code) from None


def show(value: Any) -> None:
    """Print ``value`` as JSON."""
    typer.echo(json.dumps(value, indent=1))
