"""The suite of C-bar: what it measures, and how it is named."""

import shutil
from pathlib import Path

import pytest

from catchup_bench.boards.condition_groups import expand
from catchup_bench.errors import UsageError
from catchup_bench.records.outcomes import read_outcomes
from catchup_bench.suites import make_suites, suite_class, suite_names

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
    with pytest.raises((UsageError, ValueError), match="severities"):
        make_suites(["corruption-bar"], {"corruption-bar": {"severities": [6]}})
