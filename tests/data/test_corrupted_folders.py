"""ImageNet-C and Tiny-ImageNet-C in their official layouts, of few made-up images."""

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catchup_bench import corruptions, data, data_sources
from catchup_bench.data import corrupted_folders
from catchup_bench.data.corrupted_folders import CorruptedFolders
from catchup_bench.errors import UsageError
from catchup_bench.records.record import Outcome
from catchup_bench.suites import Context, make_suites

from ..conftest import Cli, as_json
from ..support import layouts

WNIDS = ("n01443537", "n01629819", "n01641577")
TYPES = ("fog", "gaussian_noise")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny-ImageNet of 3 classes with 4 validation images each, and two corruptions of others, one in its archive's
    folder."""
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    layouts.tiny(root, WNIDS, layouts.items(3, 1, 64, 64), layouts.items(3, 4, 64, 64, seed=50))
    for name, top in (("fog", "fog"), ("gaussian_noise", "noise/gaussian_noise")):
        for severity in corruptions.SEVERITIES:
            for label, wnid in enumerate((*WNIDS, "n09999999")):
                for i in range(4):
                    picture = layouts.jpeg(1000 * len(name) + 100 * severity + 10 * label + i, 64, 64)
                    layouts.put(root / "Tiny-ImageNet-C" / top / str(severity) / wnid / f"val_{i}.JPEG", picture)
    return root


def test_images_have_the_labels_of_their_folders_and_are_shown_as_they_are(folder: Path) -> None:
    found = CorruptedFolders("tinyimagenet", folder, WNIDS)
    found.check(TYPES)
    for name, top in (("fog", "fog"), ("gaussian_noise", "noise/gaussian_noise")):
        images = found.images(name, 4, 0, "")
        assert images.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and images.x.shape == (12, 64, 64, 3)
        path = folder / "Tiny-ImageNet-C" / top / "4" / WNIDS[1] / "val_2.JPEG"
        assert np.array_equal(images.x[6].numpy(), np.asarray(Image.open(path)))
    few = found.images("fog", 4, 6, "some")
    assert few.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.digest("fog", 4) != found.digest("fog", 5)


def test_what_is_missing_is_said(folder: Path) -> None:
    found = CorruptedFolders("tinyimagenet", folder, WNIDS)
    with pytest.raises(UsageError, match=r"Tiny-ImageNet-C.snow is missing.*corruption\.types"):
        found.check(["fog", "snow"])
    (folder / "Tiny-ImageNet-C" / "fog" / "3" / WNIDS[2]).rename(folder / "elsewhere")
    with pytest.raises(UsageError, match=WNIDS[2]):
        CorruptedFolders("tinyimagenet", folder, WNIDS).check(["fog"])
    with pytest.raises(UsageError, match="13: Tiny-ImageNet-C has 12"):
        found.images("fog", 1, 13, "")


class ByLabel(torch.nn.Module):
    """Names the class by the first pixel's byte, which the test knows."""

    def __init__(self, classes: dict[int, int]) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        said = [self.classes.get(int(k), 0) for k in (x.double().sum((1, 2, 3)) * 255).round()]
        return torch.eye(3)[torch.tensor(said)]


def test_the_suite_reads_them_and_an_outcome_belongs_to_them(folder: Path) -> None:
    suite = make_suites(["corruption"], {"corruption": {"types": list(TYPES)}})["corruption"]
    suite = suite.resolve("tinyimagenet", folder)
    images = data.load("tinyimagenet", "test", folder)
    every = [CorruptedFolders("tinyimagenet", folder, WNIDS).images(n, s, 0, "") for n in TYPES for s in range(1, 6)]
    sums = {int(x.long().sum()): int(y) for one in every for x, y in zip(one.x, one.y, strict=True)}
    context = Context(
        net=ByLabel(sums), images=images, dataset="tinyimagenet", mean=(0, 0, 0), device=torch.device("cpu"),
        batch_size=5, data_dir=folder,
    )  # fmt: skip
    assert suite.conditions()[0] == "fog-1-official"
    found = dict(suite.run(context, suite.conditions()))
    assert len(found) == 10 and all(one.bits.all() and len(one.bits) == 12 for one in found.values())  # type: ignore[union-attr]
    assert all(one.values["other_images"] for one in found.values())  # type: ignore[union-attr]
    digest = suite.images_digest(context, "fog-2-official")
    assert digest != suite.images_digest(context, "fog-3-official")
    path = folder / "Tiny-ImageNet-C" / "fog" / "2" / WNIDS[0] / "val_0.JPEG"
    path.write_bytes(path.read_bytes() + b" ")
    assert suite.images_digest(context, "fog-2-official") != digest
    assert suite.figures({}) == {}, "there are no published errors of AlexNet on it"


