"""``catchup-bench data``: fetching and writing datasets."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import DataDir, Json, command, show

data_app = typer.Typer(help="Fetch datasets, and write corrupted ones.", no_args_is_help=True)


@command(data_app)
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a dataset.")], data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Download a dataset from its official place and check it."""
    from . import data

    found = data.fetch(name, data_dir)
    show(found) if as_json else typer.echo(f"{name} in {found['folder']}: {found['train']} + {found['test']} images")


@command(data_app)
def corrupt(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset; its test images are corrupted.")],
    out: Annotated[Path, typer.Argument(help="Folder for the arrays.")],
    types: Annotated[str, typer.Option(help="Corruptions, with commas; all 19 if not said.")] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write corrupted test sets in the layout of CIFAR-100-C: one .npy per corruption, severities stacked."""
    from . import corruptions, data, published
    from .progress import Bar

    wanted = [t.strip() for t in types.split(",")] if types else list(corruptions.NAMES)
    with Bar("corrupting", quiet=as_json) as bar:
        files = published.write(dataset, out, wanted, data_dir or data.default_folder(), bar.say)
    show({"files": [str(f) for f in files]}) if as_json else typer.echo(f"{len(files)} files in {files[0].parent}")
