"""How many runs a GPU's memory is estimated to hold."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from catchup_bench import boards, data
from catchup_bench.boards.grid import jobs_of
from catchup_bench.jobs import local, memory
from catchup_bench.jobs.job import Workspace
from catchup_bench.runs import build
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import Run
from tests.conftest import Cli

GIB = 2**30


def test_what_a_pass_keeps_is_counted_once() -> None:
    """Of a convolution its input, of batch normalisation its input and moments, of ReLU its output."""
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 64, 10))
    image, maps, logits = 3 * 64, 5 * 64, 10
    found = memory.kept(net, 8, "fp32")
    # the log-probabilities; a label is 8 bytes
    assert found == pytest.approx(4 * (image + maps + logits) + 8, abs=4 * logits + 8)


def small(**recipe: object) -> Run:
    return make_run("baseline", width=16, fraction=0.5, overrides={"precision": "fp32", **recipe})


def test_an_estimate_grows_with_the_batch_and_the_images() -> None:
    one, other = (memory.estimate(small(batch_size=n), 0) for n in (2000, 4000))
    net = build.build_net(small().model, "digits", torch.device("cpu"))
    size = data.get("digits").size
    assert other - one == pytest.approx(memory.SPARE * 2000 * memory.kept(net, size, "fp32"), rel=1e-6)
    assert memory.estimate(small(batch_size=2000), 7) == one + 7
    count = len(data.load("digits", "train", None, 0.5, 0))
    assert memory.resident_bytes(small(pad=1), None) == count * (size + 2) ** 2 * 3


def test_what_is_kept_in_bf16_is_about_half() -> None:
    net = build.build_net(small().model, "digits", torch.device("cpu"))
    assert 0.4 < memory.kept(net, 8, "bf16") / memory.kept(net, 8, "fp32") < 0.8


def test_as_many_runs_as_fit() -> None:
    need = memory.estimate(small(), memory.resident_bytes(small(), None))
    for fitting in (0, 1, 3, 12, 40):
        free = int(need * (fitting + 0.5) / memory.SHARE)
        assert memory.side_by_side([small(), small(pad=0)], free, 12) == max(1, min(12, fitting))


def test_workers_are_counted(tmp_path: Path) -> None:
    todo = list(jobs_of(boards.load("digits")))[:3]
    cpu, cuda = (Workspace(tmp_path, tmp_path, None, kind) for kind in ("cpu", "cuda"))
    assert [local.count_workers(n, cpu, todo, 6) for n in (None, "auto", 4)] == [6, 6, 4]
    for free, fitting in ((GIB // 2, 1), (80 * GIB, 6)):
        workers = [local.count_workers(n, cuda, todo, 6, partial(int, free)) for n in (None, "auto", 4)]
        assert workers == [1, fitting, 4]


@pytest.mark.parametrize("workers", ["", "many", "-1", "1.5", "99999"])
def test_other_numbers_of_workers_are_refused(cli: Cli, tmp_path: Path, workers: str) -> None:
    result = cli("leaderboard", "run", "digits", "--root", tmp_path, "--device", "cpu", f"--workers={workers}")
    assert result.exit_code == 2 and "auto or a number from 0 to 1024" in result.stderr
    assert list(tmp_path.iterdir()) == []
