"""Examples made on other runs: which runs these are, which class they aim at, and what belongs to an outcome."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catchup_bench import data
from catchup_bench.errors import UsageError
from catchup_bench.evaluation.evaluate import evaluate, evaluation_mode
from catchup_bench.evaluation.evaluated_model import trained_model
from catchup_bench.records.outcomes import read_outcomes
from catchup_bench.records.record import Outcome
from catchup_bench.runs.make import make_run
from catchup_bench.suites import Context, make_suites, suite_class
from catchup_bench.suites.transfer import targets
from catchup_bench.training.loop import train

CPU = torch.device("cpu")
OPTIONS = {"eps": 16.0, "step": 4.0, "steps": 5, "images": 100}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two methods, alike but for the method."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    overrides: dict[str, Any] = {"epochs": 3, "precision": "fp32"}
    made = [make_run(name, fraction=0.5, width=4, overrides=overrides) for name in ("baseline", "inputmixup")]
    return {run.method.name: train(run, folder, device=CPU) for run in made}


def measure(run: Path, **options: Any) -> dict[str, Outcome]:
    suites = make_suites(["transfer"], {"transfer": OPTIONS | options})
    return evaluate(trained_model(run, CPU), suites, device=CPU)


def test_a_matrix_is_hardest_where_examples_are_its_own(runs: dict[str, Path]) -> None:
    both = ["baseline", "inputmixup"]
    matrix = {name: measure(run, sources=both) for name, run in runs.items()}
    suffix = "-e16-step4-s5-n100"
    assert all(set(row) == {f"transfer-{name}{suffix}" for name in both} for row in matrix.values())
    for name, other in zip(both, reversed(both), strict=True):
        own, theirs = (matrix[name][f"transfer-{source}{suffix}"] for source in (name, other))
        assert own.n == theirs.n > 90 and own.error > theirs.error
        assert own.values["target"] > theirs.values["target"]
        assert own.values["source_error"] == pytest.approx(own.error), "the source is this run"
        assert theirs.values["source_error"] == pytest.approx(matrix[other][f"transfer-{other}{suffix}"].error)
        assert theirs.values["index"] == own.values["index"]


def test_examples_do_not_depend_on_the_batch(runs: dict[str, Path]) -> None:
    images = data.load("digits", "test").take(torch.arange(0, 40, 2))
    suite = make_suites(["transfer"], {"transfer": {**OPTIONS, "images": 0, "sources": ["inputmixup"]}})["transfer"]
    found = []
    for size in (20, 3):
        model = trained_model(runs["baseline"], CPU)
        where = Context(
            net=model.net, images=images, dataset="digits", mean=(0, 0, 0), device=CPU, batch_size=size,
            data_dir=Path("nowhere"), folder=model.folder,
        )  # fmt: skip
        with evaluation_mode(model.net):
            found += [one for _, one in suite.run(where, suite.conditions())]
    assert torch.equal(found[0].bits, found[1].bits) and found[0].values == found[1].values


def test_options_come_back_and_bad_ones_are_said() -> None:
    suite = make_suites(["transfer"], {"transfer": OPTIONS | {"sources": ["cutmix", "catchup"]}})["transfer"]
    protocols = [suite.protocol(condition) for condition in suite.conditions()]
    assert suite_class("transfer")(**suite_class("transfer").options_of(protocols)) == suite
    for options in ({"sources": ["a", "a"]}, {"sources": ["./a.py"]}, {"steps": 0}, {"eps": 4 / 255}):
        with pytest.raises((ValueError, UsageError)):
            make_suites(["transfer"], {"transfer": options})


def test_a_source_that_is_not_there_is_one_line(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"transfer from cutmix: .* train it first"):
        measure(runs["baseline"], sources=["cutmix"])
    alone = tmp_path / runs["baseline"].name
    shutil.copytree(runs["baseline"], alone, ignore=shutil.ignore_patterns("outcomes"))
    with pytest.raises(UsageError, match="transfer from inputmixup"):
        measure(alone, sources=["inputmixup"])
    assert read_outcomes(alone) == {}


def test_targets_are_other_classes_and_belong_to_the_images() -> None:
    y, index = torch.arange(1000) % 10, torch.arange(1000)
    found = targets(y, 10, index, "some", 0)
    assert (found != y).all() and set(found.tolist()) == set(range(10))
    assert np.bincount(((found - y) % 10).numpy(), minlength=10)[1:].min() > 70, "uniform among the others"
    rows = torch.tensor([900, 3, 77])
    assert torch.equal(targets(y[rows], 10, index[rows], "some", 0), found[rows])
    assert not torch.equal(targets(y, 10, index, "some", 1), found)
