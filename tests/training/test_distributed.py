"""One run on two processes of this machine: the whole batch's gradient, one set of files, resumed to the same bytes."""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from catchup_bench import data
from catchup_bench.errors import UsageError
from catchup_bench.runs import checkpoint
from catchup_bench.runs.build import build
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import Run
from catchup_bench.system.hardware import decoding_workers
from catchup_bench.training.distributed import ALONE, Group, join_group
from catchup_bench.training.loop import make_loader, train
from tests.training.test_loop import Stop, StopsAfter

CPU = torch.device("cpu")

EPOCHS = 2


def small(method: str) -> Run:
    return make_run(method, width=4, fraction=0.25, overrides={"epochs": EPOCHS, "batch_size": 101})


def gradients(group: Group, training: bool, shares: int = 1) -> list[Tensor]:
    """Of the first and of the last, smaller batch of an epoch: of each share on its own, averaged with their sizes.
    In double precision, so that nothing but the loss is rounded."""
    run = small("baseline")
    images = data.load("digits", "train", None, run.dataset.fraction, run.seed)
    assert isinstance(images, data.Images)
    batches = list(make_loader(run, images, CPU, group).epoch(0))
    found = []
    for x, y in (batches[0], batches[-1]):
        net, method = build(run, CPU)
        net.double().train(training)
        edges = [len(x) * n // shares for n in range(shares + 1)]
        for first, last in itertools.pairwise(edges):
            loss = method.loss(net, x[first:last].double(), y[first:last], None, torch.Generator())
            (loss * ((last - first) / len(x))).backward()
        group.average(net, loss.detach(), len(x))
        found.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    return found


def main(folder: Path) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    with join_group(CPU) as group:
        found = {"eval": gradients(group, False), "train": gradients(group, True)}
        run = small("catchup")
        train(run, folder / "whole", device=CPU, group=group)
        with pytest.raises(Stop):
            train(run, folder / "cut", device=CPU, group=group, progress=StopsAfter(1), checkpoint_every=0)
        group.broadcast(None)
        state = checkpoint.read_state(folder / "cut" / run.folder / "state.pt")
        train(run, folder / "cut", device=CPU, group=group)
        found["state"] = [] if state is None else [torch.tensor(state["epoch"]), torch.tensor(state["processes"])]
        checkpoint.save_state(found, folder / f"found-{group.rank}.pt")
    # One that lives on can abort the interpreter as it ends. Where there is no /proc, nothing is seen.
    assert not [name for task in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := task.read_text())]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have worked, started as torchrun starts them, which takes its time."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.training.test_distributed", str(folder)]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **meet, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return folder


def found(two: Path, rank: int, what: str) -> list[Tensor]:
    return checkpoint.read_state(two / f"found-{rank}.pt")[what]  # type: ignore[index]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_gradient_is_that_of_the_whole_batch(two: Path, rank: int) -> None:
    """Exactly where BatchNorm is fixed; in training, that of each share with the share's own statistics."""
    for mode, shares in (("eval", 1), ("train", 2)):
        for ours, whole in zip(found(two, rank, mode), gradients(ALONE, mode == "train", shares), strict=True):
            assert ours.isfinite().all() and whole.abs().max() > 1e-2
            assert (ours - whole).abs().max() < 1e-7


def test_files_are_written_once_and_say_how_many_processes(two: Path) -> None:
    folder = two / "whole" / small("catchup").folder
    facts = json.loads((folder / "training.json").read_text())
    assert facts["processes"] == 2 and facts["batchnorm"] == "per process" and facts["epochs"] == EPOCHS
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and 0 <= lines[-1]["test_error"] <= 100


def test_an_interrupted_run_of_two_ends_in_the_same_bytes(two: Path) -> None:
    whole, cut = (two / name / small("catchup").folder / "last.safetensors" for name in ("whole", "cut"))
    assert [int(t) for t in found(two, 0, "state")] == [1, 2]
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_the_command_prints_once(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    small = ("--width", "4", "--fraction", "0.25", "--epochs", "1", "--device", "cpu")
    done = subprocess.run(
        [*launch, "catchup_bench", "train", "--method", "baseline", *small],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test error") == 1 and len(list((tmp_path / "runs").iterdir())) == 1


def test_shares_are_the_whole_batch_and_a_last_batch_of_too_few_is_left_out() -> None:
    run = small("baseline")
    images = data.load("digits", "train", None, run.dataset.fraction, run.seed)
    assert isinstance(images, data.Images)
    loaders = [make_loader(run, images, CPU, Group(rank, 3)) for rank in range(3)]
    whole = [(x, y) for x, y in make_loader(run, images, CPU).epoch(4)]
    for (x, y), *parts in zip(whole, *(loader.epoch(4) for loader in loaders), strict=True):
        assert torch.equal(torch.cat([x for x, _ in parts]), x) and torch.equal(torch.cat([y for _, y in parts]), y)
    rest = images.x[: 101 + 2], images.y[: 101 + 2], images.index[: 101 + 2]
    few = data.Images(*rest)
    assert len(make_loader(run, few, CPU)) == 2 and len(make_loader(run, few, CPU, Group(0, 3))) == 1
    with pytest.raises(UsageError, match="200 processes cannot share batches of 101 images"):
        make_loader(run, images, CPU, Group(0, 200))


def test_a_state_of_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    run = small("baseline")
    with pytest.raises(Stop):
        train(run, tmp_path, device=CPU, progress=StopsAfter(1), checkpoint_every=0)
    path = tmp_path / run.folder / "state.pt"
    state = checkpoint.read_state(path)
    assert state is not None
    checkpoint.save_state({**state, "processes": 2}, path)
    with pytest.raises(UsageError, match="of 2 processes, not 1"):
        train(run, tmp_path, device=CPU)


def test_without_accelerate_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match=r"pip install 'catchup-bench\[distributed\]'"), join_group(CPU):
        pass


def test_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATCHUP_BENCH_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    assert decoding_workers() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert decoding_workers() == 3


if __name__ == "__main__":
    main(Path(sys.argv[1]))
