"""Captured passes of an evaluation, with stand-ins for CUDA: outcomes are the eager ones, whatever is captured or falls
back; and no suite waits for the device in its loop over batches.

What needs a device (the capture itself) is not tested here.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from catchup_bench.cli.evaluate import eager_lines
from catchup_bench.data import Images
from catchup_bench.engines import choose_engine
from catchup_bench.engines.capture import Act
from catchup_bench.engines.graph_passes import Forward
from catchup_bench.errors import RunFailed, UsageError
from catchup_bench.evaluation.evaluate import evaluate, evaluation_mode
from catchup_bench.evaluation.evaluated_model import trained_model
from catchup_bench.jobs.job import Deadline, Workspace, do_job
from catchup_bench.records.record import Outcome
from catchup_bench.suites import (
    ConditionResult,
    Context,
    Suite,
    _gradient_masking,
    make_suites,
    suite_class,
    suite_names,
)
from catchup_bench.verification.method import make_net
from tests.conftest import Cli
from tests.support.backends import Rerun
from tests.support.waiting import DEVICE, Waits

CPU = torch.device("cpu")


def images(n: int = 40) -> Images:
    gen = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (n, 16, 16, 3), generator=gen, dtype=torch.uint8)
    return Images(x, torch.arange(n) % 10, torch.arange(n))


def context(net: nn.Module, device: torch.device = CPU, batch_size: int = 16) -> Context:
    return Context(
        net=net, images=images(), dataset="some", mean=(0.1, 0.2, 0.3), device=device, batch_size=batch_size,
        data_dir=Path("nowhere"),
    )  # fmt: skip


@pytest.fixture
def net() -> nn.Module:
    net = make_net()
    net(torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    return net.eval()


NEEDED = {
    "frequency": {"radius": 2},
    "ood": {"out": "digits"},
    "pgd": {"steps": 2},
    "corruption": {"types": ("fog",), "source": "generated"},
    "corruption-bar": {"types": ("ripple",)},
}

OWN_PASSES = {"reliance", "landscape", "dynamics", "localization"}
"""Suites that need features or gradients, not logits alone: their passes are never captured."""
OF_TRAINING_IMAGES = {"landscape", "dynamics", "localization", "shift", "transfer"}
"""They load a dataset, which the one of these tests is not."""
SUITES = [name for name in suite_names() if name not in {"autoattack", *OF_TRAINING_IMAGES}]
"""AutoAttack's batches are the library's."""


@pytest.fixture
def suite(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """A suite; corrupted images, which are made before the batches, are the images themselves."""
    cls = suite_class(request.param)
    if request.param in ("corruption", "corruption-bar"):
        monkeypatch.setattr(cls, "corrupt", lambda self, context, *_: context.images.x)
    return cls(**NEEDED.get(request.param, {}))


def run(suite: Suite, where: Context) -> dict[str, tuple[list[bool], dict[str, Any]]]:
    """Bits and values of every condition."""
    with evaluation_mode(where.net):
        found = [
            (c, f if isinstance(f, ConditionResult) else ConditionResult(f))
            for c, f in suite.run(where, suite.conditions())
        ]
    return {condition: (one.bits.tolist(), one.values) for condition, one in found}


def waits(do: Callable[[Context], object], batch_size: int) -> int:
    where = context(make_net().to(DEVICE), DEVICE, batch_size)
    with Waits() as seen:
        do(where)
    return seen.count


@pytest.mark.parametrize("suite", [name for name in SUITES if name not in OWN_PASSES], indirect=True)
def test_a_suite_waits_for_the_device_as_often_for_many_batches_as_for_few(suite: Suite) -> None:
    few, many = (waits(lambda where: run(suite, where), size) for size in (20, 8))
    assert few == many > 0


def test_the_margin_is_attacked_without_waiting_between_batches() -> None:
    def margin(where: Context) -> None:
        _gradient_masking.sweep(where, (4.0,), _gradient_masking.margin_sign(where.net))

    assert waits(margin, 20) == waits(margin, 8) == 3


BAD: dict[str, Callable[[Tensor], object]] = {
    "to the host": lambda x: x.cpu(),
    "unpinned": lambda x: torch.ones(3).to(DEVICE, non_blocking=True),
    "pinned, blocking": lambda x: torch.ones(3).pin_memory().to(DEVICE),
    "a constant": lambda x: torch.tensor([1.0, 2.0], device=DEVICE),
    "rows from the host": lambda x: x[torch.tensor([0, 1])],
    "a mask from the host": lambda x: x[torch.tensor([True, False, True])],
    "into the device": lambda x: x.copy_(torch.ones(3)),
    "a mask": lambda x: x[x > 0],
    "item": lambda x: x.sum().item(),
    "truth": lambda x: bool(x.sum() > 0),
    "list": lambda x: x.tolist(),
    "array": lambda x: x.numpy(),
    "equal": lambda x: torch.equal(x, x),
}


@pytest.mark.parametrize("bad", BAD)
def test_waiting_is_seen(bad: str) -> None:
    """That the tests above can fail."""
    with Waits() as seen:
        x = torch.ones(3).pin_memory().to(DEVICE, non_blocking=True) + torch.zeros(3, device=DEVICE)
        assert seen.count == 0
        try:
            BAD[bad](x)
        except (RuntimeError, TypeError):
            return
        assert seen.count == 1


@pytest.mark.parametrize("suite", [name for name in SUITES if name not in OWN_PASSES], indirect=True)
def test_captured_passes_give_the_same_outcomes(net: nn.Module, suite: Suite) -> None:
    eager, backend = context(net), Rerun()
    forward = Forward(net, backend)
    for _ in range(2):
        assert run(suite, replace(eager, captured=forward)) == run(suite, eager)
    assert forward.facts() == {"engine": "graphs"} and backend.captures == len(forward.replays) >= 2
    assert backend.replays > 2 * backend.captures  # two of each are its check


@torch.inference_mode()
def test_a_shape_and_a_layout_are_captured_when_they_come_again(net: nn.Module) -> None:
    forward = Forward(net, backend := Rerun())
    x = torch.rand(8, 3, 16, 16)
    batches = [x, x.to(memory_format=torch.channels_last), x[:5]]
    found = [forward(batch + i) for i in range(3) for batch in batches]
    assert backend.captures == 3 and backend.replays == 3 * 2 + 6
    wanted = [net(batch + i) for i in range(3) for batch in batches]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))  # none took another's place


class Odd(nn.Module):
    """What a network may do when it is evaluated and a graph cannot repeat."""

    seen: Tensor

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.linear = nn.Linear(48, 10)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.flatten(1)) + self.seen
        if self.how == "writes":
            self.seen += 1
        elif self.how == "replaces":
            self.seen = self.seen + 1
        elif self.how == "draws":
            logits = logits + torch.rand(10)
        return logits


class Waiting(Rerun):
    """Finds that the pass waits for the device."""

    def warm_up(self, act: Act) -> None:
        act()
        raise RuntimeError("called a synchronizing\nCUDA operation")


class Stale(Rerun):
    """Gives what it gave for the batch of the capture."""

    def capture(self, act: Act, gen: torch.Generator | None) -> Act:
        out = act()
        return lambda: out


@pytest.mark.parametrize(
    ("how", "backend", "why"),
    [
        ("writes", Rerun, "the network writes to .seen when it is evaluated"),
        ("replaces", Rerun, "the network writes to .seen when it is evaluated"),
        ("draws", Rerun, "the network gives other logits when captured"),
        ("plain", Stale, "the network gives other logits when captured"),
        ("plain", Waiting, "called a synchronizing CUDA operation"),
    ],
)
def test_what_cannot_be_captured_runs_eagerly(how: str, backend: type[Rerun], why: str) -> None:
    def logits(captured: bool) -> list[Tensor]:
        torch.manual_seed(0)
        net = Odd(how).eval()
        forward = Forward(net, backend()) if captured else net
        with torch.inference_mode():
            found = [forward(torch.full((2, 3, 4, 4), i / 5)) for i in range(5)]
        if isinstance(forward, Forward):
            assert forward.facts() == {"engine": "graphs", "eager": why} and forward.replays == {}
        return found

    assert all(torch.equal(a, b) for a, b in zip(logits(True), logits(False), strict=True))


def copy(run: Path, folder: Path) -> Path:
    target = folder / run.name
    shutil.copytree(run, target, ignore=shutil.ignore_patterns("outcomes", "evaluation.json"))
    return target


def evaluated(
    run: Path, folder: Path, engine: str, backend: type[Rerun] = Rerun
) -> tuple[dict[str, Outcome], dict[str, Any]]:
    """Outcomes, and what is said of how the last of them was found."""
    model = trained_model(copy(run, folder / engine), CPU)
    suites = make_suites(["clean", "fgsm", "deformation"], {})
    found = evaluate(model, suites, device=CPU, engine=engine, backend=backend)
    stored = json.loads((model.folder / "outcomes" / "zoom-140.json").read_text(encoding="utf-8"))
    return found, stored["provenance"]


def test_an_evaluation_with_graphs_has_the_eager_outcomes(trained_run: Path, tmp_path: Path) -> None:
    eager, plain = evaluated(trained_run, tmp_path, "eager")
    captured, said = evaluated(trained_run, tmp_path, "graphs")
    assert captured == eager and said == plain | {"engine": "graphs"}


def test_graphs_are_let_go_where_memory_is_short(trained_run: Path, tmp_path: Path) -> None:
    """Memory holds the graph of one shape of batch, and nothing more."""

    class Full(Rerun):
        def capture(self, act: Act, gen: torch.Generator | None) -> Act:
            if self.captures:
                raise torch.OutOfMemoryError
            return super().capture(act, gen)

    eager, _ = evaluated(trained_run, tmp_path, "eager")
    captured, said = evaluated(trained_run, tmp_path, "graphs", Full)
    assert captured == eager and said["eager"] == "the device's memory does not hold the graphs"


def test_a_cpu_has_no_graphs(cli: Cli, trained_run: Path, tmp_path: Path) -> None:
    run = copy(trained_run, tmp_path)
    result = cli("evaluate", run, "--suite", "clean", "--device", "cpu", "--engine", "graphs")
    assert result.exit_code == 2 and "this is a CPU" in result.stderr and len(result.stderr.splitlines()) == 1
    with pytest.raises(UsageError, match="auto, eager, compile, graphs"):
        choose_engine("fast", CPU)
    assert not (run / "outcomes").exists() and not (run / "evaluation.json").exists()


@pytest.mark.parametrize("engine", ["auto", "graphs", "compile+graphs"])
def test_what_was_not_captured_is_said(trained_run: Path, tmp_path: Path, engine: str) -> None:
    evaluated(trained_run, tmp_path, engine, Waiting)
    said = eager_lines([tmp_path / engine / trained_run.name])
    assert said == ["some conditions were evaluated eagerly: called a synchronizing CUDA operation"]


@pytest.mark.parametrize("trained", ["here", "elsewhere"])
def test_a_board_trains_and_evaluates_with_its_engine(trained_run: Path, tmp_path: Path, trained: str) -> None:
    """Which a CPU has not: each of the two refuses it, and of a network that was trained elsewhere there is one."""
    from catchup_bench.boards.grid import Job
    from catchup_bench.runs.folder import read_run
    from catchup_bench.runs.run import ExternalNetwork
    from catchup_bench.system.files import file_digest

    of_here = read_run(trained_run)
    file = tmp_path / "checkpoints" / "last.safetensors"
    file.parent.mkdir()
    shutil.copy(trained_run / file.name, file)
    of_elsewhere = ExternalNetwork(
        checkpoint=file.name, sha256=file_digest(file), dataset=of_here.dataset, model=of_here.model
    )
    run = of_here if trained == "here" else of_elsewhere
    job = Job(run=run, setup="some", label="catchup", suites=("clean",))
    with pytest.raises(UsageError, match="--engine graphs captures CUDA graphs, and this is a CPU"):
        do_job(job, {}, Workspace(tmp_path, tmp_path, tmp_path, "cpu", "graphs"), Deadline(None))
    assert not list(tmp_path.rglob("outcomes"))


class Crowded(Rerun):
    """Runs out of memory in the capture."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def capture(self, act: Act, gen: torch.Generator | None) -> Act:
        act()
        raise self.error


def test_passes_whose_graph_does_not_fit_into_memory_are_eager() -> None:
    net = make_net().eval()
    forward, x = Forward(net, Crowded(torch.OutOfMemoryError("CUDA out of memory"))), torch.rand(4, 3, 16, 16)
    with torch.inference_mode():
        assert all(torch.equal(forward(x), net(x)) for _ in range(4))
    assert forward.facts() == {"engine": "graphs", "eager": "the device's memory does not hold the graphs"}


def test_passes_that_cannot_be_captured_end_an_evaluation_only_if_graphs_were_asked_for() -> None:
    net, x = make_net().eval(), torch.rand(4, 3, 16, 16)
    for optional in (True, False):
        forward = Forward(net, Crowded(RunFailed("not permitted")), optional)
        with torch.inference_mode():
            forward(x)
            if optional:
                assert torch.equal(forward(x), net(x)) and forward.facts()["eager"] == "not permitted"
            else:
                with pytest.raises(RunFailed, match="not permitted"):
                    forward(x)
