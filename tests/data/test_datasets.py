"""Every dataset in its official layout: what is read, what partial sets give, and one line for whatever is wrong."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from catchup_bench import data, data_sources, robustbench_bridge
from catchup_bench.data import corrupted_files, cub, decode, tiny
from catchup_bench.errors import UsageError
from catchup_bench.system import cache
from tests.conftest import Cli, as_json
from tests.support import layouts, real_data
from tests.support.calls import count_calls

WNIDS = ["n01", "n02", "n03"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))


def small_tiny(root: Path) -> Path:
    return layouts.tiny(root, WNIDS, layouts.items(3, 4, 64, 64), layouts.items(3, 2, 64, 64, seed=50))


def small_cub(root: Path) -> Path:
    classes = ["001.A_bird", "002.B_bird", "003.C_bird"]
    return layouts.cub(root, classes, layouts.items(3, 4, 300, 270), layouts.items(3, 2, 280, 300, seed=50))


def small_cars(root: Path) -> Path:
    return layouts.cars(root, ["a", "b"], layouts.items(2, 3, 300, 260), layouts.items(2, 2, 300, 260, seed=50))


def small_aircraft(root: Path) -> Path:
    names = ["707-320", "A340 200"]
    return layouts.aircraft(root, names, layouts.items(2, 3, 300, 260), layouts.items(2, 2, 300, 260, seed=50))


def small_imagenet(root: Path) -> Path:
    layouts.folders(root / "imagenet", WNIDS, train=layouts.items(3, 3, 300, 260), val=layouts.items(3, 2, 260, 300))
    return root


def small_o(root: Path) -> Path:
    layouts.folders(root, WNIDS, **{"imagenet-o": layouts.items(3, 2, 300, 260)})
    return root


def small_fashion(root: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (30, 28, 28), np.uint8)
    return layouts.fashion(root, (x[:20], np.arange(20) % 10), (x[20:], np.arange(10)))


SMALL: dict[str, tuple[Callable[[Path], Path], int, int, int]] = {
    "tinyimagenet": (small_tiny, 3, 12, 6),
    "cub": (small_cub, 3, 12, 6),
    "cars": (small_cars, 2, 6, 4),
    "aircraft": (small_aircraft, 2, 6, 4),
    "imagenet": (small_imagenet, 3, 9, 6),
}


@pytest.mark.parametrize("name", SMALL)
def test_counts_classes_and_sizes(name: str, tmp_path: Path) -> None:
    write, classes, n_train, n_test = SMALL[name]
    folder = write(tmp_path)
    train, test = data.load(name, "train", folder), data.load(name, "test", folder)
    assert (len(train), len(test), data.get(name).count_classes(folder)) == (n_train, n_test, classes)
    assert train.y.unique().tolist() == test.y.unique().tolist() == list(range(classes))
    assert train.size == test.size == data.get(name).size
    assert test.x.dtype == torch.uint8 and test.x.shape[1:] == (test.size, test.size, 3)
    assert isinstance(train, data.Images) == (name == "tinyimagenet")
    assert test.index.tolist() == list(range(n_test))


def test_sources_name_the_datasets_and_where_needs_nothing_of_them() -> None:
    assert set(data_sources.SOURCES) == set(data.DATASETS) | set(data.EXTRAS)
    for name, entry in data.DATASETS.items():
        assert data_sources.SOURCES[name].classes == entry.num_classes
        assert tuple(data_sources.SOURCES[name].counts) == entry.splits


@pytest.mark.parametrize("name", [*SMALL, "imagenet-o", "fashionmnist"])
def test_what_is_absent_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^no {name} in .* is missing. To get it, ") as error:
        data.load(name, "test", tmp_path)
    assert "\n" not in str(error.value) and not any(tmp_path.iterdir())


def test_tiny_is_64_pixels_as_decoded_and_validation_is_its_test(tmp_path: Path) -> None:
    small_tiny(tmp_path)
    train, test = data.load("tinyimagenet", "train", tmp_path), data.load("tinyimagenet", "test", tmp_path)
    first = Image.open(tmp_path / "tiny-imagenet-200" / "train" / "n01" / "images" / "c0_0.JPEG")
    assert np.array_equal(train.x[0].numpy(), np.asarray(first))  # type: ignore[union-attr]
    assert train.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and test.y.tolist() == [0, 0, 1, 1, 2, 2]
    third = Image.open(tmp_path / "tiny-imagenet-200" / "val" / "images" / "c1_50.JPEG")
    assert np.array_equal(test.x[2].numpy(), np.asarray(third))


def test_test_images_are_resized_and_cropped_as_torchvision_does(tmp_path: Path) -> None:
    from torchvision.transforms import v2

    small_cub(tmp_path)
    show = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    test = data.load("cub", "test", tmp_path)
    for row, name in enumerate(cub.files("test", tmp_path).names.tolist()):
        picture = Image.open(tmp_path / "CUB_200_2011" / name.decode())
        assert np.array_equal(test.x[row].numpy(), np.asarray(show(picture)))


def test_cars_and_aircraft_are_listed_as_torchvision_lists_them(tmp_path: Path) -> None:
    from torchvision.datasets import FGVCAircraft, StanfordCars

    small_cars(tmp_path), small_aircraft(tmp_path)
    for split in ("train", "test"):
        theirs = StanfordCars(str(tmp_path), split=split)
        ours = data.get("cars").load(split, tmp_path)  # type: ignore[arg-type]
        assert ours.y.tolist() == [label for _, label in theirs._samples]
        listed = FGVCAircraft(str(tmp_path), split="trainval" if split == "train" else "test")
        assert data.get("aircraft").load(split, tmp_path).y.tolist() == listed._labels  # type: ignore[arg-type]


def test_fashion_is_grey_with_a_black_border(tmp_path: Path) -> None:
    images = data.load("fashionmnist", "test", small_fashion(tmp_path))
    assert images.x.shape == (10, 32, 32, 3) and images.y.tolist() == list(range(10))
    raw = np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8)[20:]
    assert np.array_equal(images.x[:, 2:30, 2:30, 1].numpy(), raw)
    assert not images.x[:, :2].any() and not images.x[:, :, 30:].any()


def test_boxes_belong_to_the_images_of_the_split(tmp_path: Path) -> None:
    small_cub(tmp_path)
    assert cub.boxes("test", tmp_path).tolist() == [[1, 2 + i, 5, 6] for _ in range(3) for i in range(2)]


def test_imagenet_o_is_for_testing_only(tmp_path: Path) -> None:
    small_o(tmp_path)
    assert len(data.load("imagenet-o", "test", tmp_path)) == 6
    with pytest.raises(UsageError, match="no training images"):
        data.load("imagenet-o", "train", tmp_path)


def test_a_fraction_of_files_is_chosen_before_any_is_opened(tmp_path: Path) -> None:
    small_cub(tmp_path)
    for path in (tmp_path / "CUB_200_2011" / "images").rglob("*.JPEG"):
        path.write_bytes(b"never opened")
    whole, half = (data.load("cub", "train", tmp_path, fraction=f) for f in (1.0, 0.5))
    assert isinstance(half, data.Files) and half.y.bincount().tolist() == [2, 2, 2]
    assert set(half.names.tolist()) < set(whole.names.tolist())  # type: ignore[union-attr]
    assert half.digest() != whole.digest()


def test_decoded_once_and_again_when_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cub(tmp_path)
    before = data.load("cub", "test", tmp_path).digest()
    again, calls = count_calls(lambda: data.load("cub", "test", tmp_path).digest(), decode.open_picture)
    assert again == before and calls["open_picture"] == 0
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "CUB_200_2011" / "images" / "001.A_bird" / "c0_50.JPEG"
    path.write_bytes(layouts.jpeg(999, 280, 300))
    assert data.load("cub", "test", tmp_path).digest() != before


def test_images_in_the_cache_are_not_changed_through_the_tensor(tmp_path: Path) -> None:
    small_cub(tmp_path)
    data.load("cub", "test", tmp_path).x.zero_()
    assert data.load("cub", "test", tmp_path).x.any()


def test_without_a_disk_the_images_lie_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cub(tmp_path)
    with_disk = data.load("cub", "test", tmp_path).digest()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "file" / "below"))
    assert data.load("cub", "test", tmp_path).digest() == with_disk


def test_the_image_cache_keeps_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "IMAGES_LIMIT", 300)
    for value in range(3):
        assert cache.mapped((value,), (100,), lambda f, v=value: f.write(bytes([v] * 100))).tolist() == [value] * 100  # type: ignore[misc]
    assert len(list(cache.folder("images").iterdir())) == 1


DAMAGE: list[tuple[str, str, bytes | None, str]] = [
    ("tinyimagenet", "tiny-imagenet-200/train/n02", None, "lacks the class folder n02"),
    ("tinyimagenet", "tiny-imagenet-200/train/n04/images/x.JPEG", b"x", "has the folder n04, which is no class"),
    ("tinyimagenet", "tiny-imagenet-200/train/n01/images/c0_1.JPEG", b"no picture", "cannot read the image .*c0_1"),
    ("tinyimagenet", "tiny-imagenet-200/train/n01/images/c0_1.JPEG", b"", "c0_1.JPEG is empty"),
    ("tinyimagenet", "tiny-imagenet-200/train/n01/images/c0_1.JPEG", layouts.jpeg(0, 32, 64), "32×64 pixels"),
    ("cub", "CUB_200_2011/image_class_labels.txt", b"1 9\n2 1\n3 1\n4 1\n", "image 1 is of class 9; there are 1 to 3"),
    ("cub", "CUB_200_2011/images.txt", b"1 a b c\n", "line 1: '1 a b c' is not an id and 1 value"),
    ("cub", "CUB_200_2011/images/002.B_bird/c1_1.JPEG", None, "c1_1.JPEG is missing"),
    ("cars", "stanford_cars/devkit/cars_meta.mat", b"MATLAB no more", "cannot read class_names in .*cars_meta.mat"),
    ("aircraft", "fgvc-aircraft-2013b/data/variants.txt", b"707-320\n", "'A340 200', which variants.txt lacks"),
    ("imagenet", "imagenet/train/n03", None, r"has the folder n03, which is no class"),
    ("imagenet", "imagenet/val/n03", None, "lacks the class folder n03"),
]


@pytest.mark.parametrize(("name", "where", "content", "words"), DAMAGE, ids=range(len(DAMAGE)))
def test_damage_is_one_line(name: str, where: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    import shutil

    path = SMALL[name][0](tmp_path) / where
    if content is not None:
        layouts.put(path, content)
    else:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UsageError, match=words) as error:
        data.load(name, "train", tmp_path)
        data.load(name, "test", tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.rglob("*.npy"))


def test_a_truncated_test_image_is_named_and_nothing_kept(tmp_path: Path) -> None:
    path = small_cub(tmp_path) / "CUB_200_2011" / "images" / "003.C_bird" / "c2_51.JPEG"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match=r"cannot read the image .*c2_51.JPEG: image file is truncated"):
        data.load("cub", "test", tmp_path)
    assert not list((tmp_path / "cache").rglob("*.np*"))


def test_a_damaged_fashion_file_is_one_line(tmp_path: Path) -> None:
    path = small_fashion(tmp_path) / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"test files in .* are damaged"):
        data.load("fashionmnist", "test", tmp_path)


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_folder_of_large_images_is_streamed_and_shown_at_224(split: str, tmp_path: Path) -> None:
    parts = {"train": layouts.items(2, 3, 300, 260), split: layouts.items(2, 2, 300, 260)}
    name = f"folder:{layouts.folders(tmp_path / 'pets', ['cat', 'dog'], **parts)}"
    train, test = data.load(name, "train"), data.load(name, "test")
    assert isinstance(train, data.Files) and test.x.shape == (4, 224, 224, 3)
    assert (train.y.tolist(), data.get(name).count_classes()) == ([0, 0, 0, 1, 1, 1], 2)


def test_a_folder_of_small_images_stays_in_memory_as_it_is(tmp_path: Path) -> None:
    part = layouts.items(2, 3, 32, 32)
    name = f"folder:{layouts.folders(tmp_path / 'pets', ['cat', 'dog'], train=part, test=part)}"
    assert data.load(name, "train").digest() == data.load(name, "test").digest()
    assert (data.get(name).size, len(data.load(name, "train", fraction=1 / 3))) == (32, 2)


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (["a", "b"], ["a", "c"], "lacks the class folder b"),
        (["a", "b"], ["a", "b", "c"], "folder c, which is no class"),
    ],
)
def test_a_folder_needs_the_same_classes_in_both_splits(
    train: list[str], test: list[str], words: str, tmp_path: Path
) -> None:
    layouts.folders(tmp_path, train, train=layouts.items(len(train), 1, 32, 32))
    layouts.folders(tmp_path, test, test=layouts.items(len(test), 1, 32, 32))
    with pytest.raises(UsageError, match=words):
        data.load(f"folder:{tmp_path}", "test")


@pytest.mark.filterwarnings("ignore")
def test_tiny_is_also_read_by_the_datasets_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    part = layouts.items(3, 2, 64, 64)
    layouts.folders(tmp_path / "tiny", WNIDS, train=part, validation=part)
    images = data.load(f"hf:{tmp_path / 'tiny'}", "test")
    assert images.x.shape == (6, 64, 64, 3) and images.y.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_picture_of_the_datasets_library_that_cannot_be_decoded_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    part = layouts.items(2, 1, 64, 64)
    layouts.folders(tmp_path / "pets", ["cat", "dog"], train=part, test=part)
    result = cli("data", "check", f"hf:{tmp_path / 'pets'}")
    *_, line = result.stderr.splitlines()  # after the library's progress
    assert result.exit_code == 2 and "cannot read image 0 of hf:" in line and "decompression bomb" in line


def zipped(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w") as z:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            z.write(path, path.relative_to(folder))
    return out


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_fetch_unpacks_the_archive_that_lies_there(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(small_tiny(tmp_path / "made"), tmp_path / "tiny-imagenet-200.zip")
    monkeypatch.setattr(tiny, "MD5", md5(archive))
    found = as_json(cli("data", "fetch", "tinyimagenet", "--data-dir", tmp_path, "--json"))
    assert (found["train"], found["test"]) == (12, 6)
    assert archive.exists() and not list(tmp_path.glob(".fetch*"))


@pytest.mark.parametrize(
    ("content", "official", "words"),
    [
        (b"not an archive", False, "is damaged or another archive"),
        (b"not an archive", True, "cannot fetch tinyimagenet .*not a zip file"),
        ("other", True, "holds no folder tiny-imagenet-200"),
    ],
)
def test_a_wrong_archive_leaves_nothing(
    content: bytes | str, official: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.put(tmp_path / "made" / "other" / "file.txt", "x")
    other = zipped(tmp_path / "made", tmp_path / "data.zip")
    archive = tmp_path / "data" / "tiny-imagenet-200.zip"
    layouts.put(archive, content if isinstance(content, bytes) else other.read_bytes())
    if official:
        monkeypatch.setattr(tiny, "MD5", md5(archive))
    with pytest.raises(UsageError, match=words):
        data.fetch("tinyimagenet", archive.parent)
    assert list(archive.parent.iterdir()) == [archive]


def test_imagenet_cannot_be_fetched_without_its_archives(cli: Cli, tmp_path: Path) -> None:
    result = cli("data", "fetch", "imagenet", "--data-dir", tmp_path / "d")
    assert result.exit_code == 2 and "ILSVRC2012_img_train.tar" in result.stderr and not (tmp_path / "d").exists()


def test_check_counts_and_says_what_a_part_is(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cub(tmp_path)
    result = cli("data", "check", "cub", "--data-dir", tmp_path)
    assert result.exit_code == 2 and "3 of 200 classes, 12 of 5,994 train images, 6 of 5,794" in result.stderr
    whole = data_sources.Source(
        **{**vars(data_sources.SOURCES["cub"]), "counts": {"train": 12, "test": 6}, "classes": 3}
    )
    monkeypatch.setitem(data_sources.SOURCES, "cub", whole)
    found = as_json(cli("data", "check", "cub", "--data-dir", tmp_path, "--json"))
    assert found["splits"]["train"] == {
        "images": 12, "classes": 3, "sha256": data.load("cub", "train", tmp_path).digest()
    }  # fmt: skip
    path = tmp_path / "CUB_200_2011" / "images" / "001.A_bird" / "c0_0.JPEG"
    path.write_bytes(path.read_bytes()[:-200])
    result = cli("data", "check", "cub", "--data-dir", tmp_path)
    assert result.exit_code == 2 and "cannot read the image" in result.stderr and result.stderr.count("\n") == 1


def test_check_of_the_digits_and_of_a_folder(cli: Cli, tmp_path: Path) -> None:
    assert as_json(cli("data", "check", "digits", "--json"))["splits"]["test"]["images"] == 797
    part = layouts.items(2, 3, 32, 32)
    folder = layouts.folders(tmp_path / "pets", ["cat", "dog"], train=part, val=part)
    assert cli("data", "check", f"folder:{folder}").stdout.count("6 images, 2 classes") == 2


@pytest.mark.parametrize("name", data_sources.SOURCES)
def test_where_says_what_is_missing_and_where_it_comes_from(name: str, cli: Cli, tmp_path: Path) -> None:
    found = as_json(cli("data", "where", name, "--data-dir", tmp_path, "--json"))
    assert found["present"] == (name == "digits") and bool(found["missing"]) == (name != "digits")
    assert all(found[key] for key in ("homepage", "licence", "size", "obtain"))
    text = cli("data", "where", name, "--data-dir", tmp_path).stdout
    assert f"dataset: {name}\n" in text and "licence: " in text


def test_where_sees_what_is_there(cli: Cli, tmp_path: Path) -> None:
    small_cub(tmp_path)
    assert as_json(cli("data", "where", "cub", "--data-dir", tmp_path, "--json"))["missing"] == []
    (tmp_path / "CUB_200_2011" / "images.txt").unlink()
    assert as_json(cli("data", "where", "cub", "--data-dir", tmp_path, "--json"))["missing"] == [
        str(tmp_path / "CUB_200_2011" / "images.txt")
    ]


def corrupted(folder: Path, classes: int, n: int) -> Path:
    from catchup_bench import corruptions

    labels = np.tile(np.arange(n) % classes, 5)
    for name in corruptions.NAMES:
        layouts.put(folder / f"{name}.npy", npy(np.zeros((5 * n, 32, 32, 3), np.uint8)))
    layouts.put(folder / "labels.npy", npy(labels))
    return folder


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@pytest.mark.skipif(
    robustbench_bridge.copy_on_disk() != "robustbench", reason="the robustbench on disk is torchattacks' copy"
)
@pytest.mark.filterwarnings("ignore")
def test_corrupted_sets_are_fetched_by_robustbench(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own downloader, with a record and an archive in place of the network."""
    corrupted(tmp_path / "made" / "CIFAR-100-C", 100, 100)
    with tarfile.open(tmp_path / "made.tar", "w") as tar:
        tar.add(tmp_path / "made" / "CIFAR-100-C", "CIFAR-100-C")
    content = (tmp_path / "made.tar").read_bytes()
    digest = hashlib.md5(content).hexdigest()
    digests = {p.stem: md5(p) for p in (tmp_path / "made" / "CIFAR-100-C").iterdir()}
    monkeypatch.setitem(corrupted_files.MD5, "CIFAR-100-C", digests)
    small = {**vars(data_sources.SOURCES["cifar100-c"]), "counts": {"test": 500}}
    monkeypatch.setitem(data_sources.SOURCES, "cifar100-c", data_sources.Source(**small))

    class Response:
        def __init__(self, url: str) -> None:
            self.url = url

        def json(self) -> Any:
            file = {"key": "CIFAR-100-C.tar", "links": {"self": "https://z/f/CIFAR-100-C.tar"}, "size": len(content)}
            return {"files": [{**file, "checksum": f"md5:{digest}"}]}

        def __enter__(self) -> "Response":
            return self

        def __exit__(self, *_: object) -> None: ...

        def raise_for_status(self) -> None: ...

        def iter_content(self, chunk_size: int) -> list[bytes]:
            return [content]

    monkeypatch.setattr(robustbench_bridge.module("zenodo_download").requests, "get", lambda url, **_: Response(url))
    out = tmp_path / "out"
    found = as_json(cli("data", "fetch", "cifar100-c", "--data-dir", out, "--json"))
    assert (found["arrays"], found["images"]) == (19, 500) and [p.name for p in out.iterdir()] == ["CIFAR-100-C"]
    layouts.put(out / "CIFAR-100-C" / "fog.npy", npy(np.zeros((3, 32, 32, 3), np.uint8)))
    result = cli("data", "check", "cifar100-c", "--data-dir", out)
    assert result.exit_code == 2 and "fog.npy has the shape" in result.stderr
    digest = "0" * 32
    result = cli("data", "fetch", "cifar100-c", "--data-dir", tmp_path / "second")
    assert result.exit_code == 2 and "does not match" in result.stderr and not list((tmp_path / "second").iterdir())
    with tarfile.open(tmp_path / "made.tar", "a") as tar:
        tar.add(tmp_path / "made" / "CIFAR-100-C" / "labels.npy", "../escaped")
    content = (tmp_path / "made.tar").read_bytes()
    digest = hashlib.md5(content).hexdigest()
    result = cli("data", "fetch", "cifar100-c", "--data-dir", tmp_path / "third")
    assert result.exit_code == 2 and "outside the destination" in result.stderr and not list(tmp_path.rglob("escaped"))


