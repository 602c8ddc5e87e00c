"""``catchup-bench list``."""

from typing import Annotated

import typer

from .options import Json, show


def show_catalog(kind: str, long: bool, as_json: bool) -> None:

    from . import tables
    from .catalog import catalog_entries

    entries = catalog_entries(kind)
    if as_json:
        return show(entries if long else [e["name"] for e in entries])
    tables.print_catalog(entries, long)


def list_(
    kind: Annotated[str, typer.Argument(help="methods, datasets, models, suites, recipes or boards.")],
    long: Annotated[bool, typer.Option("--long", help="Everything that is known of each.")] = False,
    as_json: Json = False,
) -> None:
    """What there is."""
    show_catalog(kind, long, as_json)
