"""``catchup-bench report`` and ``show``: a page of runs, and the picture of how a method mixes."""

from pathlib import Path
from typing import Annotated

import typer

from .options import DataDir, Json, Runs, Set, show


def report(
    which: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run folders, beginnings or ends of their names, or files of records."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, by default report.html in the folder of the run, or beside a record."),
    ] = None,
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write one HTML file of what is stored of a run, or of several side by side; it opens without a network.

    What is missing is named with the command that makes it. The raw maps behind the pictures are written beside it.
    """
    from ..leaderboard.svg import drawing
    from ..report.page import default_file, write_report
    from ..report.runs import read_reported

    with drawing():  # says that matplotlib is missing, before anything is read
        reported = read_reported(which, runs)
    path = out or default_file(which[0], reported)
    written = [str(p) for p in write_report(reported, path, data_dir)]
    show({"written": written}) if as_json else typer.echo("\n".join(written))


def show_method(
    method: Annotated[str, typer.Argument(help="Name of a method, or path of a Python file that defines one.")],
    run: Annotated[
        str | None, typer.Option(help="Run whose trained network to use; by default an untrained one.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Dataset whose images to mix.")] = "digits",
    seed: Annotated[int, typer.Option(help="Seed of the step's randomness.")] = 0,
    set_: Set = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(help="PNG or SVG file to write, by default METHOD.png in this folder.")
    ] = None,
    runs: Runs = Path("runs"),
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Draw a mixed batch and, behind each stage, which channels are an image's own and which another's."""
    from ..report.show import draw_method

    path = draw_method(method, run, dataset, seed, set_, out, runs, data_dir)
    show({"written": [str(path)]}) if as_json else typer.echo(path)
