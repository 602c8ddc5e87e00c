"""Training from files: the same batches whatever the number of workers, and resumed to the same bits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from catchup_bench import data
from catchup_bench.data import Files
from catchup_bench.errors import Busy, UsageError
from catchup_bench.runs.folder import RunFolder, open_run
from catchup_bench.runs.make import make_run
from catchup_bench.system.hardware import decoding_workers
from catchup_bench.training import augment
from catchup_bench.training.loader import Loader
from catchup_bench.training.loop import make_loader, train
from catchup_bench.training.state import write_metrics
from catchup_bench.training.stream import StreamingLoader, cut
from tests.support import layouts, real_data
from tests.training.test_loop import Stop, StopsAfter, losses

CPU = torch.device("cpu")

WIDTH = 16  # torch 2.15 corrupts its heap in the backward pass of narrower channels_last convolutions of large images

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CATCHUP_BENCH_WORKERS", "0")


@pytest.fixture
def pets(tmp_path: Path) -> str:
    part = layouts.items(2, 5, 290, 270)
    return f"folder:{layouts.folders(tmp_path / 'pets', ['cat', 'dog'], train=part, val=part[::2])}"


def files(name: str) -> Files:
    found = data.load(name, "train")
    assert isinstance(found, Files)
    return found


def loader(name: str, **options: Any) -> StreamingLoader:
    chosen = {"seed": 0, "pad": 0, "flip": True, "drop_last": False, "device": CPU, "crop": "window", **options}
    return StreamingLoader(files(name), 4, **chosen)


@pytest.mark.parametrize("crop", ["window", "resized"])
def test_any_number_of_workers_gives_the_same_bytes(pets: str, crop: str) -> None:
    colours = {"color_jitter": 0.4, "lighting": 0.1}
    one, two = (loader(pets, crop=crop, workers=n, **colours) for n in (0, 2))
    for epoch in (0, 3):
        for (x, y), (u, v) in zip(one.epoch(epoch), two.epoch(epoch), strict=True):
            assert torch.equal(x, u) and torch.equal(y, v)
            assert x.shape[1:] == (3, 224, 224) and x.is_contiguous(memory_format=torch.channels_last)


def test_batches_are_the_crops_that_were_drawn(pets: str) -> None:
    made, listed = loader(pets), files(pets)
    order, place, mirrored = made.draw(2)
    assert mirrored.any() and not mirrored.all()
    x, y = (torch.cat(parts) for parts in zip(*made.epoch(2), strict=True))
    for row, i in enumerate(order.tolist()):
        picture = Image.open(listed.path(i))
        scale = 256 / min(picture.size)
        picture = picture.resize((int(picture.width * scale), int(picture.height * scale)), Image.Resampling.BILINEAR)
        top = int(place[0, row] * (picture.height - 223))
        left = int(place[1, row] * (picture.width - 223))
        crop = np.asarray(picture.crop((left, top, left + 224, top + 224)))
        crop = crop[:, ::-1] if mirrored[row] else crop
        assert torch.equal(x[row], torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255)
        assert y[row] == listed.y[i]


def test_a_resized_crop_is_torchvisions_of_the_same_box(pets: str) -> None:
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    path = files(pets).path(1)
    place = torch.rand(augment.CHANCES, generator=torch.Generator().manual_seed(5))
    picture = Image.open(path)
    box = augment.resized_boxes(place[:, None], picture.height, picture.width)[:, 0].tolist()
    theirs = F.resized_crop(picture, *box, [224, 224], InterpolationMode.BICUBIC)
    assert np.array_equal(cut(str(path), place, False, 224, "resized", "bicubic").numpy(), np.asarray(theirs))


def test_order_and_flips_are_those_of_images_in_memory(pets: str) -> None:
    """Both kinds of loader share their draws, so the same seed shows files in the order of resident images."""
    images = data.load(pets, "test").take(torch.arange(2).repeat(5))
    resident = Loader(images, 4, seed=0, pad=0, flip=True, drop_last=False, device=CPU, crop="resized")
    ours = loader(pets, crop="resized")
    for a, b in zip(resident.draw(1), ours.draw(1), strict=True):
        assert torch.equal(a, b)
    assert (len(ours), len(ours.images), len(ours.y)) == (3, 10, 10)
    assert len(loader(pets, drop_last=True)) == 2


def test_an_abandoned_epoch_does_not_leak_into_the_next(pets: str) -> None:
    used, fresh = loader(pets, workers=1), loader(pets)
    next(used.epoch(0))
    for (x, _), (u, _) in zip(used.epoch(1), fresh.epoch(1), strict=True):
        assert torch.equal(x, u)


def test_a_fraction_of_the_files_is_streamed(pets: str) -> None:
    run = make_run("baseline", pets, model="preactresnet10", width=WIDTH, fraction=0.4)
    part = data.load(pets, "train", fraction=0.4)
    made = make_loader(run, part, CPU)
    assert isinstance(made, StreamingLoader)
    assert sorted(torch.cat([y for _, y in made.epoch(0)]).tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_training_on_files_is_resumed_to_the_same_bytes(
    pets: str, tmp_path: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_WORKERS", workers)
    over = {"epochs": 2, "batch_size": 4, "color_jitter": 0.4}
    run = make_run("cutmix", pets, model="preactresnet10", width=WIDTH, overrides=over)
    whole = train(run, tmp_path / "whole", device=CPU)
    with pytest.raises(Stop):
        train(run, tmp_path / "cut", device=CPU, progress=StopsAfter(1), checkpoint_every=0)
    again = train(run, tmp_path / "cut", device=CPU)
    assert (again / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert losses(again) == losses(whole)


@pytest.mark.parametrize("count", [0, 1])
def test_a_damaged_file_is_one_line(pets: str, count: int) -> None:
    path = files(pets).path(3)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UsageError, match=rf"^cannot read the image {path}: image file is truncated[^\n]*$"):
        list(loader(pets, workers=count).epoch(0))


def test_a_damaged_file_leaves_no_run_behind_but_never_a_finished_epoch(pets: str, tmp_path: Path) -> None:
    over = {"epochs": 2, "batch_size": 4, "crop": "window"}
    run = make_run("baseline", pets, model="preactresnet10", width=WIDTH, overrides=over)
    with pytest.raises(Stop):
        train(run, tmp_path / "gone_on_with", device=CPU, progress=StopsAfter(1), checkpoint_every=0)
    path = files(pets).path(3)
    path.write_bytes(path.read_bytes()[:-300])
    for runs, why in (("new", "cannot read the image"), ("gone_on_with", "of other training images")):
        with pytest.raises(UsageError, match=why):
            train(run, tmp_path / runs, device=CPU)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "gone_on_with" / run.folder / "state.pt").exists()


def test_a_second_process_does_not_remove_the_run_of_the_first(tmp_path: Path) -> None:
    run = make_run("baseline")
    with open_run(run, tmp_path) as folder:
        write_metrics(RunFolder(folder), [])
        with pytest.raises(Busy), open_run(run, tmp_path):
            raise AssertionError("two processes in one folder")
        assert (folder / "run.json").exists()


def test_files_need_a_crop_that_fits_and_images_too(pets: str) -> None:
    with pytest.raises(UsageError, match=r"recipe\.crop = pad is for images of one size"):
        loader(pets, crop="pad")
    with pytest.raises(UsageError, match=r"recipe\.crop = window cuts large pictures"):
        make_loader(make_run("baseline", overrides={"crop": "window"}), data.load("digits", "train"), CPU)


def test_an_impossible_crop_writes_nothing(pets: str, tmp_path: Path) -> None:
    run = make_run("baseline", pets, model="preactresnet10", width=WIDTH, overrides={"crop": "pad"})
    with pytest.raises(UsageError, match=r"recipe\.crop"):
        train(run, tmp_path / "runs", device=CPU)
    assert not (tmp_path / "runs").exists()


def test_the_number_of_workers_is_asked_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_WORKERS", "3")
    assert decoding_workers() == 3
    monkeypatch.setenv("CATCHUP_BENCH_WORKERS", "many")
    with pytest.raises(UsageError, match="CATCHUP_BENCH_WORKERS = 'many'"):
        decoding_workers()
    monkeypatch.delenv("CATCHUP_BENCH_WORKERS")
    assert 1 <= decoding_workers() <= 8


def test_real_birds_are_trained_on_and_evaluated(tmp_path: Path) -> None:
    """A tenth of 10 real classes, from the official layout to a record's suite."""
    from catchup_bench.evaluation.evaluate import evaluate
    from catchup_bench.evaluation.evaluated_model import trained_model
    from catchup_bench.suites import make_suites, resolve_suites

    real_data.cub(tmp_path)
    run = make_run("baseline", "cub", model="preactresnet10", width=WIDTH, fraction=0.1, overrides={"epochs": 1})
    folder = train(run, tmp_path / "runs", device=CPU, data_dir=tmp_path)
    suites = resolve_suites(make_suites(["clean"], {}), "cub", tmp_path)
    found = evaluate(trained_model(folder, CPU), suites, device=CPU, data_dir=tmp_path)
    assert found["clean"].n == 243
