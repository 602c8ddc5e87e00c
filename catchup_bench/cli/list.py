"""``catchup-bench list``."""

from typing import Annotated

import typer

from .options import Json, Kind, show


def show_catalog(kind: Kind, long: bool, as_json: bool) -> None:
    """Print the entries of a kind: a table of them, their names as JSON, or with ``long`` everything."""
    from . import tables
    from .catalog import catalog_entries

    entries = catalog_entries(kind)
    if as_json:
        return show(entries if long else [e["name"] for e in entries])
    tables.print_catalog(entries, long)


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    long: Annotated[bool, typer.Option("--long", help="Show all properties of each.")] = False,
    as_json: Json = False,
) -> None:
    """List the methods, datasets, models, suites, recipes or boards that can be chosen."""
    show_catalog(kind, long, as_json)
