"""The command line: it parses and prints. Heavy modules are imported inside the commands."""

import atexit
import os
import sys
from typing import Annotated

import typer

from ..system.environment import wait_passively
from .bench import bench
from .data import data_app
from .doctor import doctor
from .evaluate import evaluate, merge
from .leaderboard import demo, leaderboard
from .list import list_
from .options import command
from .push import push
from .report import report, show_method
from .streams import show_anywhere
from .train import train
from .verify import submit, verify

HELP = "Measure whether a training method makes a CNN more robust, and at what cost."

app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")

app.add_typer(leaderboard, name="leaderboard")

app.add_typer(data_app, name="data")

app.add_typer(bench, name="bench")


for function in (train, evaluate, merge, demo, report, verify, submit, push, doctor):
    command(app)(function)
command(app, "list")(list_)
command(app, "show")(show_method)


@app.callback(invoke_without_command=True)
def root_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    wait_passively()
    if version:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; the entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        show_anywhere(stream)
    try:
        app()
    except SystemExit as end:
        if end.code in (130, 143):  # nobody waits the seconds that taking torch apart takes
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(end.code))
        raise
