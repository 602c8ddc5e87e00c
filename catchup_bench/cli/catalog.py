"""What there is to choose from, with what is known of it."""

from dataclasses import MISSING, fields
from typing import Any

import typer

from .. import boards, recipes, registry
from ..bounds import bounded_fields
from ..errors import UsageError, pick
from ..system.toml_files import read_toml


def catalog_entries(kind: str) -> list[dict[str, Any]]:
    """One dictionary per entry of a kind, its ``name`` first."""
    kinds = {
        "methods": method_entries,
        "datasets": dataset_entries,
        "models": model_entries,
        "suites": suite_entries,
        "recipes": recipe_entries,
        "boards": board_entries,
    }
    return kinds[pick("kind", kind, kinds)]()


def method_entries() -> list[dict[str, Any]]:
    """What the files of methods say, without running them; one that cannot be read is named on stderr."""
    found = []
    for name in registry.methods():
        try:
            cls = registry.method_outline(name)
        except UsageError as err:
            typer.echo(f"left out: {err}", err=True)
            continue
        found.append(
            {
                "name": name,
                "title": cls.title,
                "level": cls.level,
                "paper": cls.paper,
                "year": cls.year,
                "passes": cls.passes,
                "per dataset": {d: dict(v) for d, v in cls.defaults.items()},
                "options": {f.name: f.default for f in fields(cls) if f.default is not MISSING},
                "takes": {field: allowed for field, (_, allowed) in bounded_fields(cls).items()},
            }
        )
    return found


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
    found: list[dict[str, Any]] = [
        {"name": n, "about": c.about, "cost": c.cost, "options": {f.name: f.default for f in fields(c)}}
        for n, c in single
    ]
    return found + [
        {"name": n, "about": f"group: {', '.join(g)}", "cost": "", "options": {}} for n, g in GROUPS.items()
    ]


def recipe_entries() -> list[dict[str, Any]]:
    raw = {name: read_toml(name, "recipe", recipes.__name__) for name in recipes.available()}
    return [
        {"name": n, "title": v.get("title", ""), "source": v.get("source", ""), "options": recipes.load(n).model_dump()}
        for n, v in raw.items()
    ]


def board_entries() -> list[dict[str, Any]]:
    loaded = {name: boards.load(name) for name in boards.available()}
    return [
        {"name": n, "question": b.question, "methods": len(b.methods), "seeds": len(b.seeds), "setups": len(b.setups)}
        for n, b in loaded.items()
    ]
