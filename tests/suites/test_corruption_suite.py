"""The corruption suite: published arrays where they are, generated ones elsewhere, and files that robustbench reads."""

import hashlib
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from catchup_bench import corruptions
from catchup_bench.data import Images, corrupted, corrupted_files
from catchup_bench.data.corrupted import CorruptedArrays
from catchup_bench.errors import UsageError
from catchup_bench.suites import Context, suite_class
from catchup_bench.system import cache
from tests.conftest import Cli, as_json
from tests.support import layouts, real_data

Corruption = suite_class("corruption")


def some_images(n: int = 20, classes: int = 10) -> Images:
    gen = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, 16, 16, 3), generator=gen, dtype=torch.uint8)
    return Images(x, torch.arange(n) % classes, torch.arange(n))


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path, dataset: str) -> Path:
    """Take the arrays in ``folder``, as they are now, for the published ones of ``dataset``."""
    monkeypatch.setitem(corrupted.FOLDERS, dataset, folder.name)
    digests = {path.stem: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.glob("*.npy")}
    monkeypatch.setitem(corrupted_files.MD5, folder.name, digests)
    return folder


class Watches(nn.Module):
    """A model that is always right, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
        return torch.eye(10)[torch.arange(len(x)) % 10]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))


def context(net: nn.Module, data_dir: Path, dataset: str = "cifar10") -> Context:
    return Context(
        net=net,
        images=some_images(),
        dataset=dataset,
        mean=(0, 0, 0),
        device=torch.device("cpu"),
        batch_size=20,
        data_dir=data_dir,
    )


def arrays(root: Path, names: tuple[str, ...] = ("contrast",)) -> Path:
    """Made-up arrays in the published layout, different for every severity."""
    folder = root / "CIFAR-10-C"
    folder.mkdir(parents=True)
    images = some_images()
    np.save(folder / "labels.npy", np.tile(images.y.numpy(), 5))
    for name in names:
        stacked = np.concatenate([images.x.numpy() // (s + 1) for s in range(5)])
        np.save(folder / f"{name}.npy", stacked)
    return folder


def test_generated_images_are_what_the_model_sees(tmp_path: Path) -> None:
    net, images = Watches(), some_images()
    suite = Corruption(types=("contrast", "gaussian_noise"), severities=(1, 4)).resolve("cifar10", tmp_path)
    found = dict(suite.run(context(net, tmp_path), suite.conditions()))
    assert list(found) == ["contrast-1", "contrast-4", "gaussian_noise-1", "gaussian_noise-4"]
    assert all(bits.all() for bits in found.values())
    expected = corruptions.corrupt(images.x, "gaussian_noise", 4, indices=range(20), dataset="cifar10")
    assert torch.equal(net.seen[3], expected)


def test_published_arrays_are_used_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, arrays(tmp_path), "cifar10")
    net = Watches()
    suite = Corruption(types=("contrast",)).resolve("cifar10", tmp_path)
    assert suite.source == "official" and suite.conditions()[2] == "contrast-3-official"
    list(suite.run(context(net, tmp_path), suite.conditions()))
    for severity, seen in enumerate(net.seen, 1):
        assert torch.equal(seen, some_images().x // severity)


def test_official_and_generated_share_no_condition_and_no_protocol(tmp_path: Path) -> None:
    ways = [Corruption(source=s, frost="procedural") for s in ("official", "generated")]
    a, b = (set(way.conditions()) for way in ways)
    assert not a & b
    assert ways[0].protocol("contrast-1-official") != ways[1].protocol("contrast-1")


def test_procedural_frost_is_named(tmp_path: Path) -> None:
    suite = Corruption(types=("frost", "fog")).resolve("cifar10", tmp_path)
    assert suite.conditions()[0] == "frost-1-procedural" and suite.conditions()[5] == "fog-1"
    assert suite.protocol("frost-1-procedural")["frost"] == "procedural" and "frost" not in suite.protocol("fog-1")


def test_a_part_of_the_images_is_balanced_and_named(tmp_path: Path) -> None:
    suite = Corruption(types=("contrast",), severities=(1,), images=10).resolve("cifar10", tmp_path)
    ((condition, bits),) = suite.run(context(Watches(), tmp_path), suite.conditions())
    assert condition == "contrast-1-n10" and len(bits) == 10
    corruption_module = __import__("importlib").import_module("catchup_bench.suites.corruption")
    chosen = corruption_module.balanced(context(Watches(), tmp_path), 10)
    assert chosen.y.bincount().tolist() == [1] * 10


def test_summary_means_are_over_all_of_their_conditions() -> None:
    rows = Corruption(source="generated", frost="published").summary()
    assert len(rows["mean of 19 types"]) == 95 and len(rows["mean of 15 types"]) == 75
    assert len(rows["noise"]) == 15 and len(rows["severity 3"]) == 19 and len(rows["frost"]) == 5


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "contrast.npy").unlink(), "contrast.npy is missing"),
        (lambda f: np.save(f / "contrast.npy", np.zeros((90, 16, 16, 3), np.uint8)), "has the shape"),
        (lambda f: np.save(f / "contrast.npy", np.zeros((100, 16, 16, 3), np.float32)), "holds float32"),
        (lambda f: (f / "contrast.npy").write_bytes((f / "contrast.npy").read_bytes()[:999]), "not a whole .npy"),
        (lambda f: (f / "contrast.npy").write_bytes(b"PK"), "not a whole .npy"),
        (lambda f: np.save(f / "labels.npy", np.zeros(100, np.int64)), "are not the labels"),
        (lambda f: np.save(f / "labels.npy", np.zeros(50, np.int64)), "has the shape"),
    ],
)
def test_bad_folders_are_one_line(tmp_path: Path, spoil: object, words: str) -> None:
    spoil(arrays(tmp_path))  # type: ignore[operator]
    suite = Corruption(types=("contrast",)).resolve("cifar10", tmp_path)
    with pytest.raises(UsageError, match=words):
        list(suite.run(context(Watches(), tmp_path), suite.conditions()))


def digits_c(root: Path) -> Path:
    """The digits in the published layout, for two corruptions."""
    from catchup_bench.data import load

    images, folder = load("digits", "test"), root / "digits-C"
    folder.mkdir()
    np.save(folder / "labels.npy", np.tile(images.y.numpy(), 5))
    for name in ("contrast", "fog"):
        np.save(folder / f"{name}.npy", np.tile(images.x.numpy(), (5, 1, 1, 1)))
    return folder


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "fog.npy").unlink(), "fog.npy is missing: fetch the corrupted test set whole"),
        (lambda f: (f / "labels.npy").unlink(), "labels.npy is missing"),
        (lambda f: np.save(f / "fog.npy", np.load(f / "fog.npy")[:-1]), "fog.npy has the shape (3984, 16, 16, 3)"),
        (lambda f: (f / "fog.npy").write_bytes((f / "fog.npy").read_bytes()[:-1]), "fog.npy is not a whole .npy"),
        (lambda f: np.save(f / "fog.npy", np.load(f / "fog.npy").astype(np.int16)), "fog.npy holds int16"),
        (lambda f: np.save(f / "labels.npy", np.load(f / "labels.npy")[:797]), "labels.npy has the shape (797,)"),
        (lambda f: np.save(f / "labels.npy", 9 - np.load(f / "labels.npy")), "labels.npy are not the labels of digits"),
    ],
)
def test_a_spoilt_folder_ends_with_2_and_nothing_is_evaluated(
    cli: Cli, trained_run: Path, tmp_path: Path, spoil: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish(monkeypatch, digits_c(tmp_path), "digits")
    command = ["evaluate", trained_run, "--suite", "corruption", "--set", 'corruption.types=["contrast", "fog"]']
    spoil(folder)
    result = cli(*command, "--data-dir", tmp_path)
    assert result.exit_code == 2 and words in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert not list(trained_run.glob("outcomes/*-official.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fgsm.eps=-1", "eps = (-1.0,) is not allowed"),
        ("fgsm.eps=256", "from 0 to 255, in 1/255"),
        ("fgsm.eps=4,-0.5", "from 0 to 255, in 1/255"),
        ("fgsm.eps=nan", "a number of an ordinary size"),
        ("fgsm.eps=four", "it takes a number"),
        ("pgd.eps=300", "from 0 to 255, in 1/255"),
        ("corruption.severities=0,1", "severities"),
        ("corruption.severities=1.5", "severities"),
        ("corruption.types=contrsat", "did you mean contrast"),
        ("corruption.severities=6", "severities"),
        ("corruption.source=web", "auto, official, generated"),
        ("corruption.images=-1", "images = -1"),
        ("corruption.images=798", "has 797 test images"),
    ],
)
def test_bad_options_end_with_2(cli: Cli, trained_run: Path, words: str, message: str) -> None:
    result = cli("evaluate", trained_run, "--suite", words.split(".")[0], "--set", words)
    assert result.exit_code == 2 and message in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_the_cache_gives_back_what_it_was_given_and_keeps_its_bound(tmp_path: Path) -> None:
    calls: list[int] = []

    def make(value: int) -> Tensor:
        calls.append(value)
        return torch.full((100,), value, dtype=torch.uint8)

    for value in (1, 2, 1, 2):
        assert cache.cached(("key", value), lambda value=value: make(value)).tolist() == [value] * 100  # type: ignore[misc]
    assert calls == [1, 2]
    cache.trim(300)
    assert len(list(cache.folder().iterdir())) == 1


def test_a_damaged_cache_file_is_made_again() -> None:
    cache.cached(("key",), lambda: torch.zeros(9, dtype=torch.uint8))
    next(cache.folder().iterdir()).write_bytes(b"torn")
    assert cache.cached(("key",), lambda: torch.zeros(9, dtype=torch.uint8)).tolist() == [0] * 9


@pytest.mark.filterwarnings("ignore")
def test_written_files_are_read_by_robustbench(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loader takes a test set of 10,000 images for granted, and 32 pixels do not matter to it."""
    from catchup_bench import data
    from catchup_bench.robustbench_bridge import module

    gen = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (10_000, 4, 4, 3), generator=gen, dtype=torch.uint8)
    images = Images(x, torch.arange(10_000) % 100, torch.arange(10_000))
    entry = data.DATASETS["cifar100"]
    fake = type(entry)(**{**entry.__dict__, "load": lambda split, folder: images})
    monkeypatch.setitem(data.DATASETS, "cifar100", fake)
    made = as_json(cli("data", "corrupt", "cifar100", "out", "--types", "contrast,brightness", "--json"))
    assert [Path(f).name for f in made["files"]] == ["labels.npy", "contrast.npy", "brightness.npy"]
    theirs, labels = module("data").load_cifar100c(10_000, 3, str(tmp_path / "out"), False, ["brightness"])
    ours = corruptions.corrupt(x, "brightness", 3, indices=range(10_000), dataset="cifar100")
    assert torch.equal((theirs * 255).round().to(torch.uint8).permute(0, 2, 3, 1), ours)
    assert torch.equal(labels, images.y)
    stamp = (tmp_path / "out" / "CIFAR-100-C" / "contrast.npy").stat().st_mtime_ns
    cli("data", "corrupt", "cifar100", "out", "--types", "contrast")
    assert (tmp_path / "out" / "CIFAR-100-C" / "contrast.npy").stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match="that data corrupt made, not the published ones"):
        CorruptedArrays("cifar100", tmp_path / "out", images)
    assert np.load(tmp_path / "out" / "CIFAR-100-C" / "contrast.npy", mmap_mode="r").shape == (50_000, 4, 4, 3)


