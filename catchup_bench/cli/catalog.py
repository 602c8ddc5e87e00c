"""What can be chosen, with its properties, for ``catchup-bench list``."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, fields
from typing import Any

import typer

from .. import boards, presets, recipes, registry
from ..bounds import bounded_fields
from ..errors import BenchError, UsageError
from ..relatives import relatives_text
from ..system.toml_files import read_toml
from .options import Kind


def catalog_entries(kind: Kind) -> list[dict[str, Any]]:
    """Return one dictionary per entry of a kind, its ``name`` first."""
    kinds: dict[Kind, Callable[[], list[dict[str, Any]]]] = {
        "methods": method_entries,
        "datasets": dataset_entries,
        "models": model_entries,
        "suites": suite_entries,
        "recipes": recipe_entries,
        "presets": preset_entries,
        "boards": board_entries,
    }
    return kinds[kind]()


def method_entries() -> list[dict[str, Any]]:
    """Return what the files of methods say, without running them; name on stderr one that cannot be read."""
    entries = []
    costs = costs_by_setup()
    for name in registry.methods():
        try:
            cls = registry.method_outline(name)
        except UsageError as err:
            typer.echo(f"left out: {err}", err=True)
            continue
        entries.append(
            {
                "name": name,
                "title": cls.title,
                "level": cls.level,
                "paper": cls.paper,
                "year": cls.year,
                "passes": cls.passes,
                "cost": span(costs.get(name, {})),
                "trained on relatives of": relatives_text(cls.relatives),
                "cost by setup": costs.get(name, {}),
                "per dataset": {d: dict(v) for d, v in cls.defaults.items()},
                "options": {f.name: f.default for f in fields(cls) if f.default is not MISSING},
                "takes": {field: allowed for field, (_, allowed) in bounded_fields(cls).items()},
            }
        )
    return entries


def costs_by_setup() -> dict[str, dict[str, float]]:
    """Return, by method and by board and setup (``digits/preactresnet10-w16``), what a training step takes relative to
    the baseline's, on the boards whose records lie here. Files that cannot be read are left out."""
    from ..records.costs import read_costs
    from ..records.results_folder import cost_files, find_root

    found: dict[str, dict[str, float]] = {}
    with suppress(BenchError):
        for path in cost_files(find_root(None)):
            with suppress(UsageError):
                for name, ratio in read_costs(path).ratios.items():
                    found.setdefault(name, {})["/".join(path.parts[-3:-1])] = round(ratio, 2)
    return found


def span(costs: dict[str, float]) -> str:
    """Return the least and the greatest of some costs, as ``×1.02`` or ``×1.13–1.56``."""
    ends = dict.fromkeys(f"{ratio:.2f}" for ratio in (min(costs.values()), max(costs.values()))) if costs else ()
    return f"×{'–'.join(ends)}" if ends else ""


def dataset_entries() -> list[dict[str, Any]]:
    from ..data import DATASETS

    return [
        {"name": n, "classes": d.num_classes, "size": d.size, "model": d.model, "recipe": d.recipe, "about": d.about}
        for n, d in DATASETS.items()
    ]


def model_entries() -> list[dict[str, Any]]:
    from ..models import MODELS

    return [{"name": n, "width": a.width, "variants": a.variants, "about": a.about} for n, a in MODELS.items()]


def suite_entries() -> list[dict[str, Any]]:
    from ..suites import GROUPS, suite_class, suite_names

    single = [(n, suite_class(n)) for n in suite_names()]
    entries: list[dict[str, Any]] = [
        {"name": n, "about": c.about, "cost": c.cost, "options": {f.name: f.default for f in fields(c)}}
        for n, c in single
    ]
    return entries + [
        {"name": n, "about": f"group: {', '.join(g)}", "cost": "", "options": {}} for n, g in GROUPS.items()
    ]


def recipe_entries() -> list[dict[str, Any]]:
    raw = {name: read_toml(name, "recipe", recipes.__name__) for name in recipes.available()}
    return [
        {"name": n, "title": v.get("title", ""), "source": v.get("source", ""), "options": recipes.load(n).model_dump()}
        for n, v in raw.items()
    ]


def preset_entries() -> list[dict[str, Any]]:
    by_name = {name: presets.load(name) for name in presets.available()}
    return [
        {
            "name": n,
            "title": p.title,
            "source": p.source,
            "differs": "; ".join([p.differs, *(f"{m}: {own.differs}" for m, own in p.methods.items() if own.differs)]),
            "methods": ", ".join(f"{m} (on {', '.join(own.base)})" if own.base else m for m, own in p.methods.items()),
        }
        for n, p in by_name.items()
    ]


def board_entries() -> list[dict[str, Any]]:
    by_name = {name: boards.load(name) for name in boards.available()}
    return [
        {"name": n, "question": b.question, "methods": len(b.methods), "seeds": len(b.seeds), "setups": len(b.setups)}
        for n, b in by_name.items()
    ]
