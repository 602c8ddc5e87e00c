"""Curvature against exact Hessians of tiny networks, and planes against losses computed one by one."""

import importlib
import re
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
from catchup_bench.data import Dataset, Images
from catchup_bench.errors import RunFailed, UsageError
from catchup_bench.evaluation.evaluate import evaluation_mode
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.suites import ConditionResult, Context, Suite, suite_class
from catchup_bench.verification.method import make_net

from ..conftest import Cli

Landscape = suite_class("landscape")
landscape = importlib.import_module("catchup_bench.suites.landscape")
curvature = importlib.import_module("catchup_bench.suites._curvature")
training = importlib.import_module("catchup_bench.suites._fixed_images")
CPU = torch.device("cpu")
SMALL: Suite = Landscape(images=24, points=5, probes=8)


def some_images(n: int = 40, size: int = 8, classes: int = 10, seed: int = 0) -> Images:
    gen = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, size, size, 3), generator=gen, dtype=torch.uint8)
    return Images(x, torch.arange(n) % classes, torch.arange(n))


def tiny_net() -> nn.Module:
    """Convolution, BatchNorm with running statistics, ReLU and a linear layer: 193 parameters."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 4),
    )
    net(torch.rand(64, 3, 8, 8))
    return net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def surface(net: nn.Module, images: Images, batch_size: int = 7) -> Any:
    return curvature.Surface(net, images, batch_size, CPU)


def exact(net: nn.Module, images: Images) -> Tensor:
    """The Hessian by its definition, in float64, over the parameters in the order of ``Surface``."""
    double = {k: v.double() for k, v in net.state_dict().items()}
    x = images.x.permute(0, 3, 1, 2).double() / 255
    flat = torch.cat([double[name].permute(order).reshape(-1) for name, order in places(net)])

    def loss(v: Tensor) -> Tensor:
        at, mine = 0, dict(double)
        for name, order in places(net):
            shape = double[name].permute(order).shape
            back = [order.index(d) for d in range(len(order))]
            mine[name] = v[at : at + shape.numel()].view(shape).permute(back)
            at += shape.numel()
        return F.cross_entropy(torch.func.functional_call(net.double(), mine, (x,)), images.y)

    found = torch.autograd.functional.hessian(loss, flat)
    net.float()
    return found  # type: ignore[return-value]


def places(net: nn.Module) -> list[tuple[str, list[int]]]:
    """Parameters, and in which order their dimensions lie in memory: (0, 2, 3, 1) for channels_last."""
    return [(name, [0, 2, 3, 1] if p.ndim == 4 else list(range(p.ndim))) for name, p in net.named_parameters()]


def test_eigenvalues_and_trace_equal_those_of_the_exact_hessian() -> None:
    net, images = tiny_net(), some_images(classes=4)
    hessian = exact(net, images)
    values, vectors = torch.linalg.eigh(hessian)
    one = surface(net, images)
    top = curvature.spectrum(one, one.gradient())
    assert top.values == pytest.approx(values.flip(0)[:2].tolist(), rel=1e-4)
    for ours, theirs in zip(top.vectors, vectors.flip(1).T[:2], strict=True):
        assert abs(float(ours.double() @ theirs)) == pytest.approx(1, abs=1e-4)
        assert float(ours.norm()) == pytest.approx(1, abs=1e-6) and float(one.gradient() @ ours) >= 0
    assert abs(float(top.vectors[0] @ top.vectors[1])) < 1e-3
    assert max(top.residuals) < 1e-3 * top.values[0]
    found, error = curvature.trace(one, 200)
    assert abs(found - float(hessian.trace())) < 4 * error and 0 < error < 0.2 * found


def test_products_equal_the_exact_hessians_and_do_not_depend_on_the_batch_size() -> None:
    net, images = tiny_net(), some_images(classes=4)
    hessian = exact(net, images)
    vector = torch.randn(len(hessian), generator=torch.Generator().manual_seed(1))
    for one in (surface(net, images, b) for b in (1, 7, 40)):
        for factor in (1, -2):  # the second product of a single batch finds its graph ready
            found = one.product(factor * vector).double()
            assert torch.allclose(found, hessian @ (factor * vector.double()), rtol=1e-4, atol=1e-5)


class Quadratic:
    """½ θᵀAθ + bθ in the place of a network's loss."""

    def __init__(self, matrix: Tensor, slope: Tensor) -> None:
        self.matrix, self.slope, self.origin = matrix, slope, torch.zeros(len(matrix))

    def product(self, vector: Tensor) -> Tensor:
        return self.matrix @ vector

    def value(self, flat: Tensor) -> Tensor:
        return (flat @ self.matrix @ flat / 2 + self.slope @ flat).double()

    plane = curvature.Surface.plane


