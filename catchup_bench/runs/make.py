"""Make runs: defaults, overrides and a method's name become the description of a run here and nowhere else."""

import shlex
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError

from .. import data, recipes, registry
from ..data_sources import HELD_OUT
from ..errors import UsageError, pick
from ..method_files import outline
from ..models import LIBRARIES, MODELS
from ..plugins import complete_options
from ..recipes import Recipe
from ..system.files import file_digest
from .run import MOST_SEED, DatasetSpec, MethodSpec, ModelSpec, Run


def method_spec(name: str, dataset: str, given: dict[str, Any]) -> MethodSpec:
    """Return a method with all of its options: defaults, those for the dataset, then what was given."""
    file, stem = registry.method_file(name), _owner(name)
    options = complete_options(outline(file), dataset.removeprefix(HELD_OUT), given, stem)
    if not registry.is_file(name):
        return MethodSpec(name=stem, options=options)
    return MethodSpec(name=stem, options=options, file=name, sha256=file_digest(file))


def model_spec(name: str | None, width: int | None, variant: str | None, dataset: data.Dataset) -> ModelSpec:
    if name is not None and ":" in name:
        if width is not None or variant is not None:
            raise UsageError(f"--width and --variant are for networks of this project, which {name} is not")
        return external_model_spec(name)
    name = pick("model", name or dataset.model, MODELS)
    architecture = MODELS[name]
    if width is None:
        width = dataset.width if name == dataset.model else architecture.width
    if not 1 <= width <= 4096:
        raise UsageError(f"--width {width}: it takes 1 to 4096; the published {name} has {architecture.width}")
    variant = pick(f"variant of {name}", variant or architecture.variants[0], architecture.variants)
    return ModelSpec(name=name, width=width, variant=variant)


def external_model_spec(name: str) -> ModelSpec:
    """Return a network that was not made here: ``timm:NAME``, ``torchvision:NAME`` or ``FILE.py:FUNCTION``."""
    path, _, function = name.rpartition(":")
    try:
        if path.endswith(".py"):
            if not Path(path).is_file():
                raise UsageError(f"no file at {path}: --model takes FILE.py:FUNCTION, such as ./net.py:build")
            stem = Path(path).stem
            return ModelSpec(name=f"{stem}:{function}", file=path, sha256=file_digest(Path(path)))
        if name.startswith(LIBRARIES):
            return ModelSpec(name=name)
    except ValidationError:
        pass
    raise UsageError(
        f"unknown model {name!r}: networks that were not made here are timm:NAME, torchvision:NAME, "
        "./FILE.py:FUNCTION, and for evaluation hf:REPO"
    )


def make_run(
    method: str,
    dataset: str | None = None,
    *,
    model: str | None = None,
    width: int | None = None,
    variant: str | None = None,
    recipe_name: str | None = None,
    overrides: dict[str, Any] | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    settings: dict[str, dict[str, Any]] | None = None,
) -> Run:
    """Make a run from names and overrides; what is not given is the dataset's default. Raises :class:`UsageError`."""
    settings = dict(settings or {})
    dataset = dataset or "digits"
    entry = data.get(dataset)
    if not 0 < fraction <= 1:
        raise UsageError(f"--fraction {fraction}: it takes a share of the training images, above 0 and at most 1")
    if not 0 <= seed <= MOST_SEED:
        raise UsageError(f"--seed {seed}: it takes 0 to {MOST_SEED}")
    spec = method_spec(method, dataset, settings.pop(_owner(method), {}))
    protocol: Recipe = recipes.load(recipe_name or entry.recipe, {**settings.pop("recipe", {}), **(overrides or {})})
    if settings:
        raise UsageError(f"--set {next(iter(settings))}.…: this run has only {_owner(method)} and recipe to set")
    return Run(
        method=spec,
        dataset=DatasetSpec(name=dataset, fraction=fraction),
        model=model_spec(model, width, variant, entry),
        recipe=protocol,
        seed=seed,
    )


def _owner(method: str) -> str:
    return method.rsplit("/", 1)[-1].removesuffix(".py")


def train_command(run: Run, *settings: str) -> str:
    """Return the command that trains ``run``, with ``settings`` of ``--set`` beside its own. Raises
    :class:`UsageError` when its dataset or its method is not known here."""
    name = run.method.file or run.method.name
    words = ["catchup-bench", "train", "--method", name, "--dataset", run.dataset.name, "--seed", str(run.seed)]
    model = run.model
    if model.file is not None:
        words += ["--model", f"{model.file}:{model.name.partition(':')[2]}"]
    else:
        words += ["--model", model.name]
    words += ["--width", str(model.width), "--variant", model.variant] if model.width and model.variant else []
    words += ["--fraction", str(run.dataset.fraction)] if run.dataset.fraction != 1 else []
    usual = {"recipe": recipes.load(data.get(run.dataset.name).recipe).model_dump()}
    usual[run.method.name] = method_spec(name, run.dataset.name, {}).options
    own = {"recipe": run.recipe.model_dump(), run.method.name: run.method.options}
    given = [
        f"{owner}.{key}={tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()}"
        for owner, options in own.items()
        for key, value in options.items()
        if value != usual[owner].get(key) and value is not None
    ]
    return shlex.join([*words, *(word for text in (*given, *settings) for word in ("--set", text))])
