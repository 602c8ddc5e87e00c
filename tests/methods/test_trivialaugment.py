"""TrivialAugment against torchvision's on PIL images, operation by operation and as a whole."""

import importlib

import pytest
import torch

from tests.support import pillow_ops, torchvision_ops
from tests.support.method_support import Draws, batch, make, module, seeded, small_net

bins = module("_bins")


@pytest.fixture(scope="module")
def wide() -> object:
    return importlib.import_module("torchvision.transforms.v2").TrivialAugmentWide()


@pytest.mark.parametrize("kind", range(-1, 13))
@pytest.mark.parametrize("size", [(32, 32), (16, 16), (20, 27)])
def test_every_operation_at_every_strength_is_torchvisions(kind: int, size: tuple[int, int], wide: object) -> None:
    u = pillow_ops.pictures(*size)
    n, strongest = len(u), bins.Strongest(0.99, 32.0, 32.0, 135.0, 0.99, 6)
    for step in range(31):
        for negative in (False, True):
            expected = torch.stack([torchvision_ops.apply(wide, v, kind, step, negative) for v in u])
            kinds, steps = torch.full((n,), kind), torch.full((n,), step)
            out = bins.apply_at(u, kinds, steps, torch.full((n,), negative), strongest)
            assert torch.equal(out, expected), (step, negative)


def test_images_are_torchvisions_one_by_one(wide: object) -> None:
    x = batch(120, 32)[0]
    out, draws = make("trivialaugment").augment(x, seeded(3)), Draws(3)
    kind, step, coin = draws.uniform(120) * 14 - 1, draws.uniform(120) * 31, draws.uniform(120)
    for i, image in enumerate((x * 255).round().byte()):
        k = int(kind[i].floor())
        expected = torchvision_ops.apply(wide, image, k, int(step[i]), bool(coin[i] <= 0.5))
        assert torch.equal(out[i], torchvision_ops.unit(expected)), i


def test_loss_is_the_cross_entropy_of_the_changed_images() -> None:
    x, y = batch()
    method = make("trivialaugment")
    expected = torch.nn.functional.cross_entropy(small_net()(method.augment(x, seeded(1))), y)
    assert torch.equal(method.loss(small_net(), x, y, None, seeded(1)), expected)


def test_it_says_which_corruptions_it_trains_relatives_of() -> None:
    assert {"brightness", "contrast", "saturate"} <= set(make("trivialaugment").trained_on)
