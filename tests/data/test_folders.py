"""Folders as people have them: links, hidden things, other spellings, splits that are missing or called otherwise."""

import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from catchup_bench import data, data_sources
from catchup_bench.data import listing, notes
from catchup_bench.errors import UsageError
from tests.conftest import Cli, as_json
from tests.support import layouts


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))
    notes.take()


def pets(root: Path, each: int = 3, **splits: int) -> Path:
    """Cats and dogs of 16 px, ``each`` of a class, in the splits named."""
    names = splits or {"train": each, "test": each}
    return layouts.folders(root, ["cat", "dog"], **{s: layouts.items(2, n, 16, 16) for s, n in names.items()})


def counts(top: Path, split: Any = "train") -> list[int]:
    return data.load(f"folder:{top}", split).y.bincount().tolist()


def test_linked_sub_folders_are_read_where_they_lie_and_once(tmp_path: Path) -> None:
    top = pets(tmp_path / "d")
    outside = pets(tmp_path / "other", each=4) / "train"
    (top / "train" / "cat" / "more").symlink_to(outside / "cat")
    (top / "train" / "cat" / "again").symlink_to(outside / "cat")
    (top / "train" / "cat" / "whole").symlink_to(outside)  # holds cat, which was read, and dog, which was not
    (top / "train" / "cat" / "up").symlink_to(top / "train")
    (top / "train" / "a_dog").symlink_to(outside / "dog")
    (top / "test" / "a_dog").symlink_to(top / "test" / "dog")
    with pytest.raises(UsageError, match=r"a_dog are one folder|dog are one folder"):
        counts(top, "test")
    assert counts(top) == [4, 3 + 4, 3]
    (line,) = notes.take()
    assert line == f"{top}: skipped 6 linked folders that were read already"


def test_a_linked_image_counts_and_a_broken_link_is_one_line(tmp_path: Path) -> None:
    top = pets(tmp_path / "d")
    (top / "train" / "dog" / "x.png").symlink_to(top / "train" / "cat" / "c0_0.JPEG")
    assert counts(top) == [3, 4]
    for name in ("y.png", "z.png"):
        (top / "train" / "dog" / name).symlink_to(top / "nowhere")
    with pytest.raises(UsageError, match=r"y.png is missing: .* \(2 of 9 images are at fault\)"):
        counts(top)


def test_hidden_things_are_no_images_and_no_classes(tmp_path: Path) -> None:
    top = pets(tmp_path / "d")
    one = layouts.jpeg(0, 16, 16)
    for part in (top / "train", top / "test"):
        for hidden in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
            layouts.put(part / hidden / "cat" / "x.jpg", one)
            layouts.put(part / "cat" / hidden / "x.jpg", one)
        layouts.put(part / "dog" / "._c1_0.JPEG", b"AppleDouble")
        layouts.put(part / "dog" / ".x.png", one)
        layouts.put(part / ".DS_Store", b"x")
    assert counts(top) == counts(top, "test") == [3, 3] and data.get(f"folder:{top}").count_classes() == 2
    assert notes.take() == [f"{top}: skipped 18 files: 18 hidden"]


@pytest.mark.parametrize("ending", ["gif", "jfif", "jpe", "avif", "GIF", "apng", "pbm", "webp", "tif", "bmp"])
def test_whatever_is_decoded_is_listed(ending: str, tmp_path: Path) -> None:
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    top = pets(tmp_path / "d")
    picture = Image.open(io.BytesIO(layouts.jpeg(5, 16, 16)))
    kind = Image.registered_extensions()[f".{ending.lower()}"]
    (picture.convert("1") if ending == "pbm" else picture).save(top / "train" / "dog" / f"x.{ending}", kind)
    assert counts(top) == [3, 4]


