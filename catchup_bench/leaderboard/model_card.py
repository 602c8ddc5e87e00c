"""The card of a trained network: what its record says, as the README of a repository of weights."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..records.record import Outcome, Record
from ..runs.run import Run
from ..suites import Suite, make_suites, suite_class
from .statistics import wilson

NORMAL = 1.959964
"""The 97.5 % quantile of the normal distribution."""


def model_card(record: Record, run: Run, repo: str, licence: str) -> str:
    """Return the card, in Markdown, of the network of ``run`` whose outcomes are in ``record``, for ``repo``."""
    training, sha256 = record.training, str(record.checkpoint.get("sha256"))
    options = ", ".join(f"{k} = {v}" for k, v in sorted(run.method.options.items()))
    recipe = ", ".join(f"{k} {v}" for k, v in run.recipe.identity.items())
    variant = "" if run.model.variant is None else f", variant {run.model.variant}"
    share = "" if run.dataset.fraction == 1 else f", {run.dataset.fraction:g} of the images of each class"
    facts = [
        ("method", f"{run.method.name} ({options})" if options else run.method.name),
        ("network", run.model.label + variant),
        ("dataset", f"{run.dataset.name}{share}"),
        ("recipe", recipe),
        ("seed", str(run.seed)),
        ("run", record.digest),
        ("weights", f"`model.safetensors` here, those of the last epoch, SHA-256 `{sha256}`"),
        ("trained on", trained_on(training)),
        ("cost", cost(training)),
        ("licence", licence),
    ]
    lines = [
        "---",
        f"license: {licence}",
        "library_name: catchup-bench",
        "pipeline_tag: image-classification",
        "tags: [mixup, robustness, catchup-bench]",
        "---",
        "",
        f"# {run.method.name} on {run.dataset.name}, {run.model.label}, seed {run.seed}",
        "",
        "Trained and evaluated by catchup-bench. This page is made from `record.json`, which has the outcome of every "
        "test image.",
        "",
        "| | |",
        "| :-- | :-- |",
        *(f"| {name} | {plain(text)} |" for name, text in facts),
        "",
        "## Load it",
        "",
        "```python",
        "import catchup_bench",
        "",
        f'net = catchup_bench.load("hf://{repo}")  # images B×3×H×W in [0,1] → logits; runs no code from here',
        "```",
        "",
        "```bash",
        f"catchup-bench evaluate --checkpoint hf://{repo} --suite robustness",
        "```",
        "",
        "Train it again:",
        "",
        "```bash",
        f"hf download {repo} run.json --local-dir .",
        "catchup-bench train --from run.json",
        "```",
        "",
        "## Errors",
        "",
        "Top-1 error in percent, with its 95 % interval over test images: Wilson's for one condition, normal for a "
        "mean over several. It has no noise of the seed.",
        "",
        "| | error | conditions |",
        "| :-- | --: | --: |",
    ]
    for name, outcomes in summary(record.outcomes).items():
        error, low, high = error_of(outcomes)
        lines.append(f"| {plain(name)} | {error:.2f} [{low:.2f}, {high:.2f}] | {len(outcomes)} |")
    return "\n".join([*lines, ""])


def summary(outcomes: Mapping[str, Outcome]) -> dict[str, list[Outcome]]:
    """Return what the suites of ``outcomes`` show of them: the name of a row → its conditions."""
    protocols: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes.values():
        protocols.setdefault(outcome.suite, []).append(outcome.protocol)
    options = {name: suite_class(name).options_of(every) for name, every in protocols.items()}
    suites: dict[str, Suite] = make_suites(protocols, options)
    return {
        row: [outcomes[c] for c in conditions]
        for suite in suites.values()
        for row, conditions in suite.summary().items()
        if outcomes.keys() >= set(conditions)
    }


def error_of(outcomes: Sequence[Outcome]) -> tuple[float, float, float]:
    """Return the mean top-1 error of conditions in percent, and the ends of its 95 % interval over images."""
    if len(outcomes) == 1:
        return outcomes[0].error, *wilson(outcomes[0].n - outcomes[0].correct, outcomes[0].n)
    mean = sum(o.error for o in outcomes) / len(outcomes)
    if len({o.n for o in outcomes}) > 1:
        variance = sum(o.error * (100 - o.error) / o.n for o in outcomes) / len(outcomes) ** 2
    else:  # the same images every time: an image that is hard is hard in all of them
        by_image = 100 * (1 - np.mean([o.array() for o in outcomes], axis=0))
        variance = float(by_image.var()) / len(by_image)
    half = NORMAL * math.sqrt(variance)
    return mean, max(0.0, mean - half), min(100.0, mean + half)


def trained_on(training: Mapping[str, Any]) -> str:
    """Return the hardware, precision, threads and versions of a training, as far as they are known."""
    versions = training.get("versions")
    parts = [str(training.get("device", "unknown"))]
    parts += [str(training["precision"])] if "precision" in training else []
    parts += [f"{n} thread" if (n := training["threads"]) == 1 else f"{n} threads"] if "threads" in training else []
    parts += [f"torch {versions['torch']}"] if isinstance(versions, dict) and "torch" in versions else []
    return ", ".join(parts)


def cost(training: Mapping[str, Any]) -> str:
    """Return how long a training took, as far as it is known."""
    seconds, epochs, images = (training.get(key) for key in ("seconds", "epochs", "train_images"))
    if not isinstance(seconds, int | float) or not isinstance(epochs, int) or not epochs:
        return "unknown"
    return f"{seconds:,.0f} s for {epochs} epochs of {images} images there"


def plain(text: str) -> str:
    """Return ``text`` as part of a table's cell."""
    return " ".join(text.split()).replace("|", "&#124;").replace("<", "&lt;")
