"""Estimate what a board still costs: its missing runs, where their data comes from, and hours from a measured step."""

from collections.abc import Sequence
from typing import Any

import torch

from .. import data, data_sources
from ..boards import Board
from ..boards.grid import Job
from ..errors import UsageError
from ..runs.run import Run
from ..speed import cost
from ..suites import make_suites, resolve_suites
from .job import Workspace

BATCH = 32
"""Images of the measured step at most: a batch of the recipe may not fit the machine that makes the estimate."""


def look_ahead(board: Board, workspace: Workspace, todo: Sequence[Job], device: torch.device) -> dict[str, Any]:
    """Estimate, per setup: missing jobs, data, seconds of a baseline step per image, hours for all of its jobs.

    The hours are those of one process at the baseline's speed, with a forward pass a third of a step; methods that
    cost more take longer by their cost. ``None`` where the number of images is not known.
    """
    setups = []
    measured: dict[tuple[str, int], float] = {}
    for setup in board.setups:
        jobs = [job for job in todo if job.setup == setup.name]
        runs = [job.run for job in jobs if isinstance(job.run, Run)]
        if not runs:
            continue
        entry = data.get(setup.dataset)
        source = where(setup.dataset, workspace)
        network = (str(runs[0].model), entry.size)
        if network not in measured:
            measured[network] = seconds_per_image(runs[0], entry, device)
        per_image = measured[network]
        suites = resolve_suites(make_suites(setup.suites, board.settings), setup.dataset, workspace.data_dir).values()
        conditions = sum(len(suite.conditions()) for suite in suites)
        counts = source.get("images", {})
        hours = None
        if counts:
            steps = sum(counts["train"] * run.dataset.fraction * run.recipe.epochs for run in runs)
            hours = per_image * (steps + len(jobs) * conditions * counts["test"] / 3) / 3600
        setups.append(
            {
                "setup": setup.name,
                "runs": len(jobs),
                "cells": seeds_by_row(jobs),
                "epochs": runs[0].recipe.epochs,
                "conditions": conditions,
                "data": source,
                "pretrained": missing_weights(runs[0], workspace),
                "seconds_per_image": per_image,
                "hours": hours,
            }
        )
    return {"board": board.title, "missing": [str(job.path) for job in todo], "setups": setups}


def missing_weights(run: Run, workspace: Workspace) -> str:
    """Return what is missing of the weights that ``run`` begins with; an empty string for nothing."""
    from ..runs.pretrained import check_pretrained

    try:
        check_pretrained([run], workspace.data_dir)
    except UsageError as err:
        return str(err)
    return ""


def seeds_by_row(jobs: Sequence[Job]) -> dict[str, list[int]]:
    """Return the seeds by row."""
    seeds: dict[str, list[int]] = {}
    for job in jobs:
        seeds.setdefault(job.label, []).append(job.run.seed)
    return seeds


def where(dataset: str, workspace: Workspace) -> dict[str, Any]:
    return (
        {"present": True, "folder": dataset}
        if dataset.startswith("hf:")
        else data_sources.where(dataset, workspace.data_dir)
    )


def seconds_per_image(run: Run, entry: data.Dataset, device: torch.device) -> float:
    """Measure a training step of the plain baseline with the run's network, on noise: the fastest of three."""
    from ..runs.make import make_run

    batch = min(BATCH, run.recipe.batch_size)
    model = run.model
    plain = make_run(
        "baseline", run.dataset.name, model=model.name, width=model.width, variant=model.variant,
        overrides={"batch_size": batch, "precision": run.recipe.precision},
        recipe_name="cifar100-quick",
    )  # fmt: skip
    timed = cost.Timed(plain, cost.random_images(batch, entry.size, entry.num_classes), device)
    timed.warm_up()
    return min(timed.seconds(1) for _ in range(3)) / batch
