"""Random numbers belong to the data, not to how its path is written on this machine."""

import hashlib
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from catchup_bench import data
from catchup_bench.suites import Context, Suite, suite_class
from tests.conftest import Cli, as_json
from tests.support import layouts


class Watches(nn.Module):
    """A linear network that remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.weights = torch.randn(3 * 16 * 16, 2, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return x.flatten(1) @ self.weights


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One folder, as many names."""
    part = layouts.items(2, 12, 16, 16)
    top = layouts.folders(tmp_path / "pets", ["cat", "dog"], train=part, test=part)
    (tmp_path / "link").symlink_to(top)
    monkeypatch.chdir(tmp_path)
    return ["folder:pets", "folder:./pets", "folder:pets/", f"folder:{top}", "folder:link", "folder:pets/../pets"]


def suite(name: str, **options: Any) -> Callable[[], Suite]:
    return lambda: suite_class(name)(**options)


SUITES = {
    "noise": suite("corruption", types=("gaussian_noise", "fog"), severities=(3,), source="generated"),
    "part": suite("corruption", types=("contrast",), severities=(1,), source="generated", images=8),
    "angles": suite("deformation"),
    "start": suite("pgd", steps=1),
    "start of a part": suite("pgd", steps=1, images=8),
    "random signs": suite("fgsm"),
}


def shown(make: Callable[[], Suite], name: str) -> list[Tensor]:
    """What a network sees in all conditions."""
    net, images = Watches(), data.load(name, "test")
    where = Context(
        net=net,
        images=images,
        dataset=name,
        mean=(0.5, 0.5, 0.5),
        device=torch.device("cpu"),
        batch_size=50,
        data_dir=Path("nowhere"),
    )
    found = make()
    list(found.run(where, found.conditions()))
    return net.seen


@pytest.mark.parametrize("name", SUITES)
def test_a_network_sees_the_same_however_the_path_is_written(name: str, spellings: list[str]) -> None:
    first, *others = (shown(SUITES[name], spelling) for spelling in spellings)
    for other in others:
        assert len(first) == len(other) and all(map(torch.equal, first, other))


def test_a_fraction_is_the_same_however_the_path_is_written(spellings: list[str]) -> None:
    chosen = {tuple(data.load(name, "train", fraction=0.25, seed=3).index.tolist()) for name in spellings}
    assert len(chosen) == 1


def test_a_fraction_of_files_is_the_same_wherever_they_lie(tmp_path: Path) -> None:
    part = layouts.items(2, 12, 300, 260)
    chosen = set()
    for place in ("a", "b/c"):
        top = layouts.folders(tmp_path / place, ["cat", "dog"], train=part, test=part[:1] + part[12:13])
        files = data.load(f"folder:{top}", "train", fraction=0.25)
        assert isinstance(files, data.Files)
        chosen.add(tuple(files.names.tolist()))
    assert len(chosen) == 1 and len(chosen.pop()) == 6


@pytest.mark.parametrize("side", [16, 260])
def test_a_file_system_that_spells_names_otherwise_changes_nothing(side: int, tmp_path: Path) -> None:
    part = layouts.items(2, 12, side, side)
    found = []
    for form in ("NFC", "NFD"):
        names = [unicodedata.normalize(form, name) for name in ("café", "tea")]
        files = [item._replace(name=unicodedata.normalize(form, f"é{item.name}")) for item in part]
        top = layouts.folders(tmp_path / form, names, train=files, test=files[:1] + files[12:13])
        found.append(data.load(f"folder:{top}", "train", fraction=0.25))
    assert found[0].digest() == found[1].digest() and found[0].index.tolist() == found[1].index.tolist()


def test_other_images_are_other_data(tmp_path: Path) -> None:
    keys = set()
    for seed in (0, 1):
        part = layouts.items(2, 3, 16, 16, seed=seed)
        top = layouts.folders(tmp_path / str(seed), ["cat", "dog"], train=part, test=part)
        keys.add(data.stream_key(f"folder:{top}", data.load(f"folder:{top}", "test")))
    assert len(keys) == 2 and all(key.startswith("sha256:") for key in keys)


@pytest.mark.parametrize("name", data.DATASETS)
def test_datasets_of_the_table_keep_their_keys(name: str) -> None:
    """Committed records hold what these keys drew."""
    assert data.stream_key(name, data.load("digits", "test")) == name


def test_the_fraction_of_the_digits_is_that_of_committed_records() -> None:
    train = data.load("digits", "train")
    ranked = sorted(range(1000), key=lambda i: hashlib.sha256(f"digits/5/{i}".encode()).digest())
    expected = [i for label in range(10) for i in [i for i in ranked if train.y[i] == label][:25]]
    assert data.load("digits", "train", fraction=0.25, seed=5).index.tolist() == sorted(expected)


def test_data_corrupt_writes_what_the_suite_generates(cli: Cli, spellings: list[str], tmp_path: Path) -> None:
    os.chdir(tmp_path)  # cli works in the same folder
    written = [tmp_path / str(i) for i in range(2)]
    for name, out in zip(spellings[:2], written, strict=True):
        (_, array) = as_json(cli("data", "corrupt", name, out, "--types", "gaussian_noise", "--json"))["files"]
        assert Path(array).parent == out / "pets-C"
    a, b = ((out / "pets-C" / "gaussian_noise.npy").read_bytes() for out in written)
    (seen,) = shown(SUITES["noise"], spellings[3])[:1]
    third = np.load(written[0] / "pets-C" / "gaussian_noise.npy")[2 * 24 : 3 * 24]
    assert a == b and torch.equal((seen * 255).round().to(torch.uint8).permute(0, 2, 3, 1), torch.from_numpy(third))
