"""Feature reliance against a loop over images and features, and the properties of the curves."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench.data import Images
from catchup_bench.errors import UsageError
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.suites import ConditionResult, Context, Suite, suite_class

from ..conftest import Cli
from ..conftest import as_json as read

Reliance = suite_class("reliance")
reliance = importlib.import_module("catchup_bench.suites.reliance")
BY_VALUE, BY_MAGNITUDE = Reliance().conditions()


class Ends(nn.Module):
    """A network whose features of the image with index i, written in its first pixel, are row i of a table."""

    def __init__(self, features: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.features = features
        self.spare = nn.Linear(3, 3)  # never called
        self.last = nn.Linear(weight.shape[1], weight.shape[0])
        self.last.weight.data, self.last.bias.data = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.features[(x[:, 0, 0, 0] * 255).round().long()])


def context(net: nn.Module, y: Tensor, batch_size: int = 7) -> Context:
    n = len(y)
    x = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 2, 2, 3)
    return Context(
        net=net,
        images=Images(x, y, torch.arange(n)),
        dataset="some",
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )


def some(n: int = 40, d: int = 9, classes: int = 4, seed: int = 0, relu: bool = False) -> tuple[Tensor, ...]:
    """Features, weight, bias and labels; many ties, sums exact in any order."""
    gen = torch.Generator().manual_seed(seed)
    features = torch.randint(0 if relu else -3, 5, (n, d), generator=gen).float()
    weight = torch.randint(-8, 9, (classes, d), generator=gen).float() / 8
    bias = torch.randint(-8, 9, (classes,), generator=gen).float() / 16
    return features, weight, bias, torch.randint(classes, (n,), generator=gen)


def evaluate(
    features: Tensor, weight: Tensor, bias: Tensor, y: Tensor, batch_size: int = 7
) -> dict[str, ConditionResult]:
    suite: Suite = Reliance()
    return dict(suite.run(context(Ends(features, weight, bias), y, batch_size), suite.conditions()))  # type: ignore[arg-type]


def by_loops(features: Tensor, weight: Tensor, bias: Tensor, y: Tensor, end: str, magnitude: bool) -> list[list[bool]]:
    """51 lists of whether each image is right."""
    found = []
    for i in range(51):
        row = []
        for f, label in zip(features.tolist(), y.tolist(), strict=True):
            size = [abs(v) if magnitude else v for v in f]
            # sorted() keeps the order of equals: ties by index
            order = sorted(range(len(f)), key=lambda j: -size[j] if end == "top" else size[j])
            gone = set(order[: int(np.floor(np.float64(i * len(f)) / 50 + 0.5))])
            left = np.array([0.0 if j in gone else v for j, v in enumerate(f)])
            row.append(int(np.argmax(weight.double().numpy() @ left + bias.double().numpy())) == label)
        found.append(row)
    return found


@pytest.mark.parametrize("d", [1, 2, 9, 25, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_curves_equal_a_loop_over_images_and_features(d: int, seed: int) -> None:
    given = some(d=d, seed=seed)
    found = evaluate(*given)
    for condition, magnitude in ((BY_VALUE, False), (BY_MAGNITUDE, True)):
        values = found[condition].values
        for end in ("top", "bottom"):
            rows = np.array(by_loops(*given, end, magnitude))  # type: ignore[arg-type]
            assert values["right"][end] == rows.sum(1).tolist()
            areas = np.trapezoid(100 * rows, dx=1 / 50, axis=0)
            assert reliance.unpack(values["area_per_image"][end], len(rows[0])).tolist() == areas.round(9).tolist()
            assert values["area"][end] == pytest.approx(areas.mean(), abs=1e-9)
            if end == "bottom":
                assert found[condition].bits.tolist() == rows[40].tolist()


@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 10_000), st.booleans())
def test_ends_of_the_curves(n: int, d: int, seed: int, relu: bool) -> None:
    features, weight, bias, y = some(n, d, seed=seed, relu=relu)
    found = evaluate(features, weight, bias, y)
    clean = int(((features @ weight.T + bias).argmax(1) == y).sum())
    nothing = int((y == bias.argmax()).sum())
    for one in found.values():
        for curve in one.values["right"].values():
            assert (curve[0], curve[50]) == (clean, nothing)
    if relu:
        assert found[BY_VALUE].values == found[BY_MAGNITUDE].values
    assert found[BY_VALUE].values["min_feature"] == features.min()


@given(st.integers(0, 10_000), st.integers(2, 30))
def test_the_order_of_features_does_not_matter(seed: int, d: int) -> None:
    _, weight, bias, y = some(d=d, seed=seed)
    gen = torch.Generator().manual_seed(seed)
    features = torch.stack([torch.randperm(4 * d, generator=gen)[:d] - 2.0 * d for _ in y])  # no ties of values
    order = torch.randperm(d, generator=gen)
    one, other = evaluate(features, weight, bias, y), evaluate(features[:, order], weight[:, order], bias, y)
    assert one[BY_VALUE].values == other[BY_VALUE].values and torch.equal(one[BY_VALUE].bits, other[BY_VALUE].bits)


def test_a_network_of_one_feature_collapses_when_that_is_dropped() -> None:
    y = torch.arange(40) % 4
    features = torch.rand(40, 25, generator=torch.Generator().manual_seed(0))
    features[:, 7] = 2.0 + y  # always the highest
    weight, bias = torch.zeros(4, 25), torch.tensor([0.0, -2.5, -6.0, -10.5])
    weight[:, 7] = torch.arange(4.0)
    values = evaluate(features, weight, bias, y)[BY_VALUE].values
    assert values["right"]["top"] == [40] + [10] * 50  # 0.02 · 25 is half a feature: one is dropped
    assert values["right"]["bottom"] == [40] * 49 + [10] * 2
    assert values["half"] == {"top": 0.02, "bottom": 0.98}
    assert values["area"]["top"] == pytest.approx(25 + 0.75) and values["area"]["bottom"] == pytest.approx(97.75 - 0)


def test_scalars_of_a_known_curve() -> None:
    right = {"top": [80, *[40] * 25, *[20] * 24, 0], "bottom": [80] * 51}
    found = reliance.derived(right, 100)
    assert found["area"] == pytest.approx({"top": 100 * np.trapezoid(right["top"], dx=0.02) / 100, "bottom": 80})
    assert found["area_of_clean"]["bottom"] == 100 and found["half"] == {"top": 0.02, "bottom": None}


@pytest.mark.parametrize("d", [10, 50, 64, 512, 2048])
def test_halves_round_up(d: int) -> None:
    from fractions import Fraction

    wanted = [int(Fraction(i, 50) * d + Fraction(1, 2)) for i in range(51)]
    assert reliance.dropped(d) == wanted and wanted[0] == 0 and wanted[-1] == d


def outcome(found: ConditionResult, condition: str = BY_VALUE) -> Outcome:
    return Outcome.of(found.bits.numpy(), "reliance", as_json(Reliance().protocol(condition)), found.values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["area"].update(top=99.0), "area top is stated as 99"),
        (lambda v: v["area_of_clean"].update(top="1"), "area_of_clean top is stated as 1"),
        (lambda v: v["half"].update(bottom=0.5), "half bottom"),
        (lambda v: v["right"]["bottom"].__setitem__(40, v["right"]["bottom"][40] - 1), "its bits say"),
        (lambda v: v["right"]["top"].pop(), "damaged"),
        (lambda v: v["right"]["top"].__setitem__(3, 1000), "damaged"),
        (lambda v: v["area_per_image"].update(top=v["area_per_image"]["bottom"]), "area_per_image top has the mean"),
        (lambda v: v["area_per_image"].update(top="AAAA"), "damaged"),
        (lambda v: v.pop("right"), "damaged"),
        (lambda v: v["right"]["top"].__setitem__(50, v["right"]["top"][50] + 1), "begin and end together"),
    ],
)
def test_numbers_that_contradict_each_other_are_found(change: Any, words: str) -> None:
    found = evaluate(*some())[BY_VALUE]
    assert Reliance.contradictions(outcome(found)) == []
    change(found.values)
    assert re.search(words, "; ".join(Reliance.contradictions(outcome(found))))


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x).mean((2, 3))


class Scaled(nn.Module):
    """Logits that are no longer what the linear layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.last(x.mean((2, 3)))


