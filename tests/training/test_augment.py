"""Crops and colours of a batch against torchvision's, image by image."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench.training import augment


def chances(n: int, rows: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, n, generator=torch.Generator().manual_seed(seed))


def pictures(n: int, size: int) -> Tensor:
    gen = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, size, size, 3), generator=gen, dtype=torch.uint8)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 100))
def test_boxes_lie_in_the_image(height: int, width: int, seed: int) -> None:
    top, left, h, w = augment.resized_boxes(chances(20, augment.CHANCES, seed), height, width)
    assert (top >= 0).all() and (left >= 0).all() and (h >= 1).all() and (w >= 1).all()
    assert (top + h <= height).all() and (left + w <= width).all()


def test_boxes_are_distributed_as_torchvisions() -> None:
    from torchvision.transforms import v2

    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(224)
    image = torch.empty(3, 200, 300)
    theirs = torch.tensor(
        [[p[k] for k in ("top", "left", "height", "width")] for p in (crop.make_params([image]) for _ in range(4000))]
    )
    ours = augment.resized_boxes(chances(4000, augment.CHANCES), 200, 300).T
    for column in range(4):
        a, b = (boxes[:, column].double() for boxes in (theirs, ours))
        assert abs(a.mean() - b.mean()) < 5 * a.std() / 4000**0.5
        assert b.std().item() == pytest.approx(a.std().item(), rel=0.06)


@pytest.mark.parametrize(("height", "width"), [(30, 300), (300, 30), (100, 100)])
def test_where_no_attempt_fits_the_box_is_the_largest_centred_one(height: int, width: int) -> None:
    """Areas of the whole image with the most extreme ratio, which fits in none of these."""
    chance = torch.cat([torch.ones(10, 1), torch.zeros(10, 1), torch.rand(2, 1)])
    box = augment.resized_boxes(chance, height, width)[:, 0].tolist()
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    assert box == [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resized_boxes_are_torchvisions(interpolation: str) -> None:
    from torchvision.transforms import v2

    x = pictures(40, 32)
    boxes = augment.resized_boxes(chances(40, augment.CHANCES), 32, 32)
    ours = augment.resize_boxes(x, boxes, interpolation)
    for i, box in enumerate(boxes.T.tolist()):
        image = x[i].permute(2, 0, 1).double()
        mode = v2.InterpolationMode(interpolation)
        theirs = v2.functional.resized_crop(image, *box, [32, 32], mode, antialias=True)  # type: ignore[arg-type]
        assert (ours[i].permute(2, 0, 1) - theirs.clamp(0, 255)).abs().max() < 0.51


def test_the_whole_image_resized_is_itself() -> None:
    x = pictures(3, 16)
    boxes = torch.tensor([[0] * 3, [0] * 3, [16] * 3, [16] * 3])
    assert torch.equal(augment.resize_boxes(x, boxes, "bicubic"), x)


def jittered(image: Tensor, factors: list[float], order: tuple[int, ...]) -> Tensor:
    """Brightness, contrast and saturation by the definition: mixed with black, with the mean grey, with the grey."""
    for which in order:
        grey = (image * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]).sum(0)
        other = (torch.zeros_like(grey), torch.full_like(grey, grey.mean().item()), grey)[which]
        image = torch.stack([other + factors[which] * (channel - other) for channel in image])
    return image


def test_color_jitter_mixes_with_black_and_grey_in_some_order_and_clamps_nothing() -> None:
    x = pictures(24, 8).permute(0, 3, 1, 2).float() / 255
    chance = chances(24, 4)
    ours = augment.color_jitter(x, chance, 0.4)
    for i in range(24):
        factors = [float(0.6 + 0.8 * chance[k, i]) for k in range(3)]
        theirs = jittered(x[i].double(), factors, augment.ORDERS[int(chance[3, i] * 6)])
        assert torch.allclose(ours[i].double(), theirs, atol=1e-5)
    assert len({int(c * 6) for c in chance[3]}) == 6
    assert ours.min() < -0.05 and ours.max() > 1.2, "as in the released code of CutMix, which clamps nothing"


def test_color_jitter_without_its_clamp_is_torchvisions() -> None:
    """Of pictures whose colours stay inside [0,1], up to torchvision's rounded weight of red."""
    from torchvision.transforms.v2 import functional as V

    x = 0.4 + 0.2 * pictures(24, 8).permute(0, 3, 1, 2).float() / 255
    chance = chances(24, 4)
    ours = augment.color_jitter(x, chance, 0.4)
    steps = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation)
    for i in range(24):
        theirs = x[i]
        for which in augment.ORDERS[int(chance[3, i] * 6)]:
            theirs = steps[which](theirs, float(1 + 0.4 * (2 * chance[which, i] - 1)))
        assert torch.allclose(ours[i], theirs, atol=2e-4)


def test_lighting_moves_along_the_components_and_clamps_nothing() -> None:
    x = torch.stack([torch.full((3, 4, 4), 0.5), torch.ones(3, 4, 4)])
    normal = torch.tensor([[1.0, 0.0], [0.0, -2.0], [0.0, 0.0]])
    moved = augment.lighting(x, normal, 0.1) - x
    first, second = (torch.tensor([row[k] for row in augment.COMPONENTS]) for k in (0, 1))
    assert torch.allclose(moved[0, :, 0, 0], 0.1 * 0.2175 * first, atol=1e-6)
    assert torch.allclose(moved[1, :, 2, 3], -0.2 * 0.0188 * second, atol=1e-6)
    assert moved[1].max() > 0, "above white"


@given(st.integers(2, 9), st.data())
def test_mirrored_padding_is_torchs(size: int, data: st.DataObject) -> None:
    pad = data.draw(st.integers(0, size - 1))
    x = pictures(2, size)
    theirs = F.pad(x.permute(0, 3, 1, 2).float(), (pad,) * 4, mode="reflect")
    assert torch.equal(augment.padded(x, pad, "reflect").permute(0, 3, 1, 2).float(), theirs)
