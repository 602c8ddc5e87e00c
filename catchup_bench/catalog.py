"""What there is to choose from, with what is known of it."""

from dataclasses import MISSING, fields
from typing import Any

from . import board, names, recipe, registry

KINDS = ("methods", "datasets", "models", "suites", "recipes", "boards")


def entries(kind: str) -> list[dict[str, Any]]:
    """One dictionary per entry of a kind, its ``name`` first."""
    names.pick("kind", kind, KINDS)
    every = (methods, datasets, models, suites, recipes, boards)
    return {function.__name__: function for function in every}[kind]()


def methods() -> list[dict[str, Any]]:
    found = []
    for name in registry.methods():
        cls = registry.method_class(name)
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
            }
        )
    return found


def datasets() -> list[dict[str, Any]]:
    from .data import DATASETS

    return [
        {"name": n, "classes": d.num_classes, "size": d.size, "model": d.model, "recipe": d.recipe, "about": d.about}
        for n, d in DATASETS.items()
    ]


def models() -> list[dict[str, Any]]:
    from .models import MODELS

    return [{"name": n, "width": a.width, "variants": a.variants, "about": a.about} for n, a in MODELS.items()]


def suites() -> list[dict[str, Any]]:
    from .suites import GROUPS

    single = [(n, registry.suite_class(n)) for n in registry.suites()]
    found: list[dict[str, Any]] = [
        {"name": n, "about": c.about, "cost": c.cost, "options": {f.name: f.default for f in fields(c)}}
        for n, c in single
    ]
    return found + [
        {"name": n, "about": f"group: {', '.join(g)}", "cost": "", "options": {}} for n, g in GROUPS.items()
    ]


def recipes() -> list[dict[str, Any]]:
    raw = {name: recipe.read_toml(name, "recipe", recipe.FOLDER) for name in recipe.available()}
    return [
        {"name": n, "title": v.get("title", ""), "source": v.get("source", ""), "options": recipe.load(n).model_dump()}
        for n, v in raw.items()
    ]


def boards() -> list[dict[str, Any]]:
    loaded = {name: board.load(name) for name in board.available()}
    return [
        {"name": n, "question": b.question, "methods": len(b.methods), "seeds": len(b.seeds), "setups": len(b.setups)}
        for n, b in loaded.items()
    ]
