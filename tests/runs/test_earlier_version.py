"""Run folders that an earlier version wrote: one half trained, one trained and evaluated. Both go on here."""

import json
import shutil
from pathlib import Path

import pytest

from catchup_bench.runs.folder import RunFolder
from tests.conftest import Cli, as_json

STORED = Path(__file__).with_name("of_version_0_1_0")
HALF = "digits-preactresnet10-w1-catchup-s0-a9df873cfc5c"
WHOLE = "digits-preactresnet10-w1-cutmix-s0-51b85812a65a"
WORDS = ("--fraction", 0.1, "--width", 1, "--precision", "fp32", "--json")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "runs"))


def test_a_half_trained_run_is_finished_under_its_name(cli: Cli, runs: Path) -> None:
    folder = RunFolder(runs / HALF)
    first = folder.metrics.read_text()
    done = as_json(cli("train", "--method", "catchup", "--epochs", 2, *WORDS))
    assert Path(done["folder"]).name == HALF and done["training"]["epochs"] == 2
    assert folder.finished and not folder.state.exists()
    lines = folder.metrics.read_text()
    assert lines.startswith(first) and [json.loads(line)["epoch"] for line in lines.splitlines()] == [1, 2]


def test_a_finished_run_keeps_its_outcomes_and_gets_more(cli: Cli, runs: Path) -> None:
    folder = RunFolder(runs / WHOLE)
    kept = folder.outcome("clean").read_bytes()
    assert Path(as_json(cli("train", "--method", "cutmix", "--epochs", 1, *WORDS))["folder"]).name == WHOLE
    found = as_json(cli("evaluate", runs / WHOLE, "--suite", "clean", "--suite", "calibration", "--json"))
    assert found[str(runs / WHOLE)]["clean"]["error"] == pytest.approx(100 * (1 - 77 / 797))
    assert folder.outcome("clean").read_bytes() == kept and len(found[str(runs / WHOLE)]) == 2


def test_outcomes_of_an_earlier_version_belong_to_what_it_evaluated(cli: Cli, runs: Path) -> None:
    folder = RunFolder(runs / WHOLE)
    stated = json.loads(folder.evaluation.read_text())
    for change, what in (({"test_sha256": "0" * 64}, "images"), ({"checkpoint": {"sha256": "0" * 64}}, "weights")):
        folder.evaluation.write_text(json.dumps(stated | change))
        result = cli("evaluate", runs / WHOLE, "--suite", "calibration")
        assert result.exit_code == 2 and f"clean.json was measured on other {what}" in result.stderr
    assert [path.stem for path in folder.outcomes.iterdir()] == ["clean"]
