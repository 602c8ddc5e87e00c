"""Batches: the same crops and flips as a per-image loop, and an order that depends on seed and epoch alone."""

import pytest
import torch
import torch.nn.functional as F

from catchup_bench.data import Images
from catchup_bench.data.batches import batches, to_unit
from catchup_bench.training import augment
from catchup_bench.training.loader import Loader
from tests.support.waiting import DEVICE, Waits

CPU = torch.device("cpu")


def images(n: int = 23, size: int = 6) -> Images:
    gen = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, size, size, 3), generator=gen, dtype=torch.uint8)
    return Images(x, torch.arange(n), torch.arange(n))


def loader(pad: int = 2, flip: bool = True, drop_last: bool = False, seed: int = 0) -> Loader:
    return Loader(images(), 5, seed=seed, pad=pad, flip=flip, drop_last=drop_last, device=CPU)


def test_equals_cropping_and_flipping_one_by_one() -> None:
    made = loader()
    order, corner, mirrored = made.draw(3)
    x, y = (torch.cat(parts) for parts in zip(*made.epoch(3), strict=True))
    for row, i in enumerate(order.tolist()):
        padded = F.pad(images().x[i].permute(2, 0, 1), (2, 2, 2, 2))
        top, left = corner[:, row].tolist()
        crop = padded[:, top : top + 6, left : left + 6]
        crop = crop.flip(2) if mirrored[row] else crop
        assert torch.equal(x[row], crop.float() / 255)
        assert y[row] == i


def test_every_image_once_and_short_last_batch() -> None:
    sizes = [len(y) for _, y in loader().epoch(0)]
    assert sizes == [5, 5, 5, 5, 3] and len(loader()) == 5
    assert sorted(torch.cat([y for _, y in loader().epoch(0)]).tolist()) == list(range(23))


def test_drop_last() -> None:
    assert [len(y) for _, y in loader(drop_last=True).epoch(0)] == [5] * 4


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def labels(seed: int, epoch: int) -> list[int]:
        return torch.cat([y for _, y in loader(seed=seed).epoch(epoch)]).tolist()

    assert labels(0, 0) == labels(0, 0)
    assert labels(0, 0) != labels(0, 1) != labels(1, 1)


def test_no_crop_no_flip_gives_the_images_themselves() -> None:
    x, y = next(loader(pad=0, flip=False).epoch(0))
    assert torch.equal(x, images().x[y].permute(0, 3, 1, 2).float() / 255)


def test_batches_are_channels_last_in_unit_range() -> None:
    x, _ = next(loader().epoch(0))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.min() >= 0 and x.max() <= 1 and to_unit(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)).max() == 1


def test_crops_and_flips_are_uniform() -> None:
    big = Loader(images(5000, 2), 10, seed=0, pad=1, flip=True, drop_last=False, device=CPU)
    _, corner, mirrored = big.draw(0)
    counts = corner[0].bincount(minlength=3)
    assert (counts - 5000 / 3).abs().max() < 150
    assert abs(mirrored.float().mean() - 0.5) < 0.03


def test_evaluation_batches_keep_the_order() -> None:
    index = torch.cat([i for _, _, i in batches(images(), 4, CPU)])
    assert index.tolist() == list(range(23))


def test_mirrored_padding_is_cut_like_black_padding() -> None:
    made = Loader(images(), 5, seed=0, pad=2, flip=False, drop_last=False, device=CPU, padding="reflect")
    order, corner, _ = made.draw(0)
    x = torch.cat([x for x, _ in made.epoch(0)])
    for row, i in enumerate(order.tolist()):
        padded = F.pad(images().x[i].permute(2, 0, 1)[None].float(), (2, 2, 2, 2), mode="reflect")[0]
        top, left = corner[:, row].tolist()
        assert torch.equal(x[row], padded[:, top : top + 6, left : left + 6] / 255)


def test_resized_crops_depend_on_seed_and_epoch_alone() -> None:
    def pixels(batch_size: int, epoch: int) -> torch.Tensor:
        made = Loader(
            images(), batch_size, seed=0, pad=0, flip=True, drop_last=False, device=CPU, crop="resized",
            interpolation="bicubic", color_jitter=0.4, lighting=0.1,
        )  # fmt: skip
        return torch.cat([x for x, _ in made.epoch(epoch)])

    assert torch.allclose(pixels(5, 0), pixels(23, 0), atol=1e-6)
    assert not torch.allclose(pixels(5, 0), pixels(5, 1), atol=0.1)


@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_no_batch_waits_for_the_device(crop: str) -> None:
    def waits(batch_size: int) -> int:
        made = Loader(
            images(), batch_size, seed=0, pad=1, flip=True, drop_last=False, device=DEVICE, crop=crop, color_jitter=0.4,
            lighting=0.1,
        )  # fmt: skip
        augment.colour_constants(DEVICE)
        with Waits() as seen:
            assert len(list(made.epoch(0))) == len(made)
        return seen.count

    assert waits(23) == waits(2) == 0