def test_an_old_downloader_is_told(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustbench_bridge, "copy_on_disk", lambda: "torchattacks")
    result = cli("data", "fetch", "cifar100-c", "--data-dir", tmp_path)
    assert result.exit_code == 2 and "pip install --force-reinstall --no-deps robustbench" in result.stderr


def test_frost_is_fetched_where_the_suite_looks(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from catchup_bench.corruptions import textures

    asked: list[Path] = []
    monkeypatch.setattr(textures, "fetch", lambda folder: asked.append(Path(folder)))
    result = cli("data", "fetch", "frost", "--data-dir", tmp_path)
    assert asked == [tmp_path / "frost"] and result.exit_code == 2 and "no frost in" in result.stderr


def test_real_frost_is_checked(cli: Cli, tmp_path: Path) -> None:
    found = real_data.arrays("frost_textures.npz")
    blob, offsets = found["blob"].tobytes(), found["offsets"].tolist()
    for name, a, b in zip(found["names"], offsets, offsets[1:], strict=False):
        layouts.put(tmp_path / "frost" / Path(str(name)).name, blob[a:b])
    assert as_json(cli("data", "check", "frost", "--data-dir", tmp_path, "--json"))["pictures"] == 5


def test_real_parts_are_read_and_named_as_parts(cli: Cli, tmp_path: Path) -> None:
    real_data.tiny(tmp_path, every=25)
    assert len(data.load("tinyimagenet", "train", tmp_path)) == 1000
    test = data.load("tinyimagenet", "test", tmp_path)
    assert test.y.bincount().tolist() == [50] * 50 and data.get("tinyimagenet").count_classes(tmp_path) == 50
    result = cli("data", "check", "tinyimagenet", "--data-dir", tmp_path)
    assert result.exit_code == 2 and "50 of 200 classes, 1,000 of 100,000" in result.stderr


@pytest.mark.parametrize(
    ("name", "write", "counts", "classes"),
    [
        ("cub", real_data.cub, (300, 243), 10),
        ("cars", real_data.cars, (801, 257), 25),
        ("fashionmnist", real_data.fashion, (15000, 5000), 10),
    ],
)
def test_real_images_in_their_layouts(
    name: str, write: Callable[[Path], Path], counts: tuple[int, int], classes: int, tmp_path: Path
) -> None:
    write(tmp_path)
    train, test = data.load(name, "train", tmp_path), data.load(name, "test", tmp_path)
    assert (len(train), len(test), data.get(name).count_classes(tmp_path)) == (*counts, classes)
    assert 30 < test.x[::50].float().mean() < 225 and test.x[::50].float().std() > 30


def test_a_partial_set_is_trained_and_evaluated_with_its_own_classes(cli: Cli, tmp_path: Path) -> None:
    small_tiny(tmp_path / "d")
    words = ["--dataset", "tinyimagenet", "--model", "preactresnet10", "--width", "16", "--data-dir", tmp_path / "d"]
    made = as_json(
        cli("train", "--method", "baseline", *words, "--epochs", "1", "--set", "recipe.batch_size=6", "--json")
    )
    found = as_json(cli("evaluate", made["folder"], "--suite", "clean", "--data-dir", tmp_path / "d", "--json"))
    assert json.dumps(found).count("clean") and made["training"]["train_images"] == 12
