"""``catchup-bench data``: fetch, check and corrupt datasets, and draw corruptions."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import DataDir, Json, command, show

data_app = typer.Typer(help="Fetch and check datasets; write corrupted ones.", no_args_is_help=True)

EXTRAS = "cifar10-c, cifar100-c, imagenet-c, tinyimagenet-c"


@command(data_app)
def fetch(
    name: Annotated[str, typer.Argument(help=f"Name of a dataset, {EXTRAS} or frost.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Download a dataset from its official address and read it once."""
    from .. import data

    facts = data.fetch(name, data_dir)
    counts = ", ".join(f"{n} {what}" for what, n in facts.items() if isinstance(n, int))
    show(facts) if as_json else typer.echo(f"{name} in {facts['folder']}: {counts}")


@command(data_app)
def check(
    name: Annotated[str, typer.Argument(help=f"Name of a dataset, folder:PATH, hf:NAME, {EXTRAS} or frost.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Open every image, count them and compare with the official numbers; exit with 2 when something is wrong."""
    from ..data.check import check as examine
    from .progress import Bar

    with Bar(f"checking {name}", quiet=as_json) as bar:
        result = examine(name, data_dir, lambda text: bar.say(text, always=False))
    if as_json:
        return show(result)
    typer.echo(f"{name} in {result['folder']}: whole")
    for split, facts in result.get("splits", {}).items():
        typer.echo(f"  {split}: {facts['images']:,} images, {facts['classes']} classes, sha256 {facts['sha256']}")


@command(data_app)
def where(
    name: Annotated[str, typer.Argument(help=f"Name of a dataset, folder:PATH, {EXTRAS} or frost.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show where a dataset is expected, which parts are missing, its licence and how to get it."""
    from .. import data_sources

    facts = data_sources.where(name, data_dir)
    if as_json:
        return show(facts)
    for key, value in facts.items():
        typer.echo(f"{key}: {readable(value)}")


def readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{n:,} {key}" for key, n in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(value) or "nothing"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value or "no command")


@command(data_app)
def corrupt(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset whose test images to corrupt.")],
    out: Annotated[Path, typer.Argument(help="Folder to write the arrays to.")],
    types: Annotated[str, typer.Option(help="Corruptions, separated by commas; by default all 19.")] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write corrupted test sets in the layout of CIFAR-100-C: one .npy per corruption, severities stacked."""
    from .. import corruptions, data
    from ..data.corrupted import write_corrupted
    from .progress import Bar

    wanted = [t.strip() for t in types.split(",")] if types else list(corruptions.NAMES)
    with Bar("corrupting", quiet=as_json) as bar:
        images = data.load(dataset, "test", data_dir)
        files = write_corrupted(dataset, images, out, wanted, data_dir or data.default_folder(), bar.say)
    show({"files": [str(f) for f in files]}) if as_json else typer.echo(f"{len(files)} files in {files[0].parent}")


@command(data_app, "contact-sheet")
def contact_sheet(
    out: Annotated[Path, typer.Argument(help="PNG file to write.")],
    picture: Annotated[
        Path | None, typer.Option(help="Picture to corrupt, by default scikit-learn's china.jpg.")
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=512, help="Height and width to shrink it to, in pixels.")] = 64,
    as_json: Json = False,
) -> None:
    """Draw all 19 corruptions of a picture at their five severities on one sheet."""
    from . import contact_sheet

    contact_sheet.write(out, picture, size)
    show({"file": str(out)}) if as_json else typer.echo(str(out))
