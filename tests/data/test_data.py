"""The digits, the real CIFAR layout, the datasets library, and subsets."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench import data
from catchup_bench.errors import UsageError


def test_digits_are_scikit_learns_and_split_once() -> None:
    from sklearn.datasets import load_digits

    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert (len(train), len(test)) == (1000, 797)
    assert train.y.bincount().tolist() == [100] * 10
    ours = torch.cat([train.x, test.x])[:, ::2, ::2, 0].flatten(1)
    theirs = torch.from_numpy((load_digits().data * 255 + 8) // 16).to(torch.uint8)
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_digits_never_change() -> None:
    assert data.load("digits", "train").digest().startswith("a9b1bf8e0e")
    assert data.load("digits", "test").digest().startswith("31e542ca75")


def test_stated_mean_and_std_are_those_of_the_training_digits() -> None:
    x = data.load("digits", "train").x.float() / 255
    entry = data.get("digits")
    assert x.mean().item() == pytest.approx(entry.mean[0], abs=1e-3)
    assert x.std().item() == pytest.approx(entry.std[0], abs=1e-3)


def test_every_pixel_is_shown_as_two_by_two_and_grey() -> None:
    x = data.load("digits", "train").x
    assert torch.equal(x[:, ::2], x[:, 1::2]) and torch.equal(x[:, :, ::2], x[:, :, 1::2])
    assert torch.equal(x[..., :1].expand(-1, -1, -1, 3), x)


def some_images(n: int = 60, classes: int = 3) -> data.Images:
    x = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 4, 4, 3)
    return data.Images(x, torch.arange(n) % classes, torch.arange(n))


@given(st.sampled_from([0.1, 0.25, 0.5, 0.75]), st.integers(0, 50))
def test_subsets_are_balanced_and_nested(fraction: float, seed: int) -> None:
    images = some_images()
    small, large = (data.subset(images, f, "some", seed) for f in (fraction, min(1.0, 2 * fraction)))
    assert small.y.bincount().tolist() == [round(20 * fraction)] * 3
    assert set(small.index.tolist()) <= set(large.index.tolist())


@given(st.integers(0, 50))
def test_subsets_do_not_depend_on_storage_order(seed: int) -> None:
    images = some_images()
    shuffled = images.take(torch.randperm(60, generator=torch.Generator().manual_seed(seed)))
    chosen = {tuple(sorted(data.subset(i, 0.25, "some", seed).index.tolist())) for i in (images, shuffled)}
    assert len(chosen) == 1


def test_subsets_differ_by_seed() -> None:
    a, b = (data.subset(some_images(), 0.25, "some", seed).index.tolist() for seed in (0, 1))
    assert a != b


def test_a_fraction_that_empties_a_class_is_refused() -> None:
    with pytest.raises(UsageError, match="without an image"):
        data.subset(some_images(), 0.001, "some", 0)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny files in CIFAR-100's own layout, with torchvision told their MD5s."""
    from torchvision.datasets import CIFAR100

    folder = tmp_path / CIFAR100.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    lists = {}
    for name, n in (("train", 20), ("test", 10)):
        batch = {"data": rng.integers(0, 256, (n, 3072), np.uint8), "fine_labels": list(range(n))}
        lists[name] = write_pickle(folder / name, batch)
    meta = write_pickle(folder / "meta", {"fine_label_names": [str(i) for i in range(100)]})
    monkeypatch.setattr(CIFAR100, "train_list", [["train", lists["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", lists["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": meta})
    return tmp_path


def write_pickle(path: Path, value: object) -> str:
    path.write_bytes(pickle.dumps(value))
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_cifar_is_read_through_torchvision(cifar: Path) -> None:
    images = data.load("cifar100", "train", cifar)
    assert images.x.shape == (20, 32, 32, 3) and images.x.dtype == torch.uint8
    with open(cifar / "cifar-100-python" / "train", "rb") as f:
        raw = pickle.load(f)["data"]
    assert torch.equal(images.x.permute(0, 3, 1, 2).flatten(1), torch.from_numpy(raw))


def test_absent_cifar_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="catchup-bench data fetch cifar100 --data-dir"):
        data.load("cifar100", "train", tmp_path)


def test_a_truncated_cifar_file_is_named(cifar: Path) -> None:
    path = cifar / "cifar-100-python" / "train"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="train is damaged or incomplete"):
        data.load("cifar100", "train", cifar)


def test_unknown_dataset_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean cifar100"):
        data.get("cifar1000")


def image_folder(root: Path, sizes: tuple[int, ...] = (8, 8)) -> Path:
    from PIL import Image

    for split in ("train", "test"):
        for label, size in zip(("cat", "dog"), sizes, strict=True):
            (root / split / label).mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (size, size), (i, 0, 0)).save(root / split / label / f"{i}.png")
    return root


@pytest.mark.filterwarnings("ignore")
def test_a_folder_is_read_by_the_datasets_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    name = f"hf:{image_folder(tmp_path / 'pets')}"
    images = data.load(name, "test")
    assert data.get(name).num_classes == 2
    assert images.x.shape == (6, 8, 8, 3) and images.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.x[:3, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.filterwarnings("ignore")
def test_images_of_several_sizes_are_refused(tmp_path: Path) -> None:
    name = f"hf:{image_folder(tmp_path / 'pets', (8, 9))}"
    with pytest.raises(UsageError, match="several sizes"):
        data.load(name, "test")


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot load hf:"):
        data.load(f"hf:{tmp_path / 'nothing'}", "test")
    with pytest.raises(UsageError, match="hf: needs a name"):
        data.load("hf:", "test")
