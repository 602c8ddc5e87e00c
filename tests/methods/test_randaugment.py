"""RandAugment against torchvision's on PIL images, operation by operation and as a whole."""

import importlib
from typing import Any

import pytest
import torch

from tests.support import pillow_ops, torchvision_ops
from tests.support.method_support import Draws, batch, make, module, seeded, small_net

bins = module("_bins")


@pytest.fixture(scope="module")
def transform() -> Any:
    return importlib.import_module("torchvision.transforms.v2").RandAugment()


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (20, 27), (64, 64)])
@pytest.mark.parametrize("step", [0, 9, 17, 30])
def test_every_operation_is_torchvisions(step: int, size: tuple[int, int], transform: Any) -> None:
    u = pillow_ops.pictures(*size)
    n, strongest = len(u), bins.Strongest(0.3, 150 / 331 * size[1], 150 / 331 * size[0], 30.0, 0.9, 4)
    for kind in range(-1, 13):
        for negative in (False, True):
            expected = torch.stack([torchvision_ops.apply(transform, v, kind, step, negative) for v in u])
            kinds, steps = torch.full((n,), kind), torch.full((n,), step)
            out = bins.apply_at(u, kinds, steps, torch.full((n,), negative), strongest)
            assert torch.equal(out, expected), (kind, negative)


@pytest.mark.parametrize("size", [32, 16])
def test_images_are_torchvisions_one_by_one(size: int, transform: Any) -> None:
    x = batch(80, size)[0]
    out, draws = make("randaugment").augment(x, seeded(3)), Draws(3)
    choices = [((draws.uniform(80) * 14 - 1).floor().int(), draws.uniform(80) <= 0.5) for _ in range(2)]
    for i, image in enumerate((x * 255).round().byte()):
        for kind, negative in choices:
            image = torchvision_ops.apply(transform, image, int(kind[i]), 9, bool(negative[i]))
        assert torch.equal(out[i], torchvision_ops.unit(image)), i


def test_loss_is_the_cross_entropy_of_the_changed_images() -> None:
    x, y = batch()
    method = make("randaugment")
    expected = torch.nn.functional.cross_entropy(small_net()(method.augment(x, seeded(1))), y)
    assert torch.equal(method.loss(small_net(), x, y, None, seeded(1)), expected)
