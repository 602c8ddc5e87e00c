"""Training: resumes to the same bits after any interruption, learns, and leaves nothing behind on bad input."""

import json
from pathlib import Path

import pytest
import torch

from catchup_bench.engines.capture import Act
from catchup_bench.errors import RunFailed, UsageError
from catchup_bench.runs import checkpoint
from catchup_bench.runs.build import build
from catchup_bench.runs.folder import make_folder, open_run
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import Run
from catchup_bench.speed import cost
from catchup_bench.system.hardware import choose_precision, exact_products
from catchup_bench.system.progress import NoProgress
from catchup_bench.training.loop import dry_run, train
from tests.support.backends import Rerun
from tests.support.method_settings import resumed_methods

CPU = torch.device("cpu")

SMALL = {"width": 4, "fraction": 0.25, "overrides": {"epochs": 4}}


class Stop(Exception):
    """Raised in the middle of training."""


class StopsAfter(NoProgress):
    """Interrupts at the first batch after ``epochs``."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def epoch(self, line: dict[str, object]) -> None:
        self.left -= 1

    def step(self, images: int) -> None:
        if self.left == 0:
            raise Stop


@pytest.mark.parametrize("method", resumed_methods())
@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path: Path, method: str, after: int) -> None:
    run = make_run(method, **SMALL)  # type: ignore[arg-type]
    whole = train(run, tmp_path / "whole", device=CPU)
    with pytest.raises(Stop):
        train(run, tmp_path / "cut", device=CPU, progress=StopsAfter(after), checkpoint_every=0)
    again = train(run, tmp_path / "cut", device=CPU)
    assert (again / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert (again / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    assert losses(again) == losses(whole)
    assert not (again / "state.pt").exists()


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(line["epoch"], line["loss"]) for line in map(json.loads, lines)]


def test_a_finished_run_is_not_trained_again(trained_run: Path) -> None:
    before = (trained_run / "last.safetensors").stat().st_mtime_ns
    run = make_run("catchup", fraction=0.25, width=4, overrides={"epochs": 2})
    assert train(run, trained_run.parent, device=CPU) == trained_run
    assert (trained_run / "last.safetensors").stat().st_mtime_ns == before


def test_all_methods_start_from_the_same_weights() -> None:
    nets = [build(make_run(m, seed=2), CPU)[0] for m in ("baseline", "catchup", "recursivemix")]
    first = nets[0].state_dict()
    for net in nets[1:]:
        assert all(torch.equal(first[k], v) for k, v in net.state_dict().items() if not k.startswith("extra."))
    other = build(make_run("baseline", seed=3), CPU)[0].state_dict()
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


def test_mixing_with_probability_0_is_the_baseline(tmp_path: Path) -> None:
    run = make_run("cutmix", settings={"cutmix": {"prob": 0.0}}, **SMALL)  # type: ignore[arg-type]
    plain = make_run("baseline", **SMALL)  # type: ignore[arg-type]
    assert losses(train(run, tmp_path, device=CPU)) == losses(train(plain, tmp_path, device=CPU))


def test_the_baseline_learns_the_digits(tmp_path: Path) -> None:
    folder = train(make_run("baseline", overrides={"epochs": 4}), tmp_path, device=CPU)
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["test_error"] < 5


def test_best_is_the_first_epoch_of_lowest_error(trained_run: Path) -> None:
    lines = [json.loads(line) for line in (trained_run / "metrics.jsonl").read_text().splitlines()]
    looked = [line for line in lines if "test_error" in line]
    best = min(looked, key=lambda line: line["test_error"])
    assert json.loads((trained_run / "training.json").read_text())["best"]["epoch"] == best["epoch"]


def test_weights_carry_their_run(trained_run: Path) -> None:
    tensors, run = checkpoint.read_weights(trained_run / "last.safetensors")
    assert isinstance(run, Run) and run.method.name == "catchup"
    assert not any(name.startswith("extra.") for name in tensors)


def test_a_loss_that_is_not_finite_fails_the_run(tmp_path: Path) -> None:
    run = make_run("baseline", width=4, overrides={"epochs": 2, "lr": 1e18, "precision": "fp32"})
    with pytest.raises(RunFailed, match="no longer finite"):
        train(run, tmp_path, device=CPU)
    assert not (tmp_path / run.folder / "last.safetensors").exists()


class Breaks(NoProgress):
    """Counts down the steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, images: int) -> None:
        self.left -= 1

    def backend(self, device: torch.device) -> Rerun:
        """Replays whose loss is not a number once no step is left."""
        breaks = self

        class Broken(Rerun):
            def capture(self, act: Act, gen: torch.Generator) -> Act:
                replay = super().capture(act, gen)
                return lambda: replay() * (float("nan") if breaks.left <= 0 else 1)

        return Broken()


