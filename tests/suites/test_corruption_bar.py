"""The suite of C-bar: what it measures, and how it is named."""

import shutil
from pathlib import Path

import pytest
import torch

from catchup_bench.boards.condition_groups import expand
from catchup_bench.data import Images
from catchup_bench.errors import UsageError
from catchup_bench.records.outcomes import read_outcomes
from catchup_bench.suites import Context, make_suites, suite_class, suite_names

from ..conftest import Cli, as_json


def test_a_run_is_evaluated(cli: Cli, trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / trained_run.name
    shutil.copytree(trained_run, run)
    words = ("--set", 'corruption-bar.types=["lines","ripple"]', "--set", "corruption-bar.images=20")
    as_json(cli("evaluate", run, "--suite", "corruption-bar", *words, "--json"))
    outcomes = {name: one for name, one in read_outcomes(run).items() if name.startswith("bar-")}
    assert set(outcomes) == {f"bar-{name}-{s}-n20" for name in ("lines", "ripple") for s in range(1, 6)}
    assert all(one.n == 20 and one.suite == "corruption-bar" for one in outcomes.values())
    one = next(iter(outcomes.values()))
    suite = make_suites(
        ["corruption-bar"], {"corruption-bar": suite_class("corruption-bar").options_of([one.protocol])}
    )
    assert suite["corruption-bar"].protocol("bar-lines-1-n20") == one.protocol


def test_a_run_is_evaluated_on_the_types_of_imagenet(cli: Cli, trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / trained_run.name
    shutil.copytree(trained_run, run)
    options = ('types=["perlin_noise","sparkles"]', "images=20", "benchmark=imagenet", "severities=[5]")
    words = [word for option in options for word in ("--set", f"corruption-bar.{option}")]
    as_json(cli("evaluate", run, "--suite", "corruption-bar", *words, "--json"))
    outcomes = {name: one for name, one in read_outcomes(run).items() if name.startswith("bar-")}
    assert set(outcomes) == {"bar-perlin_noise-5-n20", "bar-sparkles-5-n20"}
    one = outcomes["bar-sparkles-5-n20"]
    cls = suite_class("corruption-bar")
    again = make_suites(["corruption-bar"], {"corruption-bar": cls.options_of([one.protocol])})["corruption-bar"]
    assert again.protocol("bar-sparkles-5-n20") == one.protocol != cls(images=20).protocol("bar-sparkles-5-n20")


def test_the_benchmark_is_that_of_the_size(tmp_path: Path) -> None:
    suite = suite_class("corruption-bar")()
    large, small = suite.resolve("cub", tmp_path), suite.resolve("heldout:tinyimagenet", tmp_path)
    assert sorted(expand(["corruption-bar:imagenet"])) == sorted(large.conditions()) != sorted(small.conditions())
    assert large.summary()["mean of 10 types"] == large.conditions()
    assert suite.resolve("folder:nowhere", tmp_path).conditions() == small.conditions() == suite.conditions()
    only = make_suites(["corruption-bar"], {"corruption-bar": {"types": ["plasma_noise"]}})["corruption-bar"]
    assert len(only.resolve("imagenet", tmp_path).conditions()) == 5
    with pytest.raises(UsageError, match=r"plasma_noise.*lines"):
        only.resolve("cifar10", tmp_path)


def test_large_images_are_not_for_the_amounts_of_cifar() -> None:
    images = Images(torch.zeros(2, 160, 160, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    context = Context(
        net=torch.nn.Identity(),
        images=images,
        dataset="folder:x",
        mean=(0.5, 0.5, 0.5),
        device=torch.device("cpu"),
        batch_size=2,
        data_dir=Path(),
        key="x",
    )
    suite = suite_class("corruption-bar")()
    with pytest.raises(UsageError, match=r"at most 128 px, these have 160; write corruption-bar\.benchmark=imagenet"):
        next(iter(suite.run(context, suite.conditions())))


def test_names_have_hyphens_and_boards_a_group() -> None:
    assert "corruption-bar" in suite_names() and not any("_" in name for name in suite_names())
    suite = make_suites(["corruption-bar"], {})["corruption-bar"]
    assert type(suite) is suite_class("corruption-bar") and len(suite.conditions()) == 50
    assert sorted(expand(["corruption-bar:all"])) == sorted(suite.conditions())
    assert expand(["corruption-bar:all-3"])[0] == "bar-blue_noise_sample-3"
    assert suite.summary()["mean of 10 types"] == suite.conditions()


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="fog"):
        make_suites(["corruption-bar"], {"corruption-bar": {"types": ["fog"]}})
    with pytest.raises(UsageError, match="imagenet"):
        make_suites(["corruption-bar"], {"corruption-bar": {"benchmark": "imagenette"}})
    with pytest.raises((UsageError, ValueError), match="severities"):
        make_suites(["corruption-bar"], {"corruption-bar": {"severities": [6]}})
