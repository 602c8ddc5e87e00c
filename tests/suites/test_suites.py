"""Suites against independent computations: torchattacks against its formula, deformations against SciPy."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench.data import Images
from catchup_bench.evaluation.evaluate import evaluation_mode
from catchup_bench.seeds import per_image
from catchup_bench.suites import GROUPS, ConditionResult, Context, Suite, correct, suite_class, suite_names
from catchup_bench.verification.method import make_net

deformation = suite_class("deformation")

fgsm = suite_class("fgsm")

clean = suite_class("clean")

CPU = torch.device("cpu")


def some_images(n: int = 40, size: int = 16) -> Images:
    gen = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (n, size, size, 3), generator=gen, dtype=torch.uint8)
    return Images(x, torch.arange(n) % 10, torch.arange(n))


def context(net: nn.Module, images: Images | None = None, batch_size: int = 16) -> Context:
    return Context(
        net=net,
        images=images or some_images(),
        dataset="some",
        mean=(0.1, 0.2, 0.3),
        device=CPU,
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )


@pytest.fixture
def net() -> nn.Module:
    """An untrained network whose BatchNorm has seen the images, so that its outputs differ between them."""
    net = make_net()
    net(torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    return net.eval()


def run(suite: Suite, where: Context) -> dict[str, Tensor]:
    """The bits of every condition."""
    with evaluation_mode(where.net):
        found = dict(suite.run(where, suite.conditions()))
    return {condition: f.bits if isinstance(f, ConditionResult) else f for condition, f in found.items()}


NEEDED = {"ood": {"out": "digits"}, "frequency": {"radius": 2, "images": 20}}
OF_THEIR_OWN = ("autoattack", "dynamics", "landscape", "localization", "shift", "transfer")
"""Slow ones, and those that need boxes or weights of several epochs; they have such a test elsewhere."""


@pytest.mark.parametrize("batch_size", [1, 7, 40])
@pytest.mark.parametrize("name", [n for n in suite_names() if n not in OF_THEIR_OWN])
def test_outcomes_do_not_depend_on_the_batch_size(net: nn.Module, name: str, batch_size: int) -> None:
    suite = suite_class(name)(**NEEDED.get(name, {}))
    whole, again = (run(suite, context(net, batch_size=b)) for b in (13, batch_size))
    assert whole.keys() == set(suite.conditions())
    for condition, bits in whole.items():
        assert bits.dtype == torch.bool and torch.equal(bits, again[condition])


def test_clean_is_top_1(net: nn.Module) -> None:
    bits = dict(clean().run(context(net), ["clean"]))["clean"]
    images = some_images()
    logits = net(images.x.permute(0, 3, 1, 2).float() / 255)
    assert torch.equal(bits, logits.argmax(1) == images.y)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (
            F.one_hot(torch.zeros(len(x), dtype=torch.int64), 10).float() + 0 * x.sum((1, 2, 3), keepdim=False)[:, None]
        )


def test_a_constant_classifier_is_right_for_one_class_in_ten() -> None:
    assert correct(context(Constant())).float().mean() == pytest.approx(0.1)


def attacked(net: nn.Module, eps: float, size: int = 16) -> tuple[Tensor, Tensor]:
    from torchattacks import FGSM

    images = some_images(size=size)
    x = images.x.permute(0, 3, 1, 2).float() / 255
    with evaluation_mode(net):
        return x, FGSM(net, eps=eps)(x, images.y)


def test_fgsm_is_the_formula(net: nn.Module) -> None:
    x, found = attacked(net, 4 / 255)
    x.requires_grad_(True)
    (grad,) = torch.autograd.grad(F.cross_entropy(net(x), some_images().y), x)
    assert torch.equal(found, (x + 4 / 255 * grad.sign()).clamp(0, 1).detach())


def test_fgsm_bits_are_those_of_the_attacked_images(net: nn.Module) -> None:
    _, found = attacked(net, 4 / 255)
    bits = run(fgsm(), context(net))["fgsm-4"]
    assert torch.equal(bits, net(found).argmax(1) == some_images().y)


def test_fgsm_stays_in_the_ball_and_the_range(net: nn.Module) -> None:
    x, found = attacked(net, 8 / 255)
    assert (found - x).abs().max() <= 8 / 255 * (1 + 1e-5) and found.min() >= 0 and found.max() <= 1


def test_fgsm_of_eps_0_is_clean(net: nn.Module) -> None:
    assert torch.equal(run(fgsm(eps=(0.0,)), context(net))["fgsm-0"], run(clean(), context(net))["clean"])


def test_fgsm_does_not_care_where_normalisation_is() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10))
    scale = nn.Conv2d(3, 3, 1, groups=3)
    nn.init.constant_(scale.weight, 4.0)
    nn.init.constant_(scale.bias, -2.0)

    class Inside(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return body((x - 0.5) / 0.25)

    x, inside = attacked(Inside(), 4 / 255)
    _, layer = attacked(nn.Sequential(scale, body), 4 / 255)
    assert (inside != layer).float().mean() < 1e-3  # signs of vanishing gradients may differ
    assert not torch.equal(inside, x)


@pytest.mark.parametrize("eps", [(-1.0,), (256.0,), (), (float("nan"),)])
def test_impossible_eps_are_refused(eps: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="eps"):
        fgsm(eps=eps)


def by_scipy(x: Tensor, matrix: np.ndarray, fill: list[float]) -> Tensor:
    """One image through SciPy's affine transform, as Manifold Mixup's code calls it."""
    from scipy.ndimage import affine_transform

    centre = np.array(x.shape[1:]) / 2 + 0.5
    offset = centre - matrix @ centre
    planes = [
        affine_transform(p.double().numpy(), matrix, offset, order=0, mode="constant", cval=c)
        for p, c in zip(x, fill, strict=True)
    ]
    return torch.from_numpy(np.stack(planes)).float()


@pytest.mark.parametrize("name", [*deformation().conditions()])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_deformations_equal_scipy_on_every_pixel(name: str, size: int) -> None:
    x = some_images(12, size).x.permute(0, 3, 1, 2).float() / 255
    matrices = deformation().matrices(name, "some", range(12))
    fill = [0.1, 0.2, 0.3]
    ours = warp(x, matrices, torch.tensor(fill).view(1, 3, 1, 1))
    theirs = torch.stack([by_scipy(image, m, fill) for image, m in zip(x, matrices, strict=True)])
    assert torch.equal(ours, theirs)


def warp(x: Tensor, matrices: np.ndarray, fill: Tensor) -> Tensor:
    import importlib

    return importlib.import_module("catchup_bench.suites.deformation").warp(x, matrices, fill)


def test_identity_leaves_every_pixel() -> None:
    x = some_images().x.permute(0, 3, 1, 2).float()
    assert torch.equal(warp(x, np.broadcast_to(np.eye(2), (40, 2, 2)), torch.zeros(1, 3, 1, 1)), x)


@pytest.mark.parametrize(("name", "filled"), [("zoom-120", 0.340), ("zoom-140", 0.506), ("zoom-60", 0.0)])
def test_filled_area_of_zooms_at_64_px(name: str, filled: float) -> None:
    out = warp(torch.ones(1, 3, 64, 64), deformation().matrices(name, "some", [0]), torch.zeros(1, 3, 1, 1))
    assert 1 - out.mean().item() == pytest.approx(filled, abs=5e-4)


@pytest.mark.parametrize(("name", "largest"), [("rotation-20", 20), ("rotation-40", 40)])
def test_rotation_angles_are_uniform_in_their_range(name: str, largest: float) -> None:
    angles = np.degrees([math.atan2(m[1, 0], m[0, 0]) for m in deformation().matrices(name, "some", range(3000))])
    assert np.abs(angles).max() <= largest
    assert abs(angles.mean()) < 3 * largest / math.sqrt(3 * 3000)
    assert angles.std() == pytest.approx(largest / math.sqrt(3), rel=0.05)


def test_both_readings_of_zoom_and_both_fills_have_names_of_their_own() -> None:
    ways = [deformation(), deformation(zoom="out"), deformation(fill="black"), deformation(seed=1)]
    assert len({c for way in ways for c in way.conditions()}) == 32
    inward, outward = (d.matrices("zoom-60", "some", [0])[0, 0, 0] for d in (ways[0], ways[1]))
    assert (inward, outward) == (0.6, 1 / 0.6)


def test_black_fill_is_seen_by_the_network() -> None:
    seen: list[Tensor] = []

    class Watches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return torch.zeros(len(x), 10)

    white = Images(
        torch.full((2, 16, 16, 3), 255, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), torch.arange(2)
    )
    for way in (deformation(), deformation(fill="black")):
        list(way.run(context(Watches(), white), [way.conditions()[7]]))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert seen[1][0, :, 0, 0].tolist() == [0, 0, 0]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20, unique=True))
def test_draws_belong_to_the_image(index: list[int]) -> None:
    def draw(wanted: list[int]) -> np.ndarray:
        return per_image(lambda rng, n: rng.uniform(-1, 1, n), wanted, "some", "key", 3)

    assert draw(index).tolist() == [draw([i])[0] for i in index]


def test_draws_never_change() -> None:
    """Recorded outcomes depend on these numbers."""
    found = per_image(lambda rng, n: rng.uniform(-1, 1, n), [0, 1, 500], "deformation-v1", "digits", "rotation-20", 0)
    assert found.tolist() == pytest.approx(DRAWN)


DRAWN = [0.10641890765565942, 0.7435183842929673, 0.2920797500338814]


def test_groups_name_suites_that_exist() -> None:
    assert {member for group in GROUPS.values() for member in group} <= set(suite_names())


def test_evaluation_restores_modes_and_gradients(net: nn.Module) -> None:
    net.train()
    net.stages[0].eval()  # type: ignore[index,union-attr]
    with evaluation_mode(net):
        assert not any(m.training for m in net.modules()) and not any(p.requires_grad for p in net.parameters())
    assert net.training and not net.stages[0].training  # type: ignore[index,union-attr]
    assert all(p.requires_grad for p in net.parameters())
