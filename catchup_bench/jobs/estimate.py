"""Estimate what a board still costs: its missing runs, where their data comes from, and hours from the runs that were
finished here, or from a measured step."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from .. import data, data_sources
from ..boards.grid import Job
from ..errors import UsageError
from ..records import facts
from ..runs.folder import read_run
from ..runs.run import Run
from ..speed import cost
from ..suites import make_suites, resolve_suites
from ..system.files import read_json
from ..system.hardware import choose_precision
from ..system.provenance import device_name
from ..system.threads import computing_with
from .costs import threads_of
from .job import BoardWork, Workspace

BATCH = 32
"""Images of the measured step at most: a batch of the recipe may not fit the machine that makes the estimate."""


Step = tuple[str, int, int, str]
"""What the time of a step depends on beside the method: network, image size, batch size and precision."""


Times = Mapping[Step, Mapping[str, float]]
"""Step → method with its options → seconds of training per image."""


PLAIN = "baseline"
"""In :data:`Times`, also the baseline whatever its options."""


def look_ahead(work: BoardWork, workspace: Workspace, device: torch.device) -> dict[str, Any]:
    """Estimate, per setup: missing jobs, data, seconds of a baseline step per image, hours for all of its jobs.

    The hours are those of one process. A method takes as long as its finished runs of such a step on this machine did;
    one without takes the baseline's time, of finished runs or of a step measured now, times its cost on the board. A
    pass of an evaluation counts as a third of the baseline's step. ``None`` where the number of images is not known;
    ``learnt`` are the missing jobs whose method has finished runs.
    """
    setups = []
    finished = times_of_finished_runs(workspace.runs, device_name(device))
    measured: dict[Step, float] = {}
    for setup in work.board.setups:
        jobs = [job for job in work.todo if job.setup == setup.name]
        runs = [job.run for job in jobs if isinstance(job.run, Run)]
        if not runs:
            continue
        entry = data.get(setup.dataset)
        source = where(setup.dataset, workspace)
        step = step_of(runs[0], choose_precision(runs[0].recipe.precision, device))
        known = finished.get(step, {})
        if step not in measured:
            measured[step] = known.get(PLAIN) or seconds_per_image(runs[0], entry, device, workspace.threads)
        per_image = measured[step]
        made = make_suites(setup.suites, work.board.settings)
        suites = resolve_suites(made, setup.dataset, workspace.data_dir).values()
        conditions = sum(len(suite.conditions()) for suite in suites)
        counts = source.get("images", {})
        hours = None
        if counts:
            passes = sum(s.work(condition, counts["test"]) for s in suites for condition in s.conditions())
            seconds = len(jobs) * passes * per_image / 3
            for job in jobs:
                if isinstance(job.run, Run):
                    images = counts["train"] * job.run.dataset.fraction * job.run.recipe.epochs
                    of_baseline = per_image * work.costs[setup.name].get(job.label, 1)
                    seconds += images * (known.get(spelt(job.run)) or of_baseline)
            hours = seconds / 3600
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
                "learnt": sum(spelt(run) in known for run in runs),
                "hours": hours,
            }
        )
    return {"board": work.board.title, "missing": [str(job.path) for job in work.todo], "setups": setups}


def spelt(run: Run) -> str:
    """Return the method of ``run`` with its options, the same for a run that was read from its folder."""
    return json.dumps(run.method.model_dump(mode="json"), sort_keys=True)


def step_of(run: Run, precision: str) -> Step:
    return str(run.model), data.get(run.dataset.name).size, run.recipe.batch_size, precision


def times_of_finished_runs(folder: Path, device: str) -> Times:
    """Return the medians over the finished runs in ``folder`` that one process trained on ``device``; a run that cannot
    be read counts for nothing."""
    found: dict[Step, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*/training.json")):
        try:
            run, summary = read_run(path.parent), facts.Training.model_validate(read_json(path, "training summary"))
            images = (summary.train_images or 0) * (summary.epochs or 0)
            step = step_of(run, summary.precision or "")
        except (UsageError, ValidationError):
            continue
        if summary.device == device and summary.seconds and images and (summary.processes or 1) == 1:
            taken = summary.seconds / images
            found[step][spelt(run)].append(taken)
            if run.method.name == PLAIN:
                found[step][PLAIN].append(taken)
    return {step: {m: statistics.median(all_) for m, all_ in by.items()} for step, by in found.items()}


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


def seconds_per_image(run: Run, entry: data.Dataset, device: torch.device, threads: int | None) -> float:
    """Measure a training step of the plain baseline with the run's network, on noise: the fastest of three."""
    from ..runs.make import make_run

    batch = min(BATCH, run.recipe.batch_size)
    model = run.model
    plain = make_run(
        PLAIN, run.dataset.name, model=model.name, width=model.width, variant=model.variant,
        overrides={"batch_size": batch, "precision": run.recipe.precision},
        recipe_name="cifar100-quick",
    )  # fmt: skip
    with computing_with(threads or threads_of(plain)):  # as the runs will be trained
        timed = cost.Timed(plain, cost.random_images(batch, entry.size, entry.num_classes), device)
        timed.warm_up()
        return min(timed.seconds(1) for _ in range(3)) / batch
