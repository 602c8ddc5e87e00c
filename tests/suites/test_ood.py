"""Out-of-distribution detection: metrics against definitions written out, scores against plain softmax."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench import data
from catchup_bench.data import Images
from catchup_bench.errors import UsageError
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.report.summary import summarise
from catchup_bench.suites import ConditionResult, Context, suite_class
from tests.conftest import Cli
from tests.conftest import as_json as parsed

OOD = suite_class("ood")

ood = importlib.import_module("catchup_bench.suites.ood")

scores = st.lists(st.integers(-20, 20), min_size=1, max_size=30).map(lambda v: np.array(v, np.float32))


def brute(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """The definitions, threshold by threshold."""
    pairs = [(o > i) + 0.5 * (o == i) for o in outside for i in inside]
    thresholds = sorted({*inside, *outside}, reverse=True)
    recall = [np.mean(outside >= t) for t in thresholds]
    flagged = [np.mean(inside >= t) for t in thresholds]
    full = recall.index(1)
    downwards = range(full, -1, -1)
    closest = min(downwards, key=lambda i: abs(recall[i] - 0.95))
    return {
        "auroc": 100 * np.mean(pairs),
        "aupr_out": 100 * precision(inside, outside, thresholds),
        "aupr_in": 100 * precision(-outside, -inside, sorted({*-inside, *-outside}, reverse=True)),
        "fpr95_closest": 100 * flagged[closest],
        "fpr95_at_least": 100 * next(f for r, f in zip(recall, flagged, strict=True) if r >= 0.95),
    }


def precision(negative: np.ndarray, positive: np.ndarray, thresholds: list[float]) -> float:
    """Average precision, step-wise."""
    total, before = 0.0, 0.0
    for t in thresholds:
        hits, alarms = np.sum(positive >= t), np.sum(negative >= t)
        total += (hits / len(positive) - before) * hits / (hits + alarms)
        before = hits / len(positive)
    return total


@given(scores, scores)
def test_metrics_equal_their_definitions(inside: np.ndarray, outside: np.ndarray) -> None:
    assert ood.metrics(inside, outside) == pytest.approx(brute(inside, outside), abs=1e-9)


@given(scores, scores)
def test_only_the_order_of_scores_counts(inside: np.ndarray, outside: np.ndarray) -> None:
    assert ood.metrics(np.exp(inside), np.exp(outside)) == pytest.approx(ood.metrics(inside, outside), abs=1e-9)


@given(scores, scores)
def test_negated_scores_and_swapped_roles(inside: np.ndarray, outside: np.ndarray) -> None:
    found = ood.metrics(inside, outside)
    assert ood.metrics(-inside, -outside)["auroc"] == pytest.approx(100 - found["auroc"], abs=1e-9)
    swapped = ood.metrics(-outside, -inside)
    assert swapped["aupr_in"] == pytest.approx(found["aupr_out"], abs=1e-9)
    assert swapped["aupr_out"] == pytest.approx(found["aupr_in"], abs=1e-9)


def test_perfect_separation_and_none_at_all() -> None:
    zeros, ones = np.zeros(30, np.float32), np.ones(10, np.float32)
    assert ood.metrics(zeros, ones) == {
        "auroc": 100, "aupr_out": 100, "aupr_in": 100, "fpr95_closest": 0, "fpr95_at_least": 0,
    }  # fmt: skip
    nothing = ood.metrics(zeros, np.zeros(10, np.float32))
    assert nothing == {"auroc": 50, "aupr_out": 25, "aupr_in": 75, "fpr95_closest": 100, "fpr95_at_least": 100}


def test_both_conventions_of_fpr95_are_told_apart() -> None:
    outside = np.arange(10, 20, dtype=np.float32)  # recalls are tenths: 0.9 and 1.0 are as close to 0.95
    inside = np.array([0, 9, 10.5, 30], np.float32)
    found = ood.metrics(inside, outside)
    assert (found["fpr95_closest"], found["fpr95_at_least"]) == (50, 50)
    outside = np.arange(12, dtype=np.float32)  # 11/12 = 0.917 is closer than 1
    inside = np.array([0.5] * 4 + [50], np.float32)
    found = ood.metrics(inside, outside)
    assert (found["fpr95_closest"], found["fpr95_at_least"]) == (pytest.approx(100), 100)
    inside = np.array([-1.0, 0.0, 0.0, 50], np.float32)
    found = ood.metrics(inside, outside)
    assert (found["fpr95_closest"], found["fpr95_at_least"]) == (25, 75)


def test_a_recall_of_exactly_95_percent_is_at_least_95_percent() -> None:
    found = ood.metrics(np.array([0.5], np.float32), np.arange(20, dtype=np.float32))
    # two thresholds have that recall, and the authors of ImageNet-O take the one that flags more
    assert (found["fpr95_closest"], found["fpr95_at_least"]) == (100, 0)


def test_half_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="half precision"):
        ood.metrics(np.zeros(3, np.float16), np.zeros(3, np.float32))
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(UsageError, match="float32"):
            ood.strangeness(torch.zeros(2, 3, dtype=dtype))


@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=8))
def test_scores_equal_their_formulas_and_grow_with_strangeness(row: list[float]) -> None:
    logits = torch.tensor([row])
    p = np.exp(np.array(row) - max(row)) / np.exp(np.array(row) - max(row)).sum()
    found = {name: s.item() for name, s in ood.strangeness(logits).items()}
    entropy = -(p * np.log(p, where=p > 0, out=np.zeros_like(p))).sum()
    energy = -(max(row) + np.log(np.exp(np.array(row) - max(row)).sum()))
    expected = {"msp": -p.max(), "max_logit": -max(row), "energy": energy, "entropy": entropy}
    assert found == pytest.approx(expected, abs=2e-5)
    surer = ood.strangeness(2 * logits)
    assert surer["msp"].item() <= found["msp"] + 1e-6 and surer["entropy"].item() <= found["entropy"] + 1e-4


def images(n: int, size: int, seed: int, bright: int = 0) -> Images:
    gen = torch.Generator().manual_seed(seed)
    x = torch.randint(bright, 256, (n, size, size, 3), generator=gen, dtype=torch.uint8)
    return Images(x, torch.arange(n) % 10, torch.arange(n))


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Images:
    """A made-up dataset of larger, brighter images in the table."""
    found = images(30, 24, 2, bright=128)
    entry = replace(data.DATASETS["digits"], load=lambda split, folder: found, size=24)
    monkeypatch.setitem(data.DATASETS, "made-up", entry)
    return found


class Network(nn.Module):
    """Remembers what it saw; its logits are a fixed projection of the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x.mean((2, 3)) @ torch.randn(3, 10, generator=torch.Generator().manual_seed(0)) * 5


