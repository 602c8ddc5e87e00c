"""What the commands share: their options, and how they end."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ..errors import BenchError, RunFailed
from ..system.signals import stoppable

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Build model, batch and one step; write nothing.")]

Runs = Annotated[Path, typer.Option(help="Folder of the runs.", envvar="CATCHUP_BENCH_RUNS")]

DataDir = Annotated[Path | None, typer.Option(help="Folder of the datasets.", envvar="CATCHUP_BENCH_DATA")]

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]

Engine = Annotated[
    str,
    typer.Option(
        help="auto, eager, compile, graphs or compile+graphs. compile: training steps with torch.compile, evaluation "
        "as eager; graphs: both captured as CUDA graphs; auto: graphs on CUDA where a step can be captured, else eager."
    ),
]

Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="CPU threads of a run. By default 1 for small networks and 4 for larger ones, whatever the machine: "
        "another number ends in other weights.",
    ),
]

Set = Annotated[list[str], typer.Option("--set", help="owner.key=value: an option of the method, recipe or a suite.")]

Root = Annotated[Path | None, typer.Option(help="Folder that holds leaderboards/.")]

Workers = Annotated[
    str | None,
    typer.Option(
        envvar="CATCHUP_BENCH_SIDE_BY_SIDE",
        help="Runs side by side, each in a process of its own: a number, or auto: on a CPU as many as the cores have "
        "threads for, on a GPU as many as its free memory is estimated to hold. By default auto on a CPU, 1 on a GPU. "
        "0 does one after the other in this process.",
    ),
]

ModelName = Annotated[str | None, typer.Option("--model", help="Network; the dataset's default if not said.")]

Width = Annotated[
    int | None,
    typer.Option(help="Channels after the stem (DenseNet: growth rate); by default the published."),
]

Variant = Annotated[str | None, typer.Option(help="Which of the networks of that name.")]


def command(group: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose errors are one line and an exit code."""

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
            except BrokenPipeError:
                raise
            except OSError as err:  # a full disk, a folder that may not be read
                stop(RunFailed(f"{err.filename or 'input or output'}: {err.strerror or err}"))
            except KeyboardInterrupt as err:
                typer.echo("interrupted; the same command goes on where it stopped", err=True)
                raise typer.Exit(getattr(err, "exit_code", 130)) from None

        group.command(name)(guarded)
        return guarded

    return register


def forget_notes() -> list[str]:
    """Return what there is to say about the data that was read since the last call."""
    notes = sys.modules.get("catchup_bench.data.notes")  # not imported: it needs torch, and --help must not wait
    return [] if notes is None else notes.take()


def stop(err: BenchError) -> NoReturn:
    """One line, whatever a stranger's file has put into the message."""
    text = " ".join(str(err).split())
    typer.echo("error: " + "".join(c if c.isprintable() else "?" for c in text), err=True)
    raise typer.Exit(err.exit_code) from None


def show(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))