def quadratic(eigenvalues: list[float], seed: int = 0) -> Quadratic:
    gen = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=gen)).Q
    return Quadratic(basis @ torch.diag(torch.tensor(eigenvalues)) @ basis.T, torch.zeros(len(eigenvalues)))


@given(st.lists(st.floats(-10, 10), min_size=8, max_size=40), st.integers(0, 1000))
def test_the_top_is_the_largest_and_not_the_largest_in_magnitude(rest: list[float], seed: int) -> None:
    one = quadratic([14.0, 12.0, -30.0, *rest], seed)
    top = curvature.spectrum(one, torch.ones(len(one.origin)))
    assert top.values == pytest.approx((14, 12), rel=1e-4)
    found, error = curvature.trace(one, 50)
    assert abs(found - (sum(rest) - 4)) <= 4.5 * error + 1e-3


def test_the_plane_of_a_quadratic_is_symmetric_and_its_radius_known() -> None:
    one = quadratic([8.0, 2.0, *[0.5] * 10])
    top = curvature.spectrum(one, torch.zeros(12))
    grid = one.plane(*top.vectors, landscape.steps(41, 0.5)).numpy()
    a = np.linspace(-0.5, 0.5, 41)
    assert np.allclose(grid, 4 * a[:, None] ** 2 + a**2, atol=1e-5)
    assert np.allclose(grid, grid[::-1], atol=1e-6) and np.allclose(grid, grid[:, ::-1], atol=1e-6)
    found = landscape.described(grid.astype(np.float32) + np.float32(0.36), 0.5)
    assert found["doubling_radius"] == pytest.approx(0.3, abs=1e-3)
    assert found["sharpness"] == pytest.approx(1.25, abs=1e-5) and found["centre"] == pytest.approx(0.36)
    assert landscape.described(grid.astype(np.float32) + 9, 0.5)["doubling_radius"] is None


def test_signs_of_vectors() -> None:
    up, zero = torch.tensor([0.0, -1.0]), torch.zeros(2)
    assert curvature.upwards(up, torch.tensor([0.0, 2.0])).tolist() == [0, 1]
    assert curvature.upwards(up, torch.tensor([0.0, -2.0])).tolist() == [0, -1]
    assert curvature.upwards(up, zero).tolist() == [0, 1]


def test_a_hessian_of_zeros_or_without_numbers_is_said() -> None:
    with pytest.raises(RunFailed, match="no eigenvectors"):
        curvature.spectrum(Quadratic(torch.zeros(9, 9), torch.zeros(9)), torch.zeros(9))
    with pytest.raises(RunFailed, match="not finite"):
        curvature.spectrum(Quadratic(torch.full((9, 9), torch.nan), torch.zeros(9)), torch.zeros(9))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Images:
    """A dataset called ``some``, whose training images are returned."""
    train = some_images(60, 16, seed=2)
    entry = Dataset(
        load=lambda split, _: train, num_classes=10, size=16, mean=(0, 0, 0), std=(1, 1, 1), recipe="digits",
        model="preactresnet10", width=8, about="made up",
    )  # fmt: skip
    monkeypatch.setitem(data.DATASETS, "some", entry)
    return train


def context(net: nn.Module, batch_size: int = 16) -> Context:
    return Context(
        net=net,
        images=some_images(size=16),
        dataset="some",
        mean=(0, 0, 0),
        device=CPU,
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )


