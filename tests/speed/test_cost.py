"""The cost of a method is a ratio within one run."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from catchup_bench import boards
from catchup_bench.engines.capture import Act
from catchup_bench.errors import UsageError
from catchup_bench.jobs.costs import measure_cost
from catchup_bench.jobs.job import Workspace
from catchup_bench.runs.make import make_run
from catchup_bench.speed import cost, scale, train
from tests.conftest import Cli, as_json
from tests.support.backends import Rerun

CPU = torch.device("cpu")


class Stated(cost.Timed):
    """A step of catchup takes (1 + plan) seconds, of any other method two."""

    def of_plan(self, plan: object, steps: int) -> float:
        return 2.0 if plan is None else 1.0 + float(str(plan))


def test_plans_count_as_often_as_they_are_drawn() -> None:
    runs = {m: make_run(m, width=4) for m in ("baseline", "catchup")}
    found = cost.measure(runs, CPU, cost.random_images(100, 16, 10), rounds=2, timer=Stated)
    assert found["baseline_seconds_per_step"] == 2.0
    assert found["methods"]["baseline"]["ratio"] == 1.0
    assert found["methods"]["catchup"]["ratio"] == pytest.approx((1 + 2.5) / 2, rel=0.02)  # k is uniform on 0..5


def test_cost_is_of_the_engine_that_trains_and_says_which() -> None:
    """Captured where that is possible; and what is not, is named."""
    made = []

    class Captured(Rerun):
        def __init__(self, device: torch.device) -> None:
            super().__init__()
            made.append(self)

        def warm_up(self, act: Act) -> None:
            super().warm_up(act)
            if self is made[1]:
                raise RuntimeError("called a synchronizing CUDA operation")

    timer = partial(cost.Timed, backend=Captured)
    runs = {m: make_run(m, width=4, overrides={"batch_size": 10}) for m in ("baseline", "inputmixup")}
    found = cost.measure(runs, CPU, cost.random_images(40, 16, 10), rounds=2, steps=2, engine="auto", timer=timer)
    assert found["engine"] == "graphs" and found["engines"] == {"inputmixup": "eager"}
    assert found["eager_plans"] == {"inputmixup": {"0": "called a synchronizing CUDA operation"}}
    assert made[0].captures == 1 and made[0].replays == 2 * 2 + 2 + 2, "the capture itself is not timed"
    plain = cost.measure(runs, CPU, cost.random_images(40, 16, 10), rounds=1, engine="eager")
    assert plain["engine"] == "eager" and "engines" not in plain and "eager_plans" not in plain


def test_a_board_measures_cost_with_its_engine(tmp_path: Path) -> None:
    """Which a CPU has not."""
    workspace = Workspace(tmp_path, tmp_path, None, "cpu", "graphs", threads=1)
    with pytest.raises(UsageError, match="--engine graphs captures CUDA graphs, and this is a CPU"):
        measure_cost(boards.load("digits").setups[0], {"baseline": make_run("baseline", width=4)}, workspace)


def test_quartiles() -> None:
    assert cost.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == {"ratio": 3.0, "low": 2.0, "high": 4.0}


def test_the_command_needs_no_data(cli: Cli) -> None:
    words = ["--methods", "cutmix", "--width", "4", "--batch-size", "4", "--rounds", "1", "--json"]
    found = as_json(cli("bench", "methods", *words))
    assert (
        found["image_size"] == 32
        and found["methods"]["baseline"]["ratio"] == 1.0
        and found["methods"]["cutmix"]["ratio"] > 0
    )


def test_the_loop_is_set_beside_a_plain_one(cli: Cli) -> None:
    words = ["--dataset", "digits", "--width", "4", "--batch-size", "4", "--rounds", "1", "--steps", "1", "--json"]
    found = as_json(cli("bench", "train", *words, "--methods", "cutmix", "--precision", "fp32"))
    assert next(iter(found["loops"])) == "reference" and "product" in found["loops"]
    assert all(loop["images_per_second"] > 0 for loop in found["loops"].values())
    assert ("product, a run a core" in found["loops"]) == (os.cpu_count() > 1)
    assert found["loops"]["reference"]["ratio"] == 1 and found["loops"]["product"]["images_per_second"] > 0
    assert 0 < found["share_of_peak"] < 1 and found["methods"]["cutmix"]["ratio"] > 0


def test_flop_are_those_of_forward_and_backward() -> None:
    """PreActResNet-18 of width 64 on CIFAR-100: 0.56 billion products forward, three times as many with backward."""
    flop = train.flop_per_image(make_run("baseline", "cifar100"), cost.random_images(2, 32, 100))
    assert flop == pytest.approx(3.33e9, rel=0.01)


def test_the_plain_loop_sees_the_pictures() -> None:
    images = cost.random_images(3, 8, 10)
    for (x, y), pixels, label in zip(train.Pictures(images, 0, False), images.x, images.y, strict=False):
        assert torch.equal(x, pixels.permute(2, 0, 1) / 255) and y == label


def test_scale_is_measured_case_by_case() -> None:
    found = scale.case(make_run("baseline", width=4), 200, 1, "cpu")
    assert found["images_per_second"] > 0 and 50 < found["peak_mb"] < 50_000
