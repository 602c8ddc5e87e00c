"""The page of the methods, ``methods/README.md``: what the method files say, and what the methods cost where that was
measured."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..bounds import bounded_fields
from ..errors import UsageError
from ..method_files import Outline, outline
from ..records.costs import read_costs
from ..records.results_folder import cost_files
from ..relatives import relatives_text
from ..text import markdown

LABELS = {
    "Defaults": "Source of the defaults",
    "Deviations": "Deviations from the released code",
    "Pitfalls": "Pitfalls",
}
"""How lines of a docstring begin, and what the page calls what they say."""

HEAD = """\
# Methods

One file each: the file's name is the method's name. This page is made from the docstrings, attributes and options in
the files, and from the costs beside the records of the boards, by `catchup-bench leaderboard render`, and checked by
`catchup-bench leaderboard check`. Cost is the time of a training step relative to the baseline's."""


def methods_page(root: Path) -> str:
    """Return the page of the method files in ``root``, without running one; those that cannot be read are named."""
    made, problems = {}, []
    for path in sorted((root / "methods").glob("*.py")):
        if path.name.startswith("_"):
            continue
        try:
            made[path.stem] = outline(path)
        except UsageError as err:
            problems.append(f"- {plain(str(err).replace(f'{root}/', ''))}")
    costs = measured_costs(root)
    lines = [HEAD, "", "| method | name | paper | year | level | passes |", "| :-- | :-- | :-- | --: | :-- | :-- |"]
    for name, cls in made.items():
        shown = [f"[{name}](#{name})", cls.title, paper_link(cls.paper), str(cls.year), cls.level, cls.passes]
        lines.append("| " + " | ".join(plain(text).replace("|", "&#124;") for text in shown) + " |")
    for name, cls in made.items():
        lines += ["", *section(name, cls, costs.get(name, []))]
    if problems:
        lines += ["", "## Not readable", "", *problems]
    return "\n".join([*lines, ""])


def section(name: str, cls: type[Outline], costs: list[str]) -> Iterator[str]:
    prose, said = split_docstring(cls.__doc__ or "")
    yield f"## {name}"
    for paragraph in (f"**{plain(cls.title)}.** {prose[0]}" if prose else f"**{plain(cls.title)}.**", *prose[1:]):
        yield from ("", paragraph)
    yield ""
    if cls.reference:
        yield f"- **Source**: {plain(cls.reference)}"
    takes = {field: f", takes {plain(allowed)}" for field, (_, allowed) in bounded_fields(cls).items()}
    options = [f"`{f.name}` = {shown(f.default)}{takes.get(f.name, '')}" for f in fields(cls)]
    yield f"- **Options**: {'; '.join(options)}."
    datasets: dict[str, list[str]] = {}
    for dataset, values in cls.defaults.items():
        datasets.setdefault(", ".join(f"`{k}` = {shown(v)}" for k, v in values.items()), []).append(str(dataset))
    if datasets:
        per_dataset = [f"{text} on {plain(', '.join(names))}" for text, names in datasets.items()]
        yield f"- **Defaults of datasets**: {'; '.join(per_dataset)}."
    yield from (f"- **{title}**: {said[label]}" for label, title in LABELS.items() if label in said)
    if cls.relatives:
        yield f"- **Trained on relatives of the test corruptions**: {relatives_text(cls.relatives)}."
    yield f"- **Level**: {plain(cls.level)}. **Passes**: {plain(cls.passes)}."
    if costs:
        yield f"- **Cost**: {'; '.join(costs)}."
    yield f"- **Use**: `catchup-bench train --method {name}{setting(name, cls)}`"


def setting(name: str, cls: type[Outline]) -> str:
    """Return how to set the first option that is the method's own, as an example."""
    own = [f for f in fields(cls) if f.name not in ("criterion", "prob", "layers") and f.default is not None]
    return f" --set {name}.{own[0].name}={shown(own[0].default)}" if own else ""


def shown(value: Any) -> str:
    """Return a value as ``--set`` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(shown, value))}]"
    return "none" if value is None else plain(str(value))


def split_docstring(text: str) -> tuple[list[str], dict[str, str]]:
    """Return the paragraphs of a docstring, and apart from them what it says under each of :data:`LABELS`."""
    paragraphs: list[str] = []
    said: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", text.strip()):
        first, *rest = re.split(rf"^({'|'.join(LABELS)}): ", block, flags=re.MULTILINE)
        if first.strip():
            paragraphs.append(plain(first))
        said |= {label: plain(words) for label, words in zip(rest[::2], rest[1::2], strict=True)}
    return paragraphs, said


def plain(text: str) -> str:
    """Return text of a docstring as one line of markdown."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")
    return " ".join(text.split()).replace("<", "&lt;")


def paper_link(paper: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)


def measured_costs(root: Path) -> dict[str, list[str]]:
    """Return what each row of the boards costs, with the board, its network and the machine."""
    found: dict[str, list[str]] = {}
    for path in cost_files(root):
        measured = read_costs(path)
        board, setup = path.parts[-3:-1]
        device = markdown(measured.provenance.get("device", "another machine"))
        where = f"[{board}](../leaderboards/{board}.md), {setup}, on {device}"
        for name, ratio in measured.ratios.items():
            found.setdefault(name, []).append(f"{ratio:.2f} ({where})")
    return found
