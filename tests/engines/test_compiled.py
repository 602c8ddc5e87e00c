"""Compiled steps: Dynamo's graphs run eagerly here, so results are the eager loop's; the slow test really compiles."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from catchup_bench import data
from catchup_bench.evaluation.evaluated_model import trained_model
from catchup_bench.runs.make import make_run
from catchup_bench.training.loop import capture_steps, make_loader, take_step, train, use_engine
from tests.conftest import Cli, as_json
from tests.engines.test_graph_steps import assert_same, go, small, start
from tests.support.backends import Rerun
from tests.support.method_settings import compiled_methods
from tests.training.test_loop import Stop, StopsAfter

CPU = torch.device("cpu")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """How many images or maps each pass that was traced is of; nothing is compiled."""
    torch.compiler.reset()
    sizes = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        maps = [t for t in inputs if t.ndim == 4 and t.shape[-1] > 1 and not isinstance(t, torch.nn.Parameter)]
        sizes.append({len(t) for t in maps})
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return sizes


@pytest.mark.parametrize("method", compiled_methods())
def test_a_compiled_network_trains_to_the_same_bits(method: str, traced: list[set[int]]) -> None:
    """As far as Dynamo is concerned: no method is broken into by what it traces, or traced anew at every step."""
    eager, compiled = start(small(method)), start(small(method))
    use_engine(compiled, "compile")
    assert go(compiled) == go(eager)
    assert_same(eager, compiled)
    assert 1 <= len(traced) <= 12 and all(size <= {9, 18, 27} for size in traced), "the short last batch runs eagerly"


@pytest.mark.parametrize("method", ["baseline", "catchup"])
def test_compiled_steps_are_captured_and_train_to_the_same_bits(method: str, traced: list[set[int]]) -> None:
    eager, both = start(small(method)), start(small(method))
    backend = Rerun()
    capture_steps(both, backend, "compile+graphs")
    assert go(both) == go(eager)
    assert_same(eager, both)
    assert both.engine is not None and both.engine.facts() == {"engine": "compile+graphs", "eager_plans": {}}
    assert traced and all(size == {9} for size in traced), "the short last batch runs eagerly"
    assert backend.replays > 2 * backend.captures > 0 and "forward" not in vars(both.net)


def test_evaluation_and_other_batches_are_eager(traced: list[set[int]]) -> None:
    one = start(small("baseline"))
    use_engine(one, "compile")
    loader = make_loader(one.run, data.load("digits", "train", None, 0.1, 0), CPU)
    for epoch in range(2):
        for x, y in loader.epoch(epoch):
            take_step(one, x, y, None, 0.1)
        assert len(traced) == 1
        one.net.eval()(x)
        one.net.train()
        assert len(traced) == 1 and "forward" not in vars(one.net)


def test_a_run_is_trained_compiled_and_evaluated_eagerly(traced: list[set[int]], cli: Cli) -> None:
    words = ("--method", "cutmix", "--width", 4, "--fraction", 0.1, "--epochs", 1, "--engine", "compile")
    run = as_json(cli("train", *words, "--json"))
    assert run["training"]["engine"] == "compile" and len(traced) == 1
    result = cli("evaluate", run["folder"], "--suite", "clean", "--engine", "compile")
    assert result.exit_code == 0 and len(traced) == 1


def test_an_interrupted_compiled_run_ends_in_the_same_bytes(tmp_path: Path, traced: list[set[int]]) -> None:
    run = small("cutmix")
    whole = train(run, tmp_path / "whole", device=CPU, engine="compile")
    with pytest.raises(Stop):
        train(run, tmp_path, device=CPU, engine="compile", progress=StopsAfter(1), checkpoint_every=0)
    folder = train(run, tmp_path, device=CPU, engine="compile")
    assert (folder / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert json.loads((folder / "training.json").read_text())["engine"] == "compile"


def test_what_cannot_be_compiled_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        raise OSError("no C++ compiler here")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    result = cli("train", "--method", "baseline", "--width", 4, "--fraction", 0.1, "--engine", "compile")
    assert result.exit_code == 1 and "no C++ compiler here" in result.stderr
    assert "use --engine eager" in result.stderr and len(result.stderr.strip().splitlines()) == 1
    eager = cli("train", "--method", "baseline", "--width", 4, "--fraction", 0.1, "--epochs", 1)
    assert eager.exit_code == 0, "and nothing is left in the way"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_really_compiled_steps_are_the_eager_ones_but_for_rounding(tmp_path: Path) -> None:
    """In single precision, two epochs; and the same training comes to the same bytes twice."""
    torch.compiler.reset()
    overrides = {"epochs": 2, "batch_size": 9, "precision": "fp32"}
    run = make_run("catchup", width=4, fraction=0.1, overrides=overrides)
    folders = [train(run, tmp_path / name, device=CPU, engine=name[:-1]) for name in ("eager1", "compile1", "compile2")]
    eager, once, twice = (trained_model(folder, CPU).net.state_dict() for folder in folders)
    assert all(torch.equal(value, twice[key]) for key, value in once.items())
    for key, value in eager.items():
        assert torch.allclose(value, once[key], rtol=0, atol=1e-4 * float(value.abs().max().clamp_min(1)))
