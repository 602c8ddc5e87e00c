"""Shared by all tests: a command line to call, a tiny recipe, and no network."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from typer.testing import CliRunner, Result

os.environ["HF_HUB_OFFLINE"] = "1"

os.environ["CUDA_VISIBLE_DEVICES"] = ""

settings.register_profile("suite", deadline=None, max_examples=40, derandomize=True, database=None)

settings.load_profile("suite")

Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors are fastest so, and results do not depend on the machine's cores."""
    torch.set_num_threads(1)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Call ``catchup-bench`` in an empty folder; the result has exit_code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CATCHUP_BENCH_DATA", raising=False)

    def call(*words: object) -> Result:
        from catchup_bench.cli import app

        result = CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "200", "NO_COLOR": "1"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards run without processes of their own, and costs are measured in one round."""
    from catchup_bench.speed import cost

    measure = cost.measure
    monkeypatch.setenv("CATCHUP_BENCH_SIDE_BY_SIDE", "0")
    monkeypatch.setattr(cost, "measure", lambda *args, **options: measure(*args, rounds=1, steps=1, **options))


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def trained_run(only_trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, which a test may evaluate and change."""
    return shutil.copytree(only_trained_run, tmp_path_factory.mktemp("runs") / only_trained_run.name)


@pytest.fixture(scope="session")
def only_trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, to be copied: two epochs of catchup on a quarter of the digits."""
    from catchup_bench.runs.make import make_run
    from catchup_bench.training.loop import train

    torch.set_num_threads(1)
    run = make_run("catchup", fraction=0.25, width=4, overrides={"epochs": 2})
    return train(run, tmp_path_factory.mktemp("runs"), device=torch.device("cpu"))
