"""Captured steps, with stand-ins for CUDA: results are the eager loop's, whatever is captured, falls back or resumes.

What needs a device (the capture itself) is not tested here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from catchup_bench import data
from catchup_bench.engines import choose_engine
from catchup_bench.engines.capture import WARM_UP, Act, CudaGraphs, Snapshot
from catchup_bench.engines.graph_steps import Graphs
from catchup_bench.errors import RunFailed, UsageError
from catchup_bench.method import Method, one_hot, soft_loss
from catchup_bench.runs import checkpoint
from catchup_bench.runs.build import build
from catchup_bench.runs.folder import RunFolder
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import Run
from catchup_bench.system.hardware import captures, choose_precision
from catchup_bench.system.progress import NoProgress
from catchup_bench.training.loop import capture_steps, make_loader, train, train_epoch
from catchup_bench.training.state import Training, make_optimizer
from tests.conftest import Cli
from tests.support.backends import Rerun
from tests.support.method_file import write_method
from tests.support.method_settings import captured_methods, settings_of

CPU = torch.device("cpu")


def small(method: str, **settings: Any) -> Run:
    return make_run(method, width=4, fraction=0.1, overrides={"epochs": 2, "batch_size": 9}, settings=settings)


def start(run: Run, method: Method | None = None) -> Training:
    net, own = build(run, CPU)
    method = own if method is None else method.bind(net)
    net = net.to(memory_format=torch.channels_last)
    precision = choose_precision(run.recipe.precision, CPU)
    return Training(run, RunFolder(Path()), net, method, make_optimizer(run, net), precision, 0, [])


def go(one: Training, epochs: int = 2) -> list[float]:
    loader = make_loader(one.run, data.load("digits", "train", None, one.run.dataset.fraction, 0), CPU)
    assert len(loader.images) % loader.batch_size, "there is to be a short last batch"
    return [train_epoch(one, loader, epoch, NoProgress())["loss"] for epoch in range(epochs)]


def assert_same(a: Training, b: Training) -> None:
    mine, other = a.net.state_dict(), b.net.state_dict()
    assert mine.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in mine.items())
    mine, other = a.optimizer.state_dict(), b.optimizer.state_dict()
    assert mine["param_groups"] == other["param_groups"] and type(mine["param_groups"][0]["lr"]) is float
    assert mine["state"].keys() == other["state"].keys()
    for i, state in mine["state"].items():
        assert torch.equal(state["momentum_buffer"], other["state"][i]["momentum_buffer"])
    assert torch.equal(a.gen.get_state(), b.gen.get_state())


@pytest.mark.parametrize("method", captured_methods())
def test_captured_steps_train_to_the_same_bits(method: str) -> None:
    eager, captured = start(small(method)), start(small(method))
    backend = Rerun()
    capture_steps(captured, backend)
    losses, drawn = go(eager), torch.get_rng_state()
    assert go(captured) == losses and torch.equal(torch.get_rng_state(), drawn)
    assert_same(eager, captured)
    assert captured.engine is not None and captured.engine.fallen == {}
    assert backend.captures == len(captured.engine.replays) >= settings_of(method).plans
    assert backend.replays > 2 * backend.captures + 10  # two of each in the check, the others for training


def test_a_loss_is_the_callers_own() -> None:
    one = start(small("baseline"))
    capture_steps(one, Rerun())
    loader = make_loader(one.run, data.load("digits", "train", None, 0.1, 0), CPU)
    assert one.engine is not None
    losses = [one.engine(x, y, None, 0.1) for x, y in list(loader.epoch(0))[:5]]
    assert len({float(v) for v in losses}) == 5


def test_a_snapshot_restores_everything_in_place() -> None:
    one = start(small("recursivemix"))
    go(one, 1)
    tensors = {**one.net.state_dict(keep_vars=True), **dict(one.net.named_buffers())}
    momenta = [state["momentum_buffer"] for state in one.optimizer.state.values()]
    values = [t.detach().clone() for t in (*tensors.values(), *momenta)]
    states = one.gen.get_state(), torch.get_rng_state()
    before = Snapshot(one.net, one.optimizer, one.gen)
    go(one, 2)
    assert before.moved() == [] and not torch.equal(momenta[0], values[-len(momenta)])
    one.net.extra.images = torch.zeros(3)  # type: ignore[union-attr, assignment]
    one.optimizer.state[next(one.net.parameters())]["new"] = torch.zeros(3)
    assert before.moved() == ["extra.images", "optimizer.new"]
    before.restore()
    assert before.moved() == []
    now = {**one.net.state_dict(keep_vars=True), **dict(one.net.named_buffers())}
    assert all(now[k] is v for k, v in tensors.items())
    assert all(torch.equal(t, v) for t, v in zip((*tensors.values(), *momenta), values, strict=True))
    assert torch.equal(one.gen.get_state(), states[0]) and torch.equal(torch.get_rng_state(), states[1])


class Last(nn.Module):
    """What a careless method keeps: the last mean image in a buffer or in a list that no one sees."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(3))
        self.hidden = [torch.zeros(3)]


