"""What mkdocs adds when it builds the site: a page per method, the commands and the notebook, from what they are.

A page of docs/ may link to files of the checkout, as it is read there, too; on the site such links are plain text.
"""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\]]+)\]\(([^)]*)\)")
ROLE = re.compile(r":\w+:<code>~?(?:[\w.]*\.)?(\w+)</code>")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {"commands.md": commands_page(), "python.md": notebook_page(), **dict(method_pages())}
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take out links that lead out of docs/, and to folders of data in it."""
    return LINK.sub(lambda link: link[1] if link[2].startswith("../") or is_folder(link[2]) else link[0], markdown)


def is_folder(target: str) -> bool:
    return (ROOT / "docs" / target).is_dir() if target and "://" not in target else False


def on_page_content(html: str, **_: Any) -> str:
    """Show the roles of docstrings as code."""
    return ROLE.sub(r"<code>\1</code>", html)


def method_pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of a page per method, and of their table."""
    from catchup_bench.leaderboard.methods_page import measured_costs, paper_link, plain, section
    from catchup_bench.method_files import outline

    costs = measured_costs(ROOT)
    rows = [
        "# Methods",
        "",
        "| method | name | paper | year | level | passes |",
        "| :-- | :-- | :-- | --: | :-- | :-- |",
    ]
    for path in sorted((ROOT / "methods").glob("*.py")):
        if path.name.startswith("_"):
            continue
        cls, name = outline(path), path.stem
        lines = section(name, cls, costs.get(name, []))
        yield f"methods/{name}.md", "\n".join(lines).replace(f"## {name}", f"# {name}", 1) + "\n"
        cells = [f"[{name}]({name}.md)", cls.title, paper_link(cls.paper), str(cls.year), cls.level, cls.passes]
        rows.append("| " + " | ".join(plain(text).replace("|", "&#124;") for text in cells) + " |")
    yield "methods/index.md", "\n".join([*rows, ""])


def commands_page() -> str:
    """Return the reference of every command, from the command line itself."""
    import typer

    from catchup_bench.cli import app

    lines = ["# Commands", "", "Exit codes: 0 done, 1 a run failed, 2 bad input, 3 nothing selected, 4 verification"]
    lines += ["failed, 130 and 143 stopped by a signal.", ""]
    for path, command in walk(typer.main.get_command(app), "catchup-bench"):
        if hasattr(command, "commands"):
            continue
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        words = " ".join(p.metavar or p.name.rstrip("_").upper() for p in arguments)
        annotations = {name: p.annotation for name, p in inspect.signature(command.callback).parameters.items()}
        lines += [f"## {path}", "", f"`{' '.join([path, words]).strip()} [OPTIONS]`", "", text(command.help), ""]
        lines += ["| | | default |", "| :-- | :-- | :-- |"]
        for p in command.params:
            names = p.opts if p.param_type_name == "option" else [p.name.rstrip("_").upper()]
            names = [*names, *getattr(p, "secondary_opts", [])]
            shown = ", ".join(f"`{name}`" for name in names)
            choices = closed_set(annotations.get(p.name))
            takes = f" One of {', '.join(f'`{c}`' for c in choices)}." if choices else ""
            lines.append(f"| {shown} | {text(p.help or '')}{takes} | {default(p)} |")
        lines.append("")
    return "\n".join(lines)


def walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from walk(command, f"{path} {name}")


def closed_set(annotation: Any) -> list[str]:
    """Return the values that a parameter takes, where its annotation lists them."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in closed_set(part)]


def default(p: Any) -> str:
    """Return what an option is when it is not given."""
    value = p.default() if callable(p.default) else p.default
    if value is None or value is False or value in ([], (), "") or type(value).__name__ == "Sentinel":
        return ""
    return f"`{' '.join(map(str, value)) if isinstance(value, list | tuple) else value}`"


def text(words: str) -> str:
    """Return ``words`` as part of a table, without what rich and HTML would take for markup."""
    return " ".join(words.split()).replace("|", "&#124;").replace("<", "&lt;")


def notebook_page() -> str:
    """Return the notebook, which CI executes, as a page."""
    cells = json.loads((ROOT / "docs" / "python.ipynb").read_text(encoding="utf-8"))["cells"]
    blocks = []
    for cell in cells:
        source = "".join(cell["source"])
        blocks.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(blocks) + "\n"