@pytest.mark.parametrize(("net", "words"), [(Convolved(), "it has none"), (Scaled(), "not its logits")])
def test_a_network_without_a_linear_head_is_refused(net: nn.Module, words: str) -> None:
    with pytest.raises(UsageError, match=f"does not end in a linear layer.*{words}"):
        next(iter(Reliance().run(context(net, torch.arange(8) % 4), Reliance().conditions())))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11", "densenet121"])
def test_the_head_of_torchvision_is_found(name: str) -> None:
    import torchvision

    from catchup_bench.suites._linear_head import features_and_logits, linear_head

    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(num_classes=5).eval()
    x = torch.rand(2, 3, 64, 64)
    head = linear_head(net, x)
    assert head is [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    with torch.inference_mode():
        features, logits = features_and_logits(net, head, x)
        assert features.shape == (2, head.in_features) and torch.equal(logits, net(x))


def test_digits_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    words = ("--epochs", 1, "--width", 4, "--runs", tmp_path / "runs")
    assert cli("train", "--method", "catchup", *words).exit_code == 0
    where = ("--runs", tmp_path / "runs")
    (found,) = read(cli("evaluate", "--suite", "clean", "--suite", "reliance", *where, "--json")).values()
    assert set(found) == {"clean", BY_VALUE, BY_MAGNITUDE}
    (folder,) = (tmp_path / "runs").iterdir()
    values = json.loads((folder / "outcomes" / f"{BY_VALUE}.json").read_text())["outcome"]["values"]
    clean = json.loads((folder / "outcomes" / "clean.json").read_text())["outcome"]["correct"]
    assert values["right"]["top"][0] == values["right"]["bottom"][0] == clean
    shown = cli("evaluate", folder, "--suite", "reliance", *where).stdout
    assert "area without the highest, by value, %" in shown and "without the lowest 80 % of features" in shown
