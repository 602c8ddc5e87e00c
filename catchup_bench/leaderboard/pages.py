"""Which files the boards' pages are, writing them, and whether they are what the records give."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .. import boards
from ..boards import Board
from ..errors import NothingSelected
from ..records.results_folder import board_folder, pages_folder, results_folder
from ..system.files import write_text
from .markdown import between, board_page, excerpt, index_section
from .methods_page import methods_page
from .table import Table, make_table


@dataclass(frozen=True)
class Pages:
    """The text of every generated file below ``root``."""

    root: Path
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


def tables_of(root: Path, board: Board | None) -> dict[str, Table]:
    """Return the table of ``board`` by its name, or those of all boards that have records."""
    return published_tables(root) if board is None else {board.name: make_table(board, board_folder(root, board.name))}


def published_tables(root: Path, made: Mapping[str, Table] = MappingProxyType({})) -> dict[str, Table]:
    """Return the tables of all boards that have records; those in ``made`` are not made again.

    Raises :class:`NothingSelected` when there is none at all.
    """
    known, folder = boards.available(), results_folder(root)
    held = sorted(p.name for p in folder.glob("*/") if p.name.removesuffix(boards.QUICK) in known)
    if not held and not made:
        raise NothingSelected(f"no records in {folder}: run a board first")
    return {name: made.get(name) or make_table(boards.load(name), board_folder(root, name)) for name in held}


def make_pages(root: Path, tables: Mapping[str, Table]) -> Pages:
    """Return the generated files in ``root`` that ``tables`` are shown in: their pages and those that show what they
    say of the paper's claims, the excerpts in the README, the index and the page of the methods."""
    folder, every = pages_folder(root), published_tables(root, tables)
    shown = {name: t for name, t in every.items() if {name, t.board.claim_board} & tables.keys()}
    pages = {**tables, **shown}
    files = {folder / f"{name}.md": board_page(name, t, every.get(t.board.claim_board)) for name, t in pages.items()}
    readme, index = root / "README.md", folder / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        for name, t in tables.items():
            text = between(text, f"board: {name}", excerpt(name, t))
        files[readme] = text
    if index.exists():
        files[index] = between(index.read_text(encoding="utf-8"), "boards", index_section(every))
    if (root / "methods").is_dir():
        files[root / "methods" / "README.md"] = methods_page(root)
    return Pages(root, files)


def write_pages(root: Path, board: Board | None = None) -> list[Path]:
    """Write the files that show ``board``, or all boards with records, and return their paths."""
    return make_pages(root, tables_of(root, board)).write()


def stale_pages(root: Path, board: Board | None = None) -> list[str]:
    """Return the files of :func:`write_pages` that are not what the records give."""
    return make_pages(root, tables_of(root, board)).stale()
