"""Which files the boards' pages are, writing them, and whether they are what the records give."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .. import boards
from ..boards import record_name
from ..errors import NothingSelected
from ..records.results_folder import board_folder, pages_folder, results_folder
from ..system.files import write_text
from .markdown import between, board_page, excerpt, index_section
from .methods_page import methods_page
from .table import Table, make_table


@dataclass(frozen=True)
class Pages:
    """The ``tables`` by the names of their pages, and the text of every generated file."""

    root: Path
    tables: Mapping[str, Table]
    files: Mapping[Path, str]

    def write(self) -> list[Path]:
        """Write the files, and return their paths."""
        for path, text in self.files.items():
            write_text(path, text)
        return list(self.files)

    def stale(self) -> list[str]:
        """Return the files that are not what the records give, as paths below the root."""
        return [
            str(path.relative_to(self.root))
            for path, text in self.files.items()
            if not path.exists() or path.read_text(encoding="utf-8") != text
        ]


def published_tables(root: Path, made: Mapping[str, Table] = MappingProxyType({})) -> dict[str, Table]:
    """Return the tables of all boards that have records; those in ``made`` are not made again.

    Raises :class:`NothingSelected` when there is none at all.
    """
    known, folder = boards.available(), results_folder(root)
    held = sorted(p.name for p in folder.glob("*/") if p.name.removesuffix(boards.QUICK) in known)
    if not held and not made:
        raise NothingSelected(f"no records in {folder}: run a board first")
    return {name: made.get(name) or make_table(boards.load(name), board_folder(root, name)) for name in held}


def make_pages(root: Path, only: str | None = None, recipe: str | None = None) -> Pages:
    """Return every generated file of the leaderboards in ``root``, as the records give it, each table made once.

    ``only`` is the name of one board, whose page, excerpt and line in the index these are then.
    """
    folder = pages_folder(root)
    if only is None:
        tables = published_tables(root)
    else:
        name = record_name(only, recipe)
        tables = {name: make_table(boards.load(only, recipe), board_folder(root, name))}
    files = {folder / f"{name}.md": board_page(name, t) for name, t in tables.items()}
    readme, index = root / "README.md", folder / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        for name, t in tables.items():
            text = between(text, f"board: {name}", excerpt(name, t))
        files[readme] = text
    if index.exists():
        every = published_tables(root, tables) if only is not None else tables
        files[index] = between(index.read_text(encoding="utf-8"), "boards", index_section(every))
    if (root / "methods").is_dir():
        files[root / "methods" / "README.md"] = methods_page(root)
    return Pages(root, tables, files)


def write_pages(root: Path, only: str | None = None, recipe: str | None = None) -> list[Path]:
    """Write the files of :func:`make_pages`, and return their paths."""
    return make_pages(root, only, recipe).write()


def stale_pages(root: Path, only: str | None = None, recipe: str | None = None) -> list[str]:
    """Return the generated files that are not what the records give."""
    return make_pages(root, only, recipe).stale()
