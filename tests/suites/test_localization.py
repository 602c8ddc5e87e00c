"""Localisation: components against SciPy's, boxes by hand, activation maps by the definition."""

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench import data
from catchup_bench.data import Images
from catchup_bench.data.images import Located
from catchup_bench.errors import UsageError
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.suites import ConditionResult, Context, suite_class

from ..conftest import Cli
from ..conftest import as_json as read
from ..support import layouts, real_data

Localization = suite_class("localization")
localization = importlib.import_module("catchup_bench.suites.localization")
components = importlib.import_module("catchup_bench.suites._components").components
heads = importlib.import_module("catchup_bench.suites._linear_head")


def plain_components(values: np.ndarray, threshold: float) -> list[tuple[int, ...]]:
    from scipy import ndimage

    labels, _ = ndimage.label(values > threshold, np.ones((3, 3)))
    return sorted(
        (int((labels == i).sum()), s[1].start, s[0].start, s[1].stop, s[0].stop)
        for i, s in enumerate(ndimage.find_objects(labels), 1)
    )


@given(
    st.integers(1, 14), st.integers(1, 14), st.integers(0, 10_000), st.sampled_from([2, 4, 50]),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
)  # fmt: skip
def test_components_equal_scipys_at_every_threshold(
    height: int, width: int, seed: int, levels: int, thresholds: list[float]
) -> None:
    values = np.random.default_rng(seed).integers(0, levels, (height, width)) / (levels - 1)  # with plateaus
    at = np.sort(np.array(thresholds))
    for threshold, (sizes, boxes) in zip(at, components(values, at), strict=True):
        assert sorted((int(n), *b) for n, b in zip(sizes, boxes.tolist(), strict=True)) == plain_components(
            values, threshold
        )


def test_components_of_an_activation_map_equal_scipys() -> None:
    small = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    values = localization.normalised(F.interpolate(small, (60, 60), mode="bicubic")[0]).double().numpy()[0]
    found = components(values, localization.SWEPT)
    for i in range(0, 1000, 90):
        both = [(int(n), *b) for n, b in zip(found[i][0], found[i][1].tolist(), strict=True)]
        assert sorted(both) == plain_components(values, localization.SWEPT[i])


@st.composite
def boxes(draw: st.DrawFn, side: int = 20) -> np.ndarray:
    x, y = (sorted(draw(st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True))) for _ in range(2))
    return np.array([x[0], y[0], x[1], y[1]], np.float64)


@given(boxes(), boxes())
def test_iou_equals_torchvisions_and_is_symmetric(a: np.ndarray, b: np.ndarray) -> None:
    from torchvision.ops import box_iou

    found = localization.iou(a[None], b)[0]
    assert found == pytest.approx(float(box_iou(torch.from_numpy(a)[None], torch.from_numpy(b)[None])))
    assert found == localization.iou(b[None], a)[0] and 0 <= found <= 1
    assert localization.iou(a[None], a)[0] == 1


def test_iou_of_disjoint_and_empty_boxes_is_0() -> None:
    # two negative extents must not multiply to an area
    assert localization.iou(np.array([[0.0, 0, 2, 2], [0, 0, 0, 0]]), np.array([5.0, 5, 9, 9])).tolist() == [0, 0]
    assert localization.iou(np.zeros((1, 4)), np.zeros(4)).tolist() == [0]


@given(boxes())
def test_a_map_that_is_1_inside_the_box_overlaps_fully_at_every_threshold(box: np.ndarray) -> None:
    values = np.zeros((20, 20))
    x0, y0, x1, y1 = box.astype(int)
    values[y0:y1, x0:x1] = 1
    largest, best = localization.overlaps(values, torch.from_numpy(box), localization.SWEPT)
    assert (largest == 1).all() and (best == 1).all()


@given(boxes(), st.integers(0, 1000))
def test_a_box_over_the_whole_image_overlaps_by_its_share_and_zeros_by_nothing(box: np.ndarray, seed: int) -> None:
    share = (box[2] - box[0]) * (box[3] - box[1]) / 400
    values = np.full((20, 20), 0.5)
    assert localization.overlaps(values, torch.from_numpy(box), np.array([0.2]))[0][0] == pytest.approx(share)
    assert localization.overlaps(0 * values, torch.from_numpy(box), np.array([0.0, 0.2]))[0].tolist() == [0, 0]


@given(st.integers(0, 10_000), st.floats(0.25, 64), st.floats(-8, 8))
def test_scale_and_offset_of_a_map_change_nothing(seed: int, scale: float, offset: float) -> None:
    maps = torch.rand(2, 12, 12, generator=torch.Generator().manual_seed(seed)).double()
    one, other = localization.normalised(maps), localization.normalised(maps * scale + offset)
    assert torch.allclose(one, other, atol=1e-9) and one.amin((1, 2)).tolist() == [0, 0]
    assert one.amax((1, 2)).tolist() == [1, 1]