def test_every_command_ends_with_what_was_skipped(cli: Cli, tmp_path: Path) -> None:
    top = pets(tmp_path / "d")
    for name in ("a.txt", "b.TXT", "c.mp4", "README"):
        layouts.put(top / "train" / "cat" / name, b"x")
    layouts.put(top / "train" / "list.csv", b"x")
    layouts.put(top / "test" / "x.csv", b"x")
    words = f"{top}: skipped 6 files: 2 .csv, 1 .mp4, 2 .txt, 1 without ending"
    assert cli("data", "check", f"folder:{top}").stderr.splitlines()[-1] == words
    result = cli(
        "train", "--method", "baseline", "--dataset", f"folder:{top}", "--model", "preactresnet10", "--width", 4,
        "--epochs", 1, "--set", "recipe.batch_size=3", "--json",
    )  # fmt: skip
    assert result.stderr.splitlines() == [words] and json.loads(result.stdout)
    assert cli("data", "check", "digits").stderr == ""


NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def test_a_class_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    assert NFC != NFD
    layouts.folders(tmp_path, [NFD, "tea"], train=layouts.items(2, 2, 16, 16))
    layouts.folders(tmp_path, [NFC, "tea"], test=layouts.items(2, 3, 16, 16))
    assert counts(tmp_path) == [2, 2] and counts(tmp_path, "test") == [3, 3]
    layouts.folders(tmp_path, [NFC], train=layouts.items(1, 1, 16, 16, seed=70))  # both at once, as ext4 allows
    assert counts(tmp_path) == [3, 2] and listing.class_names(tmp_path / "train") == [NFC, "tea"]


@pytest.mark.parametrize("called", data_sources.SPLIT_NAMES["test"])
def test_the_test_split_has_many_names(called: str, cli: Cli, tmp_path: Path) -> None:
    top = pets(tmp_path / "d", **{"train": 3, called: 2})
    assert counts(top, "test") == [2, 2]
    assert as_json(cli("data", "where", f"folder:{top}", "--json"))["missing"] == []


def test_test_images_without_classes_are_passed_over_and_said(tmp_path: Path) -> None:
    """The layout of competitions: a test folder without labels beside a validation set."""
    top = pets(tmp_path / "d", train=3, val=2)
    layouts.put(top / "test" / "1.jpg", layouts.jpeg(0, 16, 16))
    assert counts(top, "test") == [2, 2]
    assert notes.take() == [f"{top / 'test'} has no class folders: {top / 'val'} is the test set"]


def test_a_folder_with_only_test_images_is_evaluated_and_not_trained_on(cli: Cli, tmp_path: Path) -> None:
    both, top = pets(tmp_path / "both"), pets(tmp_path / "d", validation=4)
    words = ["--model", "preactresnet10", "--width", 4]
    made = as_json(
        cli("train", "--method", "baseline", "--dataset", f"folder:{both}", *words, "--epochs", 1,
            "--set", "recipe.batch_size=3", "--json")
    )  # fmt: skip
    weights = Path(made["folder"]) / "last.safetensors"
    words = ["--checkpoint", weights, "--dataset", f"folder:{top}", *words, "--suite", "clean"]
    (outcomes,) = as_json(cli("evaluate", *words, "--json")).values()
    assert outcomes["clean"]["n"] == 8
    checked = cli("data", "check", f"folder:{top}").stdout
    assert checked.startswith(f"folder:{top} in {top}: whole\n") and checked.count("8 images, 2 classes") == 1
    result = cli("train", "--method", "baseline", "--dataset", f"folder:{top}", "--dry-run")
    assert result.exit_code == 2 and "has no train images: they must lie in a folder called train" in result.stderr


