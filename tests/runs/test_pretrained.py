"""Weights that a run begins with: torchvision's file, its digest, and the last layer that is new."""

import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from catchup_bench.errors import UsageError
from catchup_bench.runs import pretrained
from catchup_bench.runs.build import build_net
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import Run
from catchup_bench.system.files import file_digest

from ..conftest import Cli

NAME = "ResNet18_Weights.IMAGENET1K_V1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of torchvision's ResNet-18, named with its own digest."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18()
    folder = tmp_path_factory.mktemp("weights")
    torch.save(net.state_dict(), folder / "new")
    return (folder / "new").rename(folder / f"resnet18-{file_digest(folder / 'new')[:8]}.pth")


@pytest.fixture
def data_dir(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that has the file where it belongs; no other place has any."""
    monkeypatch.setattr(pretrained, "weights_url", lambda name: f"https://example.org/{weights.name}")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    (tmp_path / "data" / "checkpoints").mkdir(parents=True)
    (tmp_path / "data" / "checkpoints" / weights.name).hardlink_to(weights)
    return tmp_path / "data"


def fine_tuned(model: str = "resnet18") -> Run:
    return make_run("baseline", "digits", model=model, width=64, overrides={"pretrained": NAME})


def loaded(run: Run, data_dir: Path) -> torch.nn.Module:
    net = build_net(run.model, "digits", torch.device("cpu"))
    pretrained.load_pretrained(net, run, data_dir)
    return net.eval()


@torch.no_grad()
def test_features_are_those_of_torchvisions_network_and_the_last_layer_is_new(data_dir: Path, weights: Path) -> None:
    run = fine_tuned()
    net, fresh = loaded(run, data_dir), build_net(run.model, "digits", torch.device("cpu"))
    theirs = torchvision.models.resnet18()
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    theirs.eval().fc = torch.nn.Identity()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    ours: Tensor = net.head.features(net(x, stop=len(net.stages)))  # type: ignore[operator,union-attr,arg-type]
    torch.testing.assert_close(ours, theirs((x - net.mean) / net.std), rtol=1e-4, atol=1e-4)
    assert torch.equal(net.head.linear.weight, fresh.head.linear.weight)  # type: ignore[union-attr]


def test_torchvisions_own_folder_is_looked_in_too(data_dir: Path, weights: Path, tmp_path: Path) -> None:
    shutil.move(data_dir / "checkpoints", tmp_path / "hub" / "hub" / "checkpoints")
    assert pretrained.pretrained_file(NAME, data_dir) == tmp_path / "hub" / "hub" / "checkpoints" / weights.name


def test_what_is_missing_damaged_or_another_network_is_one_line(data_dir: Path, weights: Path) -> None:
    with pytest.raises(UsageError, match="is of another network than this"):
        loaded(fine_tuned("preactresnet18"), data_dir)
    path = data_dir / "checkpoints" / weights.name
    path.unlink()
    with pytest.raises(UsageError, match=rf"{path} is missing, .*put https://example\.org/{weights.name} there"):
        loaded(fine_tuned(), data_dir)
    path.write_bytes(b"damaged")
    with pytest.raises(UsageError, match="its SHA-256 does not begin with"):
        loaded(fine_tuned(), data_dir)


def test_names_are_torchvisions() -> None:
    assert pretrained.weights_url(NAME).endswith("/resnet18-f37072fd.pth")
    with pytest.raises(UsageError, match=r"did you mean ResNet18_Weights\.IMAGENET1K_V1"):
        pretrained.weights_url("ResNet18_Weights.IMAGENET1K")


def test_they_are_a_part_of_a_runs_identity_only_where_there_are_any() -> None:
    assert "pretrained" not in make_run("baseline").identity["recipe"]
    assert fine_tuned().identity["recipe"]["pretrained"] == NAME


@pytest.mark.usefixtures("in_process")
def test_a_board_says_once_what_is_missing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    (tmp_path / "leaderboards").mkdir()
    result = cli("leaderboard", "run", "table7", "--data-dir", "data")
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2 and len(lines) == 1
    assert "checkpoints/resnet18-f37072fd.pth is missing" in lines[0] and not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("data_dir")
def test_training_begins_with_them(cli: Cli, tmp_path: Path) -> None:
    words = ["--width", 64, "--fraction", 0.02, "--set", f"recipe.pretrained={NAME}", "--data-dir", "data"]
    assert cli("train", "--method", "baseline", "--model", "resnet18", *words, "--dry-run").exit_code == 0
    shutil.rmtree(tmp_path / "data")
    result = cli("train", "--method", "baseline", "--model", "resnet18", *words)
    assert result.exit_code == 2 and "is missing, which recipe.pretrained" in result.stderr
    assert not (tmp_path / "runs").exists()