@given(st.integers(0, 10_000))
def test_raising_the_threshold_never_enlarges_a_component(seed: int) -> None:
    values = np.random.default_rng(seed).random((12, 12))
    below: list[tuple[int, np.ndarray]] | None = None
    for sizes, found in components(values, np.arange(20) / 20):
        now = list(zip(sizes.tolist(), found, strict=True))
        for n, box in now if below is not None else []:
            around = [m for m, b in below or [] if (b[:2] <= box[:2]).all() and (b[2:] >= box[2:]).all()]
            assert around and max(around) >= n
        below = now


def test_maps_without_differences_or_numbers_are_zeros() -> None:
    maps = torch.stack([torch.full((3, 3), 2.0), torch.full((3, 3), torch.nan), torch.eye(3) * torch.inf, torch.eye(3)])
    found = localization.normalised(maps)
    assert not found[:3].any() and torch.equal(found[3], torch.eye(3))


class Bright(nn.Module):
    """Maps are the channels of the image, halved in size; the linear layer reads red for class 0, green for 1."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.AvgPool2d(2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(3, 2, bias=False)
        self.last.weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(self.maps(x)).flatten(1))


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> Located:
    """A dataset of 24 black images of 16 px with a rectangle, its box, in the colour of its class; one in four has a
    larger rectangle in the other colour."""
    x, boxes = torch.zeros(24, 16, 16, 3, dtype=torch.uint8), []
    for i in range(24):
        left, top, right, bottom = 2 * (i % 3), 4, 2 * (i % 3) + 6, 10 + 2 * (i % 2)
        x[i, top:bottom, left:right, i % 2] = 200
        if i % 4 == 3:
            x[i, 0:4, :, 1 - i % 2] = 255
        boxes.append([left, top, right, bottom])
    found = Located(Images(x, torch.arange(24) % 2, torch.arange(24)), torch.tensor(boxes).float())
    entry = replace(data.DATASETS["digits"], load=lambda *_: found.images, located=lambda *_: found)
    monkeypatch.setitem(data.DATASETS, "some", entry)
    return found


def context(net: nn.Module, located: Located, batch_size: int = 7) -> Context:
    return Context(
        net=net,
        images=located.images,
        dataset="some",
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )


def evaluate(net: nn.Module, located: Located, batch_size: int = 7) -> dict[str, ConditionResult]:
    suite = Localization()
    return dict(suite.run(context(net, located, batch_size), suite.conditions()))


def test_known_and_named_objects(squares: Located) -> None:
    found = evaluate(Bright(), squares)
    right = torch.arange(24) % 4 != 3
    assert torch.equal(found["localization-class"].bits, right)
    assert found["localization-known"].bits.all() and torch.equal(found["localization-top1"].bits, right)
    overlaps = localization.unpack(found["localization-known"].values["iou"])
    assert (overlaps >= 0.5).all() and (overlaps <= 1).all()
    for kind in localization.IOU:
        one = found[f"localization-{kind}"]
        assert len(one.bits) == 20 == len(one.values["index"]) and one.values["held_out"] == 4
    assert found["localization-v2-30"].bits.sum() >= found["localization-v2-70"].bits.sum()
    again = evaluate(Bright(), squares, batch_size=1)
    assert all(torch.equal(one.bits, again[c].bits) for c, one in found.items())


def test_the_threshold_is_the_best_on_the_images_held_out(squares: Located) -> None:
    found = evaluate(Bright(), squares)
    scored = set(found["localization-max50"].values["index"])
    held = torch.tensor([i for i in range(24) if i not in scored])
    _, maps = Localization().maps(context(Bright(), squares), squares)
    for kind in localization.IOU:
        values = found[f"localization-{kind}"].values
        right = {}
        for threshold in [*localization.SWEPT[::50], values["threshold"]]:
            one = localization.sweep(maps, squares, held, np.array([threshold]))[int(kind.startswith("v2"))]
            right[threshold] = int((one >= localization.IOU[kind]).sum())
        assert values["held_out_right"] == max(right.values()) == right[values["threshold"]]
        assert all(n < max(right.values()) for threshold, n in right.items() if threshold < values["threshold"])


def test_activation_maps_are_the_weighted_maps_of_the_true_class() -> None:
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=5).eval()
    images = Images(torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8), torch.tensor([4, 0, 2]), torch.arange(3))
    located = Located(images, torch.zeros(3, 4))
    right, maps = Localization().maps(context(net, located), located)
    x = images.x.permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        last = nn.Sequential(*list(net.children())[:-2])(x)
        for i, label in enumerate(images.y.tolist()):
            wanted = sum(w * channel for w, channel in zip(net.fc.weight[label], last[i], strict=True))
            assert maps[i].shape == (2, 2) and torch.allclose(maps[i], wanted, atol=1e-4)
        assert torch.equal(right, net(x).argmax(1) == images.y)


@pytest.mark.parametrize("name", ["preactresnet10", "resnet18", "densenet121", "mobilenetv2"])
def test_the_maps_of_every_network_that_pools_them_are_found(name: str) -> None:
    from catchup_bench.models import MODELS

    torch.manual_seed(0)
    entry = MODELS[name]
    net = entry.build(num_classes=4, width=8, variant=entry.variants[-1]).eval()
    x = torch.rand(2, 3, 64, 64)
    head = heads.linear_head(net, x)
    assert head is net.head.linear
    with torch.inference_mode():
        maps, _ = heads.output_and_logits(net, heads.pooled_maps(net, head, x), x)
        assert maps.shape[2] > 1 and torch.allclose(maps.mean((2, 3)), net.head.features(net(x, stop=len(net.stages))))


def hidden_layers() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 8), nn.ReLU(), nn.Linear(8, 2))


def normalised_after_pooling() -> nn.Module:
    """As ConvNeXt ends: no map of several places is what the linear layer reads."""
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.GroupNorm(1, 4))
    return nn.Sequential(pooled, nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("make", [hidden_layers, normalised_after_pooling])
def test_a_network_that_does_not_pool_is_refused(squares: Located, make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    with pytest.raises(UsageError, match="does not average its last maps"):
        evaluate(make(), squares)


def test_a_dataset_without_boxes_is_refused_before_anything_is_written(cli: Cli, trained_run: Path) -> None:
    import os

    before = sorted(os.listdir(trained_run))
    result = cli("evaluate", trained_run, "--suite", "localization")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert "localization needs boxes, which digits has not: evaluate it on one of: cub" in result.stderr
    assert sorted(os.listdir(trained_run)) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(iou=localization.pack(np.zeros(24))), "0 of its overlaps reach 0.5, its bits say 24"),
        (lambda v: v.update(iou="A"), "damaged"),
        (lambda v: v.pop("iou"), "damaged"),
    ],
)
def test_overlaps_that_contradict_the_bits_are_found(
    squares: Located, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    found = evaluate(Bright(), squares)["localization-known"]
    protocol = as_json(Localization().protocol("localization-known"))
    outcome = Outcome.of(found.bits.numpy(), "localization", protocol, found.values)
    assert Localization.contradictions(outcome) == []
    change(outcome.values)
    assert re.search(words, "; ".join(Localization.contradictions(outcome)))


def test_another_threshold_is_another_condition() -> None:
    suite = Localization(threshold=0.25)
    assert suite.conditions()[:2] == ["localization-known-t0.25", "localization-top1-t0.25"]
    assert [suite.protocol(c)["kind"] for c in suite.conditions()] == ["known", "top1", "class", *localization.IOU]
    assert Localization(**Localization.options_of([suite.protocol(c) for c in suite.conditions()])) == suite
    small = Localization(threshold=1e-5)
    assert [small.protocol(c)["kind"] for c in small.conditions()][:2] == ["known", "top1"]
    with pytest.raises(ValueError, match=r"threshold = 1\.0 is not allowed"):
        Localization(threshold=1.0)


def test_boxes_follow_the_resizing(tmp_path: Path) -> None:
    item = layouts.Item("a.jpg", layouts.jpeg(0, 112, 56), 0, (1.0, 15.0, 28.0, 14.0))
    beyond = layouts.Item("b.jpg", layouts.jpeg(1, 100, 50), 0, (51.0, 26.0, 60.0, 30.0))
    layouts.cub(tmp_path, ["001.One"], [item], [item, beyond])
    found = data.get("cub").located("test", tmp_path)  # type: ignore[misc]
    assert found.images.x.shape == (2, 224, 224, 3)
    assert found.boxes.tolist() == [[0, 56, 56, 112], [112, 112, 224, 224]]


def evaluated(cli: Cli, folder: Path) -> dict[str, dict[str, Any]]:
    """A small network, trained for an epoch on the birds in ``folder``, and what the suite says of it."""
    words = ("--data-dir", folder, "--device", "cpu")
    trained = cli("train", "--method", "baseline", "--dataset", "cub", "--width", 4, "--epochs", 1, *words)
    assert trained.exit_code == 0, trained.stderr
    (found,) = read(cli("evaluate", "--suite", "localization", *words, "--json")).values()
    assert sorted(found) == sorted(Localization().conditions())
    assert found["localization-top1"]["error"] >= found["localization-known"]["error"]
    assert found["localization-top1"]["error"] >= found["localization-class"]["error"]
    return found


def test_made_up_birds_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    items = [layouts.items(2, 6, 60, 60, seed) for seed in (0, 50)]
    layouts.cub(tmp_path / "data", ["001.One", "002.Two"], *items)
    found = evaluated(cli, tmp_path / "data")
    assert found["localization-known"]["n"] == 12 and found["localization-max50"]["n"] == 10


@pytest.mark.slow
def test_real_boxes_are_around_birds_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    real_data.cub(tmp_path / "data")
    found = evaluated(cli, tmp_path / "data")
    boxes = data.get("cub").located("test", tmp_path / "data").boxes  # type: ignore[misc]
    share = (boxes[:, 2:] - boxes[:, :2]).prod(1) / 224**2
    assert float(share.mean()) == pytest.approx(0.373, abs=0.001)
    # a box over the whole picture is right for 59 % of these at 30 % of overlap
    assert found["localization-v2-30"]["error"] < 50