@pytest.mark.parametrize("empty", [False, True])
def test_a_class_without_test_pictures_can_be_allowed(empty: bool, cli: Cli, tmp_path: Path) -> None:
    layouts.folders(tmp_path, ["a", "b", "c"], train=layouts.items(3, 2, 16, 16))
    layouts.folders(tmp_path, ["a"], test=layouts.items(1, 2, 16, 16))
    if empty:
        (tmp_path / "test" / "b").mkdir()
        (tmp_path / "test" / "c").mkdir()
    with pytest.raises(UsageError, match=r"\(2 of 3 .*to allow that, write folder:.*\?untested=allowed$"):
        counts(tmp_path, "test")
    name = f"folder:{tmp_path}?untested=allowed"
    assert data.load(name, "test").y.tolist() == [0, 0] and data.get(name).count_classes() == 3
    assert f"{tmp_path}: 2 of 3 classes have no test image: b, c" in cli("data", "check", name).stderr.splitlines()
    layouts.folders(tmp_path, ["d"], test=layouts.items(1, 1, 16, 16))
    with pytest.raises(UsageError, match="has the folder d, which is no class"):
        data.load(name, "test")


def test_a_class_without_training_pictures_never_is(tmp_path: Path) -> None:
    top = pets(tmp_path / "d")
    for path in (top / "train" / "dog").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=r"dog holds no image: every class needs some$"):
        data.load(f"folder:{top}?untested=allowed", "train")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?untestd=allowed", "did you mean untested"),
        ("?untested=yes", "It is one of: allowed"),
        ("?", "unknown option"),
    ],
)
def test_a_wrong_option_of_a_folder_is_one_line(query: str, words: str, cli: Cli, tmp_path: Path) -> None:
    result = cli("data", "check", f"folder:{pets(tmp_path / 'd')}{query}")
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1


def test_a_folder_with_a_question_mark_in_its_name_is_read(tmp_path: Path) -> None:
    assert counts(pets(tmp_path / "cats?untested=allowed")) == [3, 3]


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (1, 50), (2, 300)])
def test_tiny_images_are_refused_at_once_naming_the_size(size: tuple[int, int], cli: Cli, tmp_path: Path) -> None:
    part = layouts.items(2, 2, *size)
    top = layouts.folders(tmp_path / "d", ["a", "b"], train=part, test=part)
    for words in (["train", "--method", "baseline", "--dry-run", "--dataset"], ["data", "check"]):
        result = cli(*words, f"folder:{top}")
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert f"images of {size[0]}×{size[1]} pixels; they must have at least 8×8" in result.stderr


def test_images_of_the_smallest_size_are_trained_and_evaluated(cli: Cli, tmp_path: Path) -> None:
    part = layouts.items(2, 4, 8, 8)
    top = layouts.folders(tmp_path / "d", ["a", "b"], train=part, test=part)
    made = as_json(
        cli("train", "--method", "guidedmixup", "--dataset", f"folder:{top}", "--model", "preactresnet10", "--width", 4,
            "--epochs", 1, "--set", "recipe.batch_size=4", "--json")
    )  # fmt: skip
    found = as_json(cli("evaluate", made["folder"], "--suite", "robustness", "--json"))
    assert sum(len(outcomes) for outcomes in found.values()) == 1 + 1 + 95 + 8


def test_images_at_fault_are_counted(tmp_path: Path) -> None:
    top = pets(tmp_path / "d", each=4)
    for i in (1, 3):
        (top / "test" / "dog" / f"c1_{i}.JPEG").write_bytes(b"no picture")
    (top / "test" / "cat" / "c0_2.JPEG").write_bytes(layouts.jpeg(0, 17, 16))
    with pytest.raises(UsageError, match=r"c0_2.JPEG: it has 17×16 pixels.* \(3 of 8 images are at fault\)"):
        counts(top, "test")
    assert not list((tmp_path / "cache").rglob("*.npy"))
    (top / "test" / "cat" / "c0_2.JPEG").unlink()
    (top / "test" / "dog" / "c1_3.JPEG").unlink()
    with pytest.raises(UsageError, match=r"cannot read the image .*c1_1.JPEG: it is no image$"):
        counts(top, "test")
