"""Outcomes, states and finished runs belong to the images and the weights that they were made with."""

import json
import shutil
from pathlib import Path

import pytest

from catchup_bench.runs.folder import RunFolder
from tests.conftest import Cli, as_json
from tests.support import layouts

WORDS = (
    "--model",
    "preactresnet10",
    "--width",
    2,
    "--epochs",
    1,
    "--precision",
    "fp32",
    "--set",
    "recipe.batch_size=4",
)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder dataset of two classes, 4 training and 3 test images each."""
    train, test = layouts.items(2, 4, 16, 16), layouts.items(2, 3, 16, 16, seed=50)
    return layouts.folders(tmp_path / "pets", ["cat", "dog"], train=train, test=test)


def train(cli: Cli, pets: Path) -> RunFolder:
    return RunFolder(
        Path(as_json(cli("train", "--method", "baseline", "--dataset", f"folder:{pets}", *WORDS, "--json"))["folder"])
    )


def another_picture(folder: Path) -> Path:
    """Exchange the pixels of one image in ``folder``, under its name."""
    path = sorted(folder.rglob("*.JPEG"))[0]
    path.write_bytes(layouts.jpeg(999, 16, 16))
    return path


def test_outcomes_of_other_test_images_are_refused(cli: Cli, pets: Path) -> None:
    run = train(cli, pets)
    assert cli("evaluate", run.path, "--suite", "clean").exit_code == 0
    kept = {path.name: path.read_bytes() for path in [run.evaluation, *run.outcomes.iterdir()]}
    changed = another_picture(pets / "test")
    before = changed.read_bytes()
    for suite in ("clean", "calibration"):
        result = cli("evaluate", run.path, "--suite", suite)
        assert result.exit_code == 2 and "clean.json was measured on other images" in result.stderr
        assert {path.name: path.read_bytes() for path in [run.evaluation, *run.outcomes.iterdir()]} == kept
    shutil.rmtree(run.outcomes)
    assert cli("evaluate", run.path, "--suite", "clean").exit_code == 0
    assert changed.read_bytes() == before


def test_outcomes_of_other_weights_are_refused(cli: Cli, pets: Path) -> None:
    run = train(cli, pets)
    assert cli("evaluate", run.path, "--suite", "clean").exit_code == 0
    run.weights.unlink()
    run.training.unlink()
    another_picture(pets / "train")
    assert train(cli, pets) == run, "trained again, on other images, in the same folder"
    result = cli("evaluate", run.path, "--suite", "calibration")
    assert result.exit_code == 2 and "was measured on other weights" in result.stderr
    assert [path.stem for path in run.outcomes.iterdir()] == ["clean"]


def test_a_finished_run_of_other_images_is_refused(cli: Cli, pets: Path) -> None:
    run = train(cli, pets)
    stated = json.loads(run.training.read_text())["train_sha256"]
    (pets / "train" / "cat" / "more.JPEG").write_bytes(layouts.jpeg(7, 16, 16))
    result = cli("train", "--method", "baseline", "--dataset", f"folder:{pets}", *WORDS)
    assert result.exit_code == 2 and "was trained on other images" in result.stderr and stated[:12] in result.stderr
    assert json.loads(run.training.read_text())["train_sha256"] == stated