def evaluate(net: nn.Module, inside: Images, batch_size: int = 16) -> ConditionResult:
    where = Context(
        net=net,
        images=inside,
        dataset="some",
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )
    suite = OOD(out="made-up").resolve("some", where.data_dir)
    return dict(suite.run(where, suite.conditions()))["ood-made-up"]


def test_stored_scores_give_every_metric_again(other: Images) -> None:
    inside = images(40, 16, 1)
    found = evaluate(Network(), inside)
    values = parsed_again(found)
    assert ood.metrics_of(values["scores"]) == values["metrics"]
    net = Network()
    x = inside.x.permute(0, 3, 1, 2).float() / 255
    msp = net(x).softmax(1).amax(1)
    assert np.allclose(ood.unpack(values["scores"]["msp"]["in"]), -msp, atol=1e-7)
    assert torch.equal(found.bits, net(x).argmax(1) == inside.y)
    assert set(values["metrics"]) == {"msp", "max_logit", "energy", "entropy"}
    assert (values["positive"], values["n_in"], values["n_out"]) == ("out", 40, 30)
    assert values["out_share"] == pytest.approx(30 / 70)


def parsed_again(found: ConditionResult) -> Any:
    """The values as they are read back from a file."""
    return Outcome.model_validate_json(Outcome.of(found.bits.numpy(), "ood", {}, found.values).model_dump_json()).values


