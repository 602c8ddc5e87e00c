"""Norms of activations and gradients during training, and the weights that are kept for them."""

import importlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench import recipes as recipe
from catchup_bench.data import Images
from catchup_bench.errors import UsageError
from catchup_bench.records.outcomes import collect_record
from catchup_bench.records.record import Outcome, as_json, write_record
from catchup_bench.runs.checkpoint import read_weights
from catchup_bench.runs.make import make_run
from catchup_bench.suites import Context, suite_class
from catchup_bench.training.loop import train
from catchup_bench.verification.method import make_net

from ..conftest import Cli
from ..conftest import as_json as read

Dynamics = suite_class("dynamics")
dynamics = importlib.import_module("catchup_bench.suites.dynamics")
stored = importlib.import_module("catchup_bench.suites._values")
CPU = torch.device("cpu")


def some_images(n: int = 12) -> Images:
    gen = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (n, 16, 16, 3), generator=gen, dtype=torch.uint8)
    return Images(x, torch.arange(n) % 10, torch.arange(n))


def ready_net() -> nn.Module:
    net = make_net()
    net(torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    return net.eval().requires_grad_(False)


def context(net: nn.Module, batch_size: int = 5, snapshots: dict[int, Path] | None = None) -> Context:
    return Context(
        net=net,
        images=some_images(),
        dataset="digits",
        mean=(0, 0, 0),
        device=CPU,
        batch_size=batch_size,
        data_dir=Path("nowhere"),
        snapshots=snapshots or {},
    )


def found_norms(net: nn.Module, batch_size: int = 5, stage: int = 3) -> tuple[np.ndarray, np.ndarray]:
    return dynamics.norms(net, stage, some_images(), context(net, batch_size))


@pytest.mark.parametrize("stage", [0, 3, 4])
def test_norms_equal_those_of_single_images(stage: int) -> None:
    net = ready_net()
    maps, gradients = found_norms(net, stage=stage)
    images = some_images()
    for i in range(3):
        inside: list[Tensor] = []

        def keep(module: nn.Module, args: Any, output: Tensor, inside: list[Tensor] = inside) -> Tensor:
            inside.append(output.clone().requires_grad_())
            return inside[-1]

        hook = net.stages[stage].register_forward_hook(keep)  # type: ignore[index, union-attr]
        x = images.x[i : i + 1].permute(0, 3, 1, 2).float() / 255
        F.cross_entropy(net(x), images.y[i : i + 1]).backward()
        hook.remove()
        (a,) = inside
        assert a.grad is not None
        assert maps[i] == pytest.approx(a.detach()[0].flatten(1).norm(dim=1).numpy(), rel=1e-4)
        assert gradients[i] == pytest.approx(a.grad[0].flatten(1).norm(dim=1).numpy(), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("batch_size", [1, 12])
def test_norms_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    net = ready_net()
    for one, other in zip(found_norms(net), found_norms(net, batch_size), strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-8)


def some_norms(n: int = 9, channels: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = 10 ** rng.uniform(-6, 6, (2, n, channels))
    found[1] *= 1e-6
    found[:, :, 0] = 0  # a dead channel
    return found[0], found[1]


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 1000))
def test_every_image_and_channel_is_in_the_histogram_once(n: int, channels: int, seed: int) -> None:
    maps, gradients = some_norms(n, channels, seed)
    found = dynamics.histogram(maps, gradients)
    assert found.shape == (100, 100) and found.sum() == n * channels
    edges = [np.linspace(*span, 101) for span in dynamics.RANGES.values()]
    with np.errstate(divide="ignore"):
        logs = [
            np.clip(np.log10(m).ravel(), e[0], np.nextafter(e[-1], 0))
            for m, e in zip((maps, gradients), edges, strict=True)
        ]
    assert np.abs(found - np.histogram2d(*logs, bins=edges)[0]).sum() <= 2  # a norm on an edge may round to either side
    assert (stored.unpack_counts(stored.pack_counts(found), 10_000) == found.ravel()).all()


@given(st.integers(0, 1000))
def test_the_order_of_channels_changes_nothing_but_the_order_of_their_means(seed: int) -> None:
    maps, gradients = some_norms(seed=seed)
    order = np.random.default_rng(seed).permutation(7)
    one, other = dynamics.of_norms(maps, gradients), dynamics.of_norms(maps[:, order], gradients[:, order])
    for key in ("histogram", "quantiles", "median_gradient", "starved"):
        assert one[key] == other[key]
    assert one["gini"] == pytest.approx(other["gini"]) and one["spearman"] == pytest.approx(other["spearman"])


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(values: list[float]) -> None:
    found = dynamics.gini(np.array(values))
    v = np.array(values)
    if v.sum() > 1e-6:
        assert found == pytest.approx(np.abs(v[:, None] - v).mean() / (2 * v.mean()), abs=1e-9)
    assert -1e-12 <= found < 1


def test_known_scalars() -> None:
    found = dynamics.described(np.array([0.0, 0, 0, 8]), np.array([1e-7, 2e-7, 1e-3, 1]))
    assert found["gini"] == 0.75 and found["starved"] == 50 and found["spearman"] == pytest.approx(0.7745966692)
    assert dynamics.described(np.ones(4), np.arange(4.0))["spearman"] is None


def test_counts_that_unpack_to_more_are_refused() -> None:
    bomb = stored.pack_counts(np.zeros(10_000_000, np.int64))
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="not 100 counts"):
        stored.unpack_counts(bomb, 100)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of five epochs, with weights kept at the second, the fourth and the last."""
    run = make_run("baseline", fraction=0.1, width=4, overrides={"epochs": 5, "snapshots": [0.4, 0.8, 1.0]})
    return train(run, tmp_path_factory.mktemp("kept"), device=CPU)


def test_weights_are_kept_at_the_epochs_and_change_nothing_else(kept: Path, tmp_path: Path) -> None:
    assert sorted(p.name for p in kept.glob("snapshot-*")) == [f"snapshot-{e}.safetensors" for e in (2, 4, 5)]
    plain = train(make_run("baseline", fraction=0.1, width=4, overrides={"epochs": 5}), tmp_path, device=CPU)
    assert plain.name == kept.name
    for name in ("run.json", "last.safetensors"):
        assert (plain / name).read_bytes() == (kept / name).read_bytes()
    last, _ = read_weights(kept / "last.safetensors")
    for epoch, same in ((2, False), (4, False), (5, True)):
        tensors, run = read_weights(kept / f"snapshot-{epoch}.safetensors")
        assert run is not None and run.digest in kept.name
        assert all(torch.equal(v, last[k]) for k, v in tensors.items()) is same


@pytest.mark.parametrize("snapshots", [[0], [1.5], [0.5, 0.2], ["x"]])
def test_impossible_snapshots_are_refused(snapshots: list[object]) -> None:
    with pytest.raises(UsageError, match="snapshots"):
        recipe.load("digits", {"snapshots": snapshots})


def test_snapshots_are_no_part_of_a_recipes_identity_and_its_files() -> None:
    with_them, without = recipe.load("digits", {"snapshots": [0.01, 0.5]}), recipe.load("digits")
    assert with_them.identity == without.identity and with_them.model_dump() == without.model_dump()
    assert with_them.snapshot_epochs == {1, with_them.epochs // 2} and not without.snapshot_epochs


def test_a_run_from_the_command_line(cli: Cli, kept: Path) -> None:
    (found,) = read(cli("evaluate", kept, "--suite", "dynamics", "--set", "dynamics.images=50", "--json")).values()
    assert list(found) == ["dynamics-n50"]
    outcome = json.loads((kept / "outcomes" / "dynamics-n50.json").read_text())["outcome"]
    assert list(outcome["values"]["epochs"]) == ["2", "4", "5"] and outcome["values"]["images"] == 50
    shown = cli("evaluate", kept, "--suite", "dynamics", "--set", "dynamics.images=50").stdout
    assert "Gini of activation norms, epoch 4" in shown
    evaluated = Outcome.model_validate(outcome)
    assert Dynamics.contradictions(evaluated) == []


def test_evaluated_again_it_holds(cli: Cli, kept: Path, tmp_path: Path) -> None:
    assert cli("evaluate", kept, "--suite", "dynamics", "--set", "dynamics.images=50").exit_code == 0
    write_record(collect_record(kept), tmp_path / "record.json")
    verdict = read(cli("verify", tmp_path / "record.json", "--run", kept, "--json"))
    assert verdict["level"] == 2 and verdict["differing"] == {"dynamics-n50": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(gini=0.5), "epoch 1: gini is stated as 0.5"),
        (lambda v: v.update(spearman=None), "epoch 1: spearman"),
        (lambda v: v.update(histogram=stored.pack_counts(np.zeros(10_000))), "its histogram is of 0 maps, not of 63"),
        (lambda v: v.update(histogram="AAAA"), "damaged"),
        (lambda v: v.pop("channel_means"), "damaged"),
    ],
)
def test_numbers_that_contradict_each_other_are_found(change: Any, words: str) -> None:
    values = {"images": 9, "epochs": {"1": dynamics.of_norms(*some_norms())}}
    suite = Dynamics()
    outcome = Outcome.of(np.ones(3, bool), "dynamics", as_json(suite.protocol("dynamics")), values)
    assert Dynamics.contradictions(outcome) == []
    change(outcome.values["epochs"]["1"])
    assert re.search(words, "; ".join(Dynamics.contradictions(outcome)))


def test_a_run_without_snapshots_is_refused(cli: Cli, trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / trained_run.name)
    result = cli("evaluate", run, "--suite", "dynamics")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.stderr
    assert "dynamics needs weights of several epochs, and none were kept" in result.stderr


def test_weights_of_another_network_are_refused(kept: Path) -> None:
    suite = Dynamics(images=20)
    where = context(ready_net(), snapshots={2: kept / "snapshot-2.safetensors"})
    with pytest.raises(UsageError, match=r"snapshot-2\.safetensors is of another network than this"):
        next(iter(suite.run(where, suite.conditions())))


def test_a_stage_that_is_not_there_and_a_network_without_stages_are_refused(kept: Path) -> None:
    suite = Dynamics(stage=9)
    for net, words in ((ready_net(), "has 5 stages"), (nn.Linear(2, 2), "has 0 stages")):
        with pytest.raises(UsageError, match=rf"dynamics.stage = 9: the network {words}"):
            next(iter(suite.run(context(net, snapshots={1: kept / "snapshot-2.safetensors"}), suite.conditions())))


@pytest.mark.parametrize("options", [{"images": 0}, {"stage": -1}])
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is not allowed: it takes"):
        Dynamics(**options)