@pytest.mark.parametrize("after", [130, 149, 199])
def test_a_broken_loss_stops_within_50_steps_and_keeps_the_last_epoch(tmp_path: Path, after: int) -> None:
    run = make_run("baseline", width=4, fraction=0.5, overrides={"epochs": 3, "batch_size": 5})  # 100 steps an epoch
    whole = train(run, tmp_path / "whole", device=CPU)
    breaks = Breaks(after)
    with pytest.raises(RunFailed, match="epoch 2"):
        train(run, tmp_path, device=CPU, progress=breaks, engine="graphs", backend=breaks.backend)
    assert -50 <= breaks.left <= 0
    folder = tmp_path / run.folder
    assert json.loads((folder / "failed.json").read_text())["epoch"] == 2
    assert checkpoint.read_state(folder / "state.pt")["epoch"] == 1  # type: ignore[index]
    assert train(run, tmp_path, device=CPU) == folder and not (folder / "failed.json").exists()
    assert (folder / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


@pytest.mark.parametrize("state", [[1], {"epoch": 1}, {"epoch": 1, "net": {}, "optimizer": {}, "metrics": "[]"}])
def test_a_state_of_something_else_is_refused(tmp_path: Path, state: object) -> None:
    run = make_run("baseline", **SMALL)  # type: ignore[arg-type]
    torch.save(state, make_folder(run, tmp_path) / "state.pt")
    with pytest.raises(UsageError, match="delete it to start over"):
        train(run, tmp_path, device=CPU)


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    run = make_run("manifold", settings={"manifold": {"layers": [0, 9]}})
    with pytest.raises(UsageError, match="layers"):
        train(run, tmp_path / "runs", device=CPU)
    with pytest.raises(UsageError, match="no CIFAR100"):
        train(make_run("catchup", "cifar100"), tmp_path / "runs", device=CPU, data_dir=tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("batch_size", [27, 999, 1])
def test_a_batch_of_one_image_where_maps_are_1x1_is_refused_early(tmp_path: Path, batch_size: int) -> None:
    """1,000 images of 16 px: 27 and 999 leave one over. It once failed after an epoch's work, in BatchNorm."""
    run = make_run("baseline", model="resnet18", width=4, overrides={"epochs": 1, "batch_size": batch_size})
    words = f"recipe.batch_size = {batch_size} makes a batch of one image out of 1000"
    with pytest.raises(UsageError, match=words):
        train(run, tmp_path / "runs", device=CPU)
    with pytest.raises(UsageError, match=words):
        dry_run(run, device=CPU)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("model", "drop_last"), [("resnet18", True), ("preactresnet10", False)])
def test_a_batch_of_one_image_is_refused_nowhere_else(tmp_path: Path, model: str, drop_last: bool) -> None:
    """It is left out, or the last maps are larger: 2×2 in the second network."""
    overrides = {"epochs": 1, "batch_size": 199, "drop_last": drop_last, "precision": "fp32"}
    run = make_run("baseline", model=model, width=4, fraction=0.2, overrides=overrides)
    assert train(run, tmp_path, device=CPU).is_dir() and dry_run(run, device=CPU) > 0


def test_two_processes_do_not_train_the_same_run(tmp_path: Path) -> None:
    run = make_run("baseline", **SMALL)  # type: ignore[arg-type]

    class TrainsAgain(NoProgress):
        def start(self, total: int, done: int) -> None:
            train(run, tmp_path, device=CPU)

    with pytest.raises(UsageError, match="being trained by another process"):
        train(run, tmp_path, device=CPU, progress=TrainsAgain())


def test_weights_of_another_network_are_listed(trained_run: Path) -> None:
    tensors, _ = checkpoint.read_weights(trained_run / "last.safetensors")
    net, _ = build(make_run("baseline", width=8), CPU)
    with pytest.raises(UsageError, match="of another network"):
        checkpoint.load_weights(net, tensors, Path("x"))


TF32 = (torch.backends.cuda.matmul, torch.backends.cudnn)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_convolutions_are_of_fp32_unless_tf32_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Torch rounds their factors on CUDA if it is not told otherwise, on the way back too."""
    seen: set[tuple[bool, ...]] = set()

    def watch(module: torch.nn.Module, *_: object) -> None:
        if module.training:
            seen.add(tuple(backend.allow_tf32 for backend in TF32))

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    run = make_run("baseline", width=4, fraction=0.1, overrides={"epochs": 1, "precision": precision})
    watching = torch.nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        for act in (
            lambda: train(run, tmp_path, device=CPU),
            lambda: dry_run(run, device=CPU),
            lambda: cost.Timed(run, cost.random_images(8, 8, 10), CPU).seconds(1),
        ):
            seen.clear()
            act()
            assert seen == {(False, False)} and torch.backends.cudnn.allow_tf32
    finally:
        watching.remove()
    with exact_products("tf32"):
        assert all(backend.allow_tf32 for backend in TF32)
    facts = json.loads((tmp_path / run.folder / "training.json").read_text())
    assert facts["precision"] == precision


def test_bad_input_is_said_and_leaves_nothing_before_the_first_line_of_metrics(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="as it is"), open_run(make_run("baseline", width=4), tmp_path / "runs"):
        raise UsageError("as it is")
    assert list(tmp_path.iterdir()) == []


def test_tf32_is_refused_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("baseline", width=4, fraction=0.1, overrides={"precision": "tf32"})
    with pytest.raises(UsageError, match="tf32 needs a CUDA device of compute capability"):
        train(run, tmp_path, device=CPU)
    assert list(tmp_path.iterdir()) == []
    for capability, known in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        if known:
            assert choose_precision("tf32", torch.device("cuda")) == "tf32"
        else:
            with pytest.raises(UsageError, match="tf32"):
                choose_precision("tf32", torch.device("cuda"))