def ready_net() -> nn.Module:
    net = make_net()
    net(torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    return net.eval()


def evaluate(net: nn.Module, suite: Suite = SMALL) -> dict[str, ConditionResult]:
    with evaluation_mode(net):
        return dict(suite.run(context(net), suite.conditions()))  # type: ignore[arg-type]


def test_planes_hold_the_loss_of_the_network_and_leave_it_alone(there: Images) -> None:
    net = ready_net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found = evaluate(net)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    learned = training.training_images(context(net), 24, "landscape.images")
    with torch.inference_mode():
        x = learned.x.permute(0, 3, 1, 2).float() / 255
        parts = [(x[:16], learned.y[:16]), (x[16:], learned.y[16:])]
        losses = [F.cross_entropy(net(x), y, reduction="none").double().sum() / 24 for x, y in parts]
    plain = float(torch.stack(losses).sum().float())
    for kind in ("eigen", "random"):
        values = found[f"landscape-{kind}-n24-p5"].values
        assert values["centre"] == plain  # to the last bit of float32
        grid = landscape.unpack(values["grid"]).reshape(5, 5)
        assert grid[2, 2] == plain and values["sharpness"] == float(grid.max()) - plain
    eigen = found["landscape-eigen-n24-p5"].values
    assert eigen["eigenvalues"][0] >= eigen["eigenvalues"][1] and eigen["gradient_norm"] > 0
    clean = dict(suite_class("clean")().run(context(net), ["clean"]))["clean"]
    assert all(torch.equal(one.bits, clean) for one in found.values())
    with torch.inference_mode():
        right, y = net(some_images(size=16).x.permute(0, 3, 1, 2).float() / 255), some_images().y
    assert landscape.unpack(eigen["test_curve"])[2] == pytest.approx(float(F.cross_entropy(right, y)), rel=1e-5)


def test_random_directions_have_the_norms_of_the_filters() -> None:
    net = tiny_net()
    one = surface(net, some_images(classes=4))
    first, again, second = (curvature.random_direction(one, number) for number in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, second)
    for (name, found), own in zip(one.parameters(first).items(), one.parameters(one.origin).values(), strict=True):
        assert own.shape == found.shape and torch.equal(own, dict(net.named_parameters())[name])
        if own.ndim == 1:
            assert not found.any()
        else:
            assert torch.allclose(found.flatten(1).norm(dim=1), own.flatten(1).norm(dim=1), rtol=1e-5)


def test_a_random_plane_does_not_change_with_the_scale_that_a_normalisation_takes_away() -> None:
    net, images = tiny_net(), some_images(classes=4)
    planes, tops = [], []
    for factor in (1.0, 4.0):
        with torch.no_grad():
            net[0].weight *= factor  # type: ignore[index, operator]
            net[1].running_mean *= factor  # type: ignore[index, operator]
            net[1].running_var *= factor**2  # type: ignore[index, operator]
            net[1].eps *= factor**2  # type: ignore[index, operator]
        one = surface(net, images)
        planes.append(one.plane(*(curvature.random_direction(one, n) for n in range(2)), landscape.steps(5, 1.0)))
        tops.append(curvature.spectrum(one, one.gradient()).values[0])
    assert torch.allclose(planes[0], planes[1], rtol=1e-4)
    assert abs(tops[1] / tops[0] - 1) > 0.01


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 100))
def test_training_images_are_fixed_and_classes_have_equal_shares(count: int, classes: int, seed: int) -> None:
    y = torch.randint(classes, (30,), generator=torch.Generator().manual_seed(seed))
    rows = training.stratified(y, torch.arange(30), count, "some")
    assert len(rows) == count == len(rows.unique()) and torch.equal(rows, rows.sort().values)
    taken, there = (torch.bincount(labels, minlength=classes) for labels in (y[rows], y))
    most = int(taken.max())
    assert ((taken >= most - 1) | (taken == there)).all()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    again = training.stratified(y[order], order, count, "some")
    assert sorted(order[again].tolist()) == rows.tolist()


def test_more_images_than_there_are_are_refused(there: Images) -> None:
    with pytest.raises(UsageError, match=r"landscape.images = 61: some has 60 training images"):
        evaluate(ready_net(), Landscape(images=61))


@pytest.mark.parametrize("options", [{"images": 0}, {"points": 4}, {"points": 1}, {"probes": 1}])
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is not allowed: it takes"):
        Landscape(**options)


def test_protocols_give_the_suite_again_and_other_options_other_names() -> None:
    assert Landscape(**Landscape.options_of([SMALL.protocol(c) for c in SMALL.conditions()])) == SMALL
    assert not set(SMALL.conditions()) & set(Landscape().conditions())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(sharpness=0.0), "sharpness is stated as 0.0"),
        (lambda v: v.update(centre=None), "centre is stated as None"),
        (lambda v: v.update(doubling_radius=7.0), "doubling_radius is stated as 7.0"),
        (lambda v: v.update(grid="AAAA"), "damaged"),
        (lambda v: v.pop("mean_rise"), "damaged"),
    ],
)
def test_numbers_that_the_grid_does_not_give_are_found(there: Images, change: Any, words: str) -> None:
    condition = SMALL.conditions()[2]
    found = dict(SMALL.run(context(ready_net()), [condition]))[condition]
    assert isinstance(found, ConditionResult)
    outcome = Outcome.of(found.bits.numpy(), "landscape", as_json(SMALL.protocol(condition)), found.values)
    assert Landscape.contradictions(outcome) == []
    change(outcome.values)
    assert re.search(words, "; ".join(Landscape.contradictions(outcome)))


def test_digits_from_the_command_line(cli: Cli) -> None:
    assert cli("train", "--method", "baseline", "--epochs", 1, "--width", 4, "--fraction", 0.25).exit_code == 0
    small = [
        w for key, v in {"images": 20, "points": 3, "probes": 2}.items() for w in ("--set", f"landscape.{key}={v}")
    ]
    shown = cli("evaluate", "--suite", "landscape", *small)
    assert shown.exit_code == 0 and all(name in shown.stdout for name in ("λ₁ of the Hessian", "trace, standard error"))