def test_other_sizes_are_resized_and_said(other: Images) -> None:
    from PIL import Image

    net = Network()
    found = evaluate(net, images(40, 16, 1), batch_size=40)
    red = [Image.fromarray(image[..., 0].float().numpy()) for image in other.x]
    expected = torch.stack([torch.tensor(np.array(r.resize((16, 16), Image.Resampling.BILINEAR))) for r in red]) / 255
    assert net.seen[1].shape == (30, 3, 16, 16) and torch.allclose(net.seen[1][:, 0], expected, atol=1e-5)
    assert found.values["out_size"] == [24, 24]
    assert "bilinear, antialiased" in OOD(out="made-up").protocol("ood-made-up")["resize"]


def test_images_of_the_same_size_stay_as_they_are(other: Images) -> None:
    net = Network()
    evaluate(net, images(40, 24, 1), batch_size=40)
    assert torch.equal(net.seen[1], other.x.permute(0, 3, 1, 2).float() / 255)


def test_brighter_images_are_found_when_confidence_falls_with_brightness(other: Images) -> None:
    class Dark(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.eye(10)[0] * (1 - x.mean((1, 2, 3)))[:, None] * 30

    found = evaluate(Dark(), images(40, 24, 1))
    assert all(m["auroc"] > 99 and m["fpr95_closest"] < 5 for m in found.values["metrics"].values())


def test_the_report_shows_the_primary_score(other: Images) -> None:
    found, suite = evaluate(Network(), images(40, 16, 1)), OOD(out="made-up")
    outcome = Outcome.of(found.bits.numpy(), "ood", as_json(suite.protocol("ood-made-up")), found.values)
    rows = summarise({"ood-made-up": outcome}, {"ood": suite})
    assert list(rows) == ["ood-made-up AUROC, %", "ood-made-up AUPR-out, %", "ood-made-up FPR95, %"]
    assert float(rows["ood-made-up AUROC, %"]) == pytest.approx(found.values["metrics"]["msp"]["auroc"], rel=1e-3)


def test_the_command_line_names_the_other_dataset(cli: Cli, trained_run: Path, other: Images) -> None:
    found = parsed(cli("evaluate", trained_run, "--suite", "clean", "--ood", "made-up", "--json"))
    ((_, outcomes),) = found.items()
    assert outcomes["ood-made-up"]["n"] == 797 and outcomes["ood-made-up"]["error"] == outcomes["clean"]["error"]
    again = cli("evaluate", trained_run, "--suite", "ood", "--set", "ood.out=made-up")
    assert again.exit_code == 0 and "ood-made-up AUROC, %" in again.stdout and "ood-made-up:" not in again.stderr
    (trained_run / "outcomes" / "ood-made-up.json").unlink()  # others share the run, and know no such dataset


def imagenet_of(names: list[str], x: Images) -> data.Dataset:
    return replace(data.DATASETS["digits"], load=lambda split, folder: x, class_names=lambda folder: names)


def test_shared_classes_are_masked_before_the_softmax_in_both_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the authors of ImageNet-O: the network's outputs of the shared classes, then softmax, then the maximum."""
    inside, outside = images(40, 16, 1), images(30, 16, 2)
    monkeypatch.setitem(data.DATASETS, "imagenet", imagenet_of([f"n{i}" for i in range(10)], inside))
    monkeypatch.setitem(data.DATASETS, "imagenet-o", imagenet_of(["n7", "n2", "n5"], outside))
    where = Context(
        net=(net := Network()),
        images=inside,
        dataset="imagenet",
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=16,
        data_dir=Path("nowhere"),
    )
    suite = OOD(out="imagenet-o").resolve("imagenet", where.data_dir)
    found = dict(suite.run(where, suite.conditions()))["ood-imagenet-o-shared"]
    known = torch.isin(inside.y, torch.tensor([2, 5, 7]))
    for side, part in (("in", inside.take(known.nonzero()[:, 0])), ("out", outside)):
        logits = net(part.x.permute(0, 3, 1, 2).float() / 255)
        msp = logits[:, [2, 5, 7]].softmax(1).amax(1)
        scores = {name: ood.unpack(sides[side]) for name, sides in found.values["scores"].items()}
        assert np.allclose(scores["msp"], -msp, atol=1e-6)
        assert not np.allclose(scores["msp"], -logits.softmax(1).amax(1), atol=1e-3)
        assert np.allclose(scores["energy"], -logits.logsumexp(1), atol=1e-5), "of all classes"
    assert len(found.bits) == 40 and found.values["n_in"] == int(known.sum()) == 12


def test_masking_equals_a_network_without_the_other_outputs() -> None:
    logits, shared = torch.randn(20, 10, generator=torch.Generator().manual_seed(3)), torch.tensor([1, 4, 8])
    alone = ood.strangeness(logits[:, shared])["msp"]
    assert torch.equal(ood.strangeness(logits, shared)["msp"], alone)
    shifted = logits.clone()
    shifted[:, [0, 2, 3, 5, 6, 7, 9]] += 50  # what other classes are thought to be does not matter
    assert torch.equal(ood.strangeness(shifted, shared)["msp"], alone)


def test_imagenet_o_is_scored_on_shared_classes_unless_all_are_asked_for() -> None:
    by_default, asked, every = (OOD(out="imagenet-o", inside=i) for i in ("auto", "shared", "all"))
    (shared,) = by_default.conditions()
    assert shared == asked.conditions()[0] == "ood-imagenet-o-shared"
    assert by_default.protocol(shared) == asked.protocol(shared)
    assert every.conditions() == ["ood-imagenet-o"] and OOD(out="cifar10").conditions() == ["ood-cifar10"]
    before = {"version": 1, "out": "imagenet-o", "resize": "bilinear, antialiased, to the test images' size"}
    assert every.protocol("ood-imagenet-o") == before
    assert by_default.protocol(shared) == before | {"inside": "shared", "version": 2}, "scores of before are others"
    for way in (by_default, every):
        (name,) = way.conditions()
        assert OOD(**OOD.options_of([way.protocol(name)])).conditions() == [name]


def test_no_shared_class_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = images(20, 16, 1)
    monkeypatch.setitem(data.DATASETS, "imagenet", imagenet_of([f"n{i}" for i in range(10)], inside))
    monkeypatch.setitem(data.DATASETS, "imagenet-o", imagenet_of(["m1"], inside))
    where = Context(
        net=Network(),
        images=inside,
        dataset="imagenet",
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=16,
        data_dir=Path("nowhere"),
    )
    with pytest.raises(UsageError, match="no test image of imagenet is of a class of imagenet-o"):
        list(OOD(out="imagenet-o").run(where, ["ood-imagenet-o-shared"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--suite ood", "--ood NAME"),
        ("--ood cifar11", "did you mean cifar10"),
        ("--ood digits", "is the dataset of the model itself"),
        ("--suite ood --set ood.out=3", "ood.out = 3: it takes text"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, trained_run: Path, words: str, message: str) -> None:
    result = cli("evaluate", trained_run, *words.split())
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1 and message in result.stderr


def test_names_are_safe_file_names_and_options_come_back() -> None:
    suite = OOD(out="hf:some/one's images")
    (name,) = suite.conditions()
    assert name == "ood-hf-some-one-s-images"
    assert OOD(**OOD.options_of([suite.protocol(name)])) == suite
