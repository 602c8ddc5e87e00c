"""Which files the boards' pages are, writing them, and whether they are what the records give."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from .. import boards
from ..boards import record_name
from ..errors import NothingSelected
from ..system.files import write_text
from .markdown import between, board_page, excerpt, index_section
from .methods_page import methods_page
from .table import Table, make_table


def published_tables(root: Path, made: Mapping[str, Table] = MappingProxyType({})) -> dict[str, Table]:
    """The tables of all boards that have records, but those ``made`` already. Raises :class:`NothingSelected` when
    there is none at all."""
    folder = root / "leaderboards" / "results"
    held = sorted(p.name for p in folder.glob("*/") if p.name.removesuffix(boards.QUICK) in boards.available())
    if not held and not made:
        raise NothingSelected(f"no records in {folder}: run a board first")
    return {name: made.get(name) or make_table(boards.load(name), folder / name) for name in held}


def expected_files(root: Path, only: str | None = None, recipe: str | None = None) -> dict[Path, str]:
    """Every generated file of the leaderboards in ``root``, as the records give it."""
    folder = root / "leaderboards"
    if only is None:
        tables = published_tables(root)
    else:
        name = record_name(only, recipe)
        tables = {name: make_table(boards.load(only, recipe), folder / "results" / name)}
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
    return files


def write_pages(root: Path, only: str | None = None, recipe: str | None = None) -> list[Path]:
    files = expected_files(root, only, recipe)
    for path, text in files.items():
        write_text(path, text)
    return list(files)


def stale_pages(root: Path, only: str | None = None, recipe: str | None = None) -> list[str]:
    """Generated files that are not what the records give."""
    return [
        str(path.relative_to(root))
        for path, text in expected_files(root, only, recipe).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