def test_the_digests_of_the_labels_are_those_of_the_official_labels() -> None:
    for name, file in (("CIFAR-10-C", "cifar10_test.npz"), ("CIFAR-100-C", "cifar100_test.npz")):
        content = io.BytesIO()
        np.save(content, np.tile(real_data.arrays(file)["labels"].astype(np.uint8), 5))
        assert hashlib.md5(content.getvalue()).hexdigest() == corrupted_files.MD5[name]["labels"]


def test_every_published_file_has_a_digest_of_its_own() -> None:
    digests = [digest for files in corrupted_files.MD5.values() for digest in files.values()]
    assert all(set(files) == {"labels", *corruptions.NAMES} for files in corrupted_files.MD5.values())
    assert len(set(digests)) == 40 and all(re.fullmatch("[0-9a-f]{32}", digest) for digest in digests)


def test_arrays_that_are_not_the_published_ones_are_refused_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shape, type and labels are right; one bit of two arrays is not."""
    folder = publish(monkeypatch, arrays(tmp_path, ("contrast", "fog", "snow")), "cifar10")
    for name in ("contrast", "snow"):
        array = np.load(folder / f"{name}.npy")
        array[7, 3, 2, 1] ^= 1
        np.save(folder / f"{name}.npy", array)
    suite = Corruption(types=("contrast", "fog", "snow")).resolve("cifar10", tmp_path)
    with pytest.raises(UsageError, match=r"contrast.npy is not the published file .*\(2 of 4 files are at fault\)"):
        list(suite.run(context(Watches(), tmp_path), suite.conditions()))
    assert list(Corruption(types=("fog",)).resolve("cifar10", tmp_path).run(context(Watches(), tmp_path), [])) == []


def test_missing_arrays_are_counted(tmp_path: Path) -> None:
    arrays(tmp_path)
    suite = Corruption(types=("contrast", "fog", "snow")).resolve("cifar10", tmp_path)
    with pytest.raises(UsageError, match=r"fog.npy is missing.* \(2 of 3 arrays are at fault\)"):
        list(suite.run(context(Watches(), tmp_path), suite.conditions()))


def test_what_data_corrupt_wrote_is_never_taken_for_published(cli: Cli, trained_run: Path, tmp_path: Path) -> None:
    """Of any dataset: one without published arrays has no official condition at all."""
    (made, _) = as_json(cli("data", "corrupt", "digits", tmp_path, "--types", "contrast", "--json"))["files"]
    assert (Path(made).parent / corrupted_files.MARK).is_file()
    words = ["evaluate", trained_run, "--suite", "corruption", "--set", "corruption.types=contrast"]
    found = as_json(cli(*words, "--data-dir", tmp_path, "--json"))
    assert {c for outcomes in found.values() for c in outcomes if "official" in c} == set()
    result = cli(*words, "--set", "corruption.source=official", "--data-dir", tmp_path)
    assert result.exit_code == 2 and "no corrupted images of digits are published" in result.stderr


def test_data_corrupt_mixes_no_arrays(cli: Cli, tmp_path: Path) -> None:
    published_arrays = arrays(tmp_path)
    shutil.copytree(published_arrays, tmp_path / "digits-C")
    result = cli("data", "corrupt", "digits", tmp_path, "--types", "fog")
    assert result.exit_code == 2 and "holds arrays that data corrupt did not make" in result.stderr
    layouts.folders(tmp_path / "a" / "pets", ["x"], train=(one := layouts.items(1, 1, 16, 16)), test=one)
    layouts.folders(tmp_path / "b" / "pets", ["x"], train=one, test=layouts.items(1, 1, 16, 16, seed=9))
    assert cli("data", "corrupt", f"folder:{tmp_path}/a/pets", tmp_path / "c", "--types", "fog").exit_code == 0
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["pets-C"]
    result = cli("data", "corrupt", f"folder:{tmp_path}/b/pets", tmp_path / "c", "--types", "fog")
    assert result.exit_code == 2 and "corrupted images of another test set" in result.stderr