def test_mce_is_relative_to_alexnets_errors_type_by_type(tmp_path: Path) -> None:
    suite = make_suites(["corruption"], {"corruption": {"source": "generated", "frost": "procedural"}})["corruption"]
    assert suite.resolve("cifar100", tmp_path).figures({}) == {}
    resolved = suite.resolve("imagenet", tmp_path)
    errors = {c: 0.1 + 0.005 * i for i, c in enumerate(resolved.conditions())}
    outcomes = {c: Outcome.of(np.arange(1000) >= round(1000 * e), "corruption", {}, {}) for c, e in errors.items()}
    means = {n: np.mean([round(1000 * errors[c]) / 10 for c in rows]) for n, rows in resolved.summary().items()}
    table = alexnet()
    wanted = np.mean([means[name] / table[name] for name in corruptions.COMMON]) * 100
    assert resolved.figures(outcomes) == {"mCE of 15 types relative to AlexNet's errors, %": pytest.approx(wanted)}
    assert replace(resolved, severities=(1,)).figures(outcomes) == {}  # type: ignore[call-arg]


def alexnet() -> dict[str, float]:
    from catchup_bench.reference_errors import ALEXNET

    assert set(ALEXNET) == set(corruptions.COMMON) and sum(ALEXNET.values()) / 15 == pytest.approx(78.9, abs=0.1)
    return ALEXNET


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the archives of a Tiny-ImageNet-C of 2 classes with 2 images each: one has its corruptions in
    folders, with classes of others in frost as the first record, the other has them at its top."""
    root, made = tmp_path / "data", tmp_path / "made"
    for number, name in enumerate(corruptions.NAMES):
        top = made / ("b" if name in corruptions.EXTRA else "a/Tiny-ImageNet-C") / name
        for severity in corruptions.SEVERITIES:
            for wnid in (*WNIDS[:2], *(["n09999999"] if name == "frost" else [])):
                for i in range(2):
                    layouts.put(top / str(severity) / wnid / f"{i}.JPEG", layouts.jpeg(number, 64, 64))
    sums = {}
    root.mkdir()
    for part, name in (("a", "Tiny-ImageNet-C"), ("b", "Tiny-ImageNet-C-extra")):
        archive = root / f"{name}.tar"
        with tarfile.open(archive, "w") as tar:
            for path in sorted((made / part).iterdir()):
                tar.add(path, path.name)
        sums[name] = hashlib.md5(archive.read_bytes()).hexdigest()
    small = replace(data_sources.SOURCES["tinyimagenet-c"], counts={"test": 4}, classes=2)
    monkeypatch.setitem(corrupted_folders.ARCHIVES, "tinyimagenet", ("0", sums))
    monkeypatch.setitem(data_sources.SOURCES, "tinyimagenet-c", small)
    return root


def test_archives_that_lie_there_are_unpacked_and_the_whole_is_checked(cli: Cli, whole: Path) -> None:
    told = as_json(cli("data", "where", "tinyimagenet-c", "--data-dir", whole, "--json"))
    assert not told["present"] and len(told["missing"]) == 19 and "8206060" in told["obtain"]
    found = as_json(cli("data", "fetch", "tinyimagenet-c", "--data-dir", whole, "--json"))
    assert (found["corruptions"], found["images"], found["classes"]) == (19, 4, 2)
    assert sorted(p.name for p in (whole / "Tiny-ImageNet-C").iterdir()) == sorted(corruptions.NAMES)
    assert not list(whole.glob(".fetch*"))
    for path in whole.glob("*.tar"):
        path.unlink()
    assert as_json(cli("data", "fetch", "tinyimagenet-c", "--data-dir", whole, "--json")) == found, "nothing is lacking"
    (whole / "Tiny-ImageNet-C" / "extra").mkdir()
    for name in corruptions.EXTRA:
        (whole / "Tiny-ImageNet-C" / name).rename(whole / "Tiny-ImageNet-C" / "extra" / name)
    assert as_json(cli("data", "where", "tinyimagenet-c", "--data-dir", whole, "--json"))["present"]
    (whole / "Tiny-ImageNet-C" / "fog" / "3" / WNIDS[0] / "1.JPEG").unlink()
    result = cli("data", "check", "tinyimagenet-c", "--data-dir", whole)
    assert result.exit_code == 2 and "has 3 of 4 images" in result.stderr


def test_other_archives_are_not_unpacked(cli: Cli, whole: Path) -> None:
    other = whole / "Tiny-ImageNet-C-extra.tar"
    other.write_bytes(b"x")
    result = cli("data", "fetch", "tinyimagenet-c", "--data-dir", whole)
    assert result.exit_code == 2 and "is damaged or another archive" in result.stderr
    assert not (whole / "Tiny-ImageNet-C" / "saturate").exists()


def test_archives_have_all_nineteen_types() -> None:
    named = [name for names in data_sources.CORRUPTION_ARCHIVES.values() for name in names]
    assert sorted(named) == sorted(corruptions.NAMES)
    groups = {name: set(names) for name, names in corruptions.GROUPS.items()}
    assert {k: set(v) for k, v in data_sources.CORRUPTION_ARCHIVES.items()} == groups
