"""The number of threads: from the network alone, kept in the state, and the same bits on any number of cores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catchup_bench.errors import UsageError
from catchup_bench.runs import checkpoint
from catchup_bench.runs.build import build_net
from catchup_bench.runs.folder import RunFolder
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import ModelSpec
from catchup_bench.system.threads import MANY, choose_threads, computing_with
from catchup_bench.training.loop import train
from tests.training.test_loop import Stop, StopsAfter

CPU = torch.device("cpu")
TINY = ["--method", "baseline", "--fraction", "0.1", "--width", "4", "--epochs", "1"]


@pytest.mark.parametrize(
    ("dataset", "name", "width", "threads"),
    [("digits", "preactresnet10", 16, 1), ("cifar100", "preactresnet18", 16, 1), ("cifar100", "preactresnet18", 64, 4)],
)
def test_small_networks_compute_on_one_thread(dataset: str, name: str, width: int, threads: int) -> None:
    net = build_net(ModelSpec(name=name, width=width, variant="B"), dataset, CPU)
    training = net.training
    for had in (1, 2):
        with computing_with(had):
            assert choose_threads(None, net, 16 if dataset == "digits" else 32, CPU) == threads
            assert torch.get_num_threads() == had
    assert choose_threads(3, net, 32, CPU) == 3 and net.training == training and MANY == 4


def weights(folder: Path, cores: set[int], *more: str) -> bytes:
    """The weights of a run that is trained in a process of its own, which may use only ``cores``."""
    command = [sys.executable, "-m", "catchup_bench", "train", *TINY, *more, "--runs", str(folder)]
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    subprocess.run(
        command, env=environment, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    run = next(folder.iterdir())
    assert json.loads(RunFolder(run).training.read_text())["threads"] == int(more[1] if more else 1)
    return RunFolder(run).weights.read_bytes()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
@pytest.mark.parametrize("more", [(), pytest.param(("--threads", "2"), marks=pytest.mark.slow)])
def test_the_number_of_cores_does_not_change_the_weights(tmp_path: Path, more: tuple[str, ...]) -> None:
    cores = os.sched_getaffinity(0)
    assert weights(tmp_path / "one", {min(cores)}, *more) == weights(tmp_path / "all", cores, *more)


def test_a_resumed_run_keeps_its_threads(tmp_path: Path) -> None:
    run = make_run("baseline", fraction=0.1, width=4, overrides={"epochs": 2})
    with pytest.raises(Stop):
        train(run, tmp_path, device=CPU, progress=StopsAfter(1), checkpoint_every=0, threads=2)
    state = checkpoint.read_state(RunFolder(tmp_path / run.folder).state)
    assert state is not None and state["threads"] == 2
    with pytest.raises(UsageError, match="is of 2 threads, not 1"):
        train(run, tmp_path, device=CPU, threads=1)
    folder = train(run, tmp_path, device=CPU)
    assert json.loads(RunFolder(folder).training.read_text())["threads"] == 2
    assert torch.get_num_threads() == 1, "as the tests have it"