@dataclass(frozen=True, kw_only=True)
class Careless(Method):
    """Replaces its state at every step instead of writing into it."""

    how: str = "buffer"

    def bind(self, net: Any) -> "Careless":
        net.extra = Last()
        return self

    def loss(self, net: Any, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        past = net.extra.kept if self.how == "buffer" else net.extra.hidden[0]
        now = 0.5 * past + x.mean((0, 2, 3)) * (1 + torch.rand((), generator=gen))
        if self.how == "buffer":
            net.extra.kept = now
        else:
            net.extra.hidden[0] = now
        return soft_loss(net(x + past[:, None, None]), one_hot(y, net.num_classes))


def test_a_method_that_replaces_a_buffer_runs_eagerly() -> None:
    eager, captured = start(small("baseline"), Careless()), start(small("baseline"), Careless())
    backend = Rerun()
    capture_steps(captured, backend)
    assert go(eager) == go(captured)
    assert_same(eager, captured)
    assert captured.engine is not None
    assert captured.engine.facts() == {
        "engine": "graphs",
        "eager_plans": {"None": "replaces extra.kept instead of writing into it"},
    }
    assert backend.captures == 0


def test_a_method_that_keeps_state_where_no_one_looks_runs_eagerly() -> None:
    one = start(small("baseline"), Careless(how="hidden"))
    capture_steps(one, Rerun())
    go(one, 1)
    assert one.engine is not None and one.engine.replays == {}
    assert "keeps state elsewhere" in one.engine.fallen[None]


class Stale(Rerun):
    """Replays of a training's steps that draw the same numbers and take the same rate as at the capture: what a wrong
    graph does."""

    def __init__(self, training: Training, what: str) -> None:
        super().__init__()
        self.training, self.what = training, what

    def capture(self, act: Act, gen: torch.Generator) -> Act:
        drawn, rate = gen.get_state(), torch.ones((), dtype=torch.float64)

        def replay() -> Tensor:
            graphs = self.training.engine
            assert isinstance(graphs, Graphs)
            if self.what == "generator":
                gen.set_state(drawn)
                return act()
            kept, graphs.lr = graphs.lr, rate
            loss = act()
            graphs.lr = kept
            return loss

        return replay


@pytest.mark.parametrize("what", ["generator", "rate"])
def test_a_captured_step_that_differs_is_not_used(what: str) -> None:
    eager, captured = start(small("cutmix")), start(small("cutmix"))
    capture_steps(captured, Stale(captured, what))
    assert go(eager) == go(captured)
    assert_same(eager, captured)
    assert captured.engine is not None and captured.engine.replays == {}
    assert all("something else when captured" in why for why in captured.engine.fallen.values())


class Waits(Rerun):
    """Finds that the step waits for the device."""

    def warm_up(self, act: Act) -> None:
        act()
        raise RuntimeError("called a synchronizing CUDA operation")


def test_a_step_that_waits_for_the_device_runs_eagerly() -> None:
    eager, captured = start(small("stochdepth")), start(small("stochdepth"))
    capture_steps(captured, Waits())
    assert go(eager) == go(captured)
    assert_same(eager, captured)
    assert captured.engine is not None and captured.engine.fallen == {None: "called a synchronizing CUDA operation"}


class Fails(Rerun):
    """Runs out of memory, or fails otherwise, at one part of a capture."""

    def __init__(self, where: str, error: Exception) -> None:
        super().__init__()
        self.where, self.error = where, error

    def warm_up(self, act: Act) -> None:
        act()
        if self.where == "warm_up":
            raise self.error

    def capture(self, act: Act, gen: torch.Generator) -> Act:
        if self.where == "capture":
            act()
            raise self.error
        replay = super().capture(act, gen)

        def fail() -> Tensor:
            replay()
            raise self.error

        return fail


@pytest.mark.parametrize("where", ["warm_up", "capture", "replay"])
@pytest.mark.parametrize("engine", ["graphs", "auto"])
def test_a_plan_whose_graph_does_not_fit_into_memory_runs_eagerly(where: str, engine: str) -> None:
    eager, captured = start(small("catchup")), start(small("catchup"))
    capture_steps(captured, Fails(where, torch.OutOfMemoryError("CUDA out of memory")), engine)
    assert go(eager) == go(captured)
    assert_same(eager, captured)
    assert captured.engine is not None and captured.engine.replays == {}
    assert set(captured.engine.fallen.values()) == {"the device's memory does not hold the graphs"}


def test_what_cannot_be_captured_is_eager_if_nobody_asked_for_graphs() -> None:
    eager, captured, asked = start(small("cutmix")), start(small("cutmix")), start(small("cutmix"))
    capture_steps(captured, Fails("capture", RunFailed("not permitted")), "auto")
    assert go(eager) == go(captured)
    assert_same(eager, captured)
    assert captured.engine is not None
    assert captured.engine.facts() == {"engine": "eager", "eager_plans": {"0": "not permitted"}}
    capture_steps(asked, Fails("capture", RunFailed("not permitted")))
    with pytest.raises(RunFailed, match="not permitted"):
        go(asked)


def test_auto_says_that_steps_were_captured() -> None:
    one = start(small("cutmix"))
    capture_steps(one, Rerun(), "auto")
    go(one)
    assert one.engine is not None and one.engine.facts() == {"engine": "graphs", "eager_plans": {}}


def test_gradients_are_made_inside_the_graph() -> None:
    one = start(small("baseline"))

    class Looks(Rerun):
        def capture(self, act: Act, gen: torch.Generator) -> Act:
            assert all(p.grad is None for p in one.net.parameters())
            return super().capture(act, gen)

    backend = Looks()
    capture_steps(one, backend)
    go(one)
    assert backend.captures == 1


def test_memory_that_does_not_hold_a_step_ends_the_run_in_one_line(cli: Cli, tmp_path: Path) -> None:
    method = write_method(
        tmp_path / "crowded.py",
        "with open('steps', 'a') as f:",
        "    f.write('.')",
        "if Path('steps').read_text() == 5 * '.':",
        "    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB.')",
    )
    words = ("train", "--method", method, "--width", 4, "--fraction", 0.2, "--epochs", 3, "--json")
    result = cli(*words)
    assert result.exit_code == 1 and len(result.stderr.strip().splitlines()) == 1
    assert "out of device memory; try a smaller --set recipe.batch_size" in result.stderr
    epoch = 4  # steps: 200 images, of the recipe's 50
    assert cli(*words).exit_code == 0
    assert (tmp_path / "steps").stat().st_size == epoch + 1 + 2 * epoch, "it goes on from its last good epoch"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """What is asked of ``torch.cuda``, in order, with nothing behind it."""
    cuda = mock.MagicMock()
    for name in ("Stream", "stream", "current_stream", "graph_pool_handle", "CUDAGraph", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "graph", mock.create_autospec(torch.cuda.graph))  # refuses unknown arguments
    cuda.attach_mock(torch.cuda.graph, "graph")
    return cuda


def test_the_last_step_before_a_capture_may_not_wait(calls: mock.Mock) -> None:
    side, current = calls.Stream.return_value, calls.current_stream.return_value
    CudaGraphs(torch.device("cuda")).warm_up(calls.act)
    order = [name for name, *_ in calls.mock_calls if name in ("act", "set_sync_debug_mode")]
    assert order == ["act"] * (WARM_UP - 1) + ["set_sync_debug_mode", "act", "set_sync_debug_mode"]
    assert [c.args for c in calls.set_sync_debug_mode.call_args_list] == [("error",), (0,)]
    side.wait_stream.assert_called_once_with(current)
    calls.act.side_effect = RuntimeError
    with pytest.raises(RuntimeError):
        CudaGraphs(torch.device("cuda")).warm_up(calls.act)
    assert current.wait_stream.call_args_list == [mock.call(side)] * 2


def test_a_capture_shares_stream_and_memory_and_fails_in_one_line(calls: mock.Mock) -> None:
    backend, graph, gen = CudaGraphs(torch.device("cuda")), calls.CUDAGraph.return_value, torch.Generator()
    replay = backend.capture(calls.act, gen)
    calls.graph.assert_called_once_with(
        graph, pool=backend.pool, stream=backend.stream, capture_error_mode="thread_local"
    )
    assert not graph.replay.called and replay() is calls.act.return_value
    graph.replay.assert_called_once_with()
    calls.graph.return_value.__exit__.return_value = False
    calls.act.side_effect = RuntimeError("not permitted\nwhile capturing")
    with pytest.raises(RunFailed, match=r"\(not permitted while capturing\): use --engine eager"):
        backend.capture(calls.act, gen)
    calls.act.side_effect = torch.OutOfMemoryError
    with pytest.raises(torch.OutOfMemoryError):
        backend.capture(calls.act, gen)


class Stop(Exception):
    """Raised in the middle of training."""


class StopsAfter(NoProgress):
    """Interrupts at the first batch after one epoch."""

    stopped = False

    def epoch(self, line: dict[str, Any]) -> None:
        self.stopped = True

    def step(self, images: int) -> None:
        if self.stopped:
            raise Stop


@pytest.mark.parametrize("first", ["eager", "graphs"])
@pytest.mark.parametrize("method", ["catchup", "recursivemix"])
def test_an_engine_goes_on_from_the_others_state(tmp_path: Path, first: str, method: str) -> None:
    run = small(method)
    whole = train(run, tmp_path / "whole", device=CPU, engine="eager")
    with pytest.raises(Stop):
        train(run, tmp_path, device=CPU, engine=first, progress=StopsAfter(), checkpoint_every=0, backend=Rerun)
    state = checkpoint.read_state(tmp_path / run.folder / "state.pt")
    assert state is not None and type(state["optimizer"]["param_groups"][0]["lr"]) is float
    second = "graphs" if first == "eager" else "eager"
    folder = train(run, tmp_path, device=CPU, engine=second, backend=Rerun)
    assert (folder / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    facts = json.loads((folder / "training.json").read_text())
    assert facts["engine"] == second and facts.get("eager_plans", {}) == {}


def test_an_engine_is_chosen_or_refused(cli: Cli, tmp_path: Path) -> None:
    cuda = torch.device("cuda")
    assert choose_engine("auto", CPU) == choose_engine("auto", cuda, 2) == "eager"
    assert choose_engine("auto", cuda) == "auto" and captures("auto") and not captures("compile")
    for engine in ("graphs", "compile+graphs"):
        assert choose_engine(engine, cuda) == engine and captures(engine)
        with pytest.raises(UsageError, match="of one process, not of several"):
            choose_engine(engine, cuda, 2)
    for words in (("train", "--method", "baseline"), ("leaderboard", "run", "digits", "--root", tmp_path)):
        for engine in ("graphs", "compile+graphs"):
            result = cli(*words, "--device", "cpu", "--engine", engine)
            assert result.exit_code == 2 and "this is a CPU" in result.stderr and len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
