"""The page of speeds, ``docs/speed.md``, from what ``bench … --json`` printed into ``docs/speed/``.

The name of a file begins with the benchmark's, ``train-w16.json`` for example.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import NothingSelected
from ..leaderboard.markdown import between
from ..system.files import read_json
from . import sheets

KINDS: dict[str, tuple[str, str, Callable[[dict[str, Any]], list[sheets.Sheet]]]] = {
    "train": (
        "Training",
        "The reference is the loop of released mixup codes: one PIL image at a time through a DataLoader, fp32, NCHW, "
        "eager. Each line adds one thing to the one above. The product is the project's training loop; compiled, the "
        "same with `--engine compile`; a run a core, one run on every core, as boards of small runs are trained.",
        sheets.loops,
    ),
    "methods": ("Methods", "The step of every method, interleaved with the baseline's.", sheets.costs),
    "corruptions": ("Corruptions", "Against their published definitions, one image at a time.", sheets.corruptions),
    "suites": ("Suites", "Speed of each suite as a share of that of plain forward passes.", sheets.suites),
    "scale": ("Growth", "Speed and peak memory of the process, by images and batch.", sheets.scale),
}
"""Benchmark → heading, what is compared, tables."""


def records(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the records: benchmark → name of a file → what it holds. Raises :class:`NothingSelected` when there is
    none."""
    folder = root / "docs" / "speed"
    by_kind = {
        kind: {p.stem: dict(read_json(p, "benchmark")) for p in sorted(folder.glob(f"{kind}*.json"))} for kind in KINDS
    }
    if not any(by_kind.values()):
        raise NothingSelected(f"no benchmarks in {folder}: catchup-bench bench train --json > {folder}/train.json")
    return {kind: files for kind, files in by_kind.items() if files}


def page(by_kind: dict[str, dict[str, dict[str, Any]]]) -> str:
    parts = [
        "# Speed",
        "Ratios were measured in one process, interleaved: they apply to other machines better than the absolute "
        "figures beside them. Written by `catchup-bench bench page` from [speed/](speed).",
    ]
    for kind, files in by_kind.items():
        heading, about, tables = KINDS[kind]
        parts += [f"## {heading}", f"`catchup-bench bench {kind}`. {about}"]
        for name, record in files.items():
            for sheet in tables(record):
                parts += [f"**{sheet.title[0].upper()}{sheet.title[1:]}**", markdown(sheet)]
                parts += [sheet.note] if sheet.note else []
            where = record["provenance"]
            parts.append(f"[{name}.json](speed/{name}.json), {where['date']}, torch {where['versions']['torch']}.")
    return "\n\n".join(parts) + "\n"


def markdown(sheet: sheets.Sheet) -> str:
    rule = [":--" if i < sheet.left else "--:" for i in range(len(sheet.head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [sheet.head, rule, *sheet.rows])


def headline(by_kind: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the ratios that the README shows."""
    trained = list(by_kind.get("train", {}).values())
    loops = dict.fromkeys(name for record in trained for name in record["loops"] if name != "reference")
    rows = [
        [f"{record['model']}, {record['image_size']} px; {record['provenance']['device']}"]
        + [f"×{record['loops'][name]['ratio']:.2f}" if name in record["loops"] else "–" for name in loops]
        for record in trained
    ]
    parts = []
    if rows:
        parts.append(
            "Images per second of training, relative to the plain loop of released mixup codes; each + adds one thing "
            "to the column before. The product is the project's training loop."
        )
        parts.append(markdown(sheets.Sheet("", ["network; machine", *loops], rows)))
    parts += [
        f"All {record['variants']} corruptions of an image: ×{record['all_variants']:.0f} their published definitions, "
        "on one thread."
        for record in by_kind.get("corruptions", {}).values()
    ]
    return "\n\n".join([*parts, "Everything that was measured: [docs/speed.md](docs/speed.md)."])


def expected(root: Path) -> dict[Path, str]:
    """Return the page, and the README with its headline, as the records give them."""
    by_kind = records(root)
    files = {root / "docs" / "speed.md": page(by_kind)}
    if (readme := root / "README.md").exists():
        files[readme] = between(readme.read_text(encoding="utf-8"), "speed", headline(by_kind))
    return files
