"""Replay: a run repeated from its description, and a record trained again and compared."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from catchup_bench import boards
from catchup_bench.leaderboard.statistics import critical
from catchup_bench.records.described import DescribedRun
from catchup_bench.records.outcomes import collect_record
from catchup_bench.records.record import Outcome, unpack, write_record
from catchup_bench.runs.folder import read_run
from catchup_bench.training import loop
from catchup_bench.verification import reproduction
from tests.cli.test_cli import TINY
from tests.conftest import Cli, as_json
from tests.support.stored_records import written_out

SMALL = ["--fraction", "0.25", "--width", "4", "--epochs", "1", "--seed", "4", "--set", "cutmix.alpha=0.5"]


def test_a_run_is_repeated_from_its_record_and_its_description(cli: Cli, tmp_path: Path) -> None:
    """To the same bytes, from a folder and from a record, with nothing else said."""
    first = tmp_path / as_json(cli("train", "--method", "cutmix", *SMALL, "--json"))["folder"]
    weights = (first / "last.safetensors").read_bytes()
    as_json(cli("evaluate", first, "--suite", "clean", "--json"))
    write_record(collect_record(first), tmp_path / "record.json")
    for i, source in enumerate((first, tmp_path / "record.json")):
        again = as_json(cli("train", "--from", source, "--runs", f"again{i}", "--json"))
        assert Path(again["folder"]).name == first.name
        assert (tmp_path / again["folder"] / "last.safetensors").read_bytes() == weights
    bare = tmp_path / "alone.json"
    shutil.copy(first / "run.json", bare)
    assert as_json(cli("train", "--from", bare, "--dry-run", "--json"))["run"] == json.loads(bare.read_text())


def test_a_run_is_repeated_with_its_threads(
    cli: Cli, tmp_path: Path, trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where it cannot be as it was, that is said."""
    first = tmp_path / "first"
    shutil.copytree(trained_run, first)
    facts = json.loads((first / "training.json").read_text())
    (first / "training.json").write_text(json.dumps(facts | {"threads": 3, "precision": "tf32"}))
    asked: list[int | None] = []

    def train(run: Any, runs: Path, *, threads: int | None, **_: Any) -> Path:
        asked.append(threads)
        return trained_run

    monkeypatch.setattr(loop, "train", train)
    result = cli("train", "--from", first / "run.json")
    assert result.exit_code == 0 and f"precision tf32 → {facts['precision']}" in result.stderr
    assert "not as it was described: threads 3 → 1" in result.stderr
    cli("train", "--from", first, "--threads", "2")
    assert asked == [3, 2]
    on_gpu = DescribedRun(read_run(first), {"threads": 3, "device": "NVIDIA H200"})
    assert on_gpu.threads is None  # there the number changes nothing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--from run.json --epochs 2 --seed 1", "leave out --epochs, --seed"),
        ("--from run.json --dataset digits", "leave out --dataset"),
        ("--from absent.json", "absent.json"),
        ("--from list.json", "list.json does not describe a run"),
        ("--from loaded.json", "was not trained here: there is nothing to repeat"),
        ("", "train needs --method NAME, or --from"),
    ],
)
def test_what_cannot_be_repeated_is_said(cli: Cli, tmp_path: Path, trained_run: Path, words: str, message: str) -> None:
    shutil.copy(trained_run / "run.json", tmp_path)
    (tmp_path / "list.json").write_text("[1]")
    external = {
        "digest": "0" * 12, "checkpoint": {}, "test_sha256": "0" * 64, "training": {}, "evaluated": [], "outcomes": {},
        "loaded": {"checkpoint": "robustbench:Standard", "dataset": {"name": "cifar10"}},
    }  # fmt: skip
    (tmp_path / "loaded.json").write_text(json.dumps(external))
    before = sorted(tmp_path.rglob("*"))
    result = cli("train", *words.split())
    assert result.exit_code == 2 and message in result.stderr and len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def tiny(cli: Cli, tmp_path: Path, in_process: None) -> Path:
    """A board of two seeds, run; the record of its first."""
    (tmp_path / "tiny.toml").write_text(TINY.replace("seeds = [0]", "seeds = [0, 1]"))
    (tmp_path / "leaderboards").mkdir()
    as_json(cli("leaderboard", "run", "tiny.toml", "--only", "method=catchup", "--json"))
    return next((tmp_path / "leaderboards").rglob("catchup/seed0.json"))


def reproduced(cli: Cli, record: Path, code: int, *words: str) -> Any:
    result = cli("leaderboard", "reproduce", record, "--board", "tiny.toml", "--json", *words)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_record_is_reproduced_to_the_bit_or_to_the_interval(
    cli: Cli, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same code gives the same bits. Other weights, as another processor may give, are judged by the interval that
    is computed here from the two seeds."""
    found = reproduced(cli, tiny, 0)
    assert found["verdict"] == "same bits" and found["weights"] and not any(found["differing"].values())
    assert found["value"] == found["before"] and found["seeds"] == 2
    plain = cli("leaderboard", "reproduce", tiny, "--board", "tiny.toml")
    assert "the same bits: the outcomes of all 2 conditions; the same file" in plain.stdout and plain.exit_code == 0

    record = written_out(tiny)
    bits = unpack(record["outcomes"]["clean"]["bits"], 797)
    bits[:2] = ~bits[:2]  # as if it were trained on another processor
    record["outcomes"]["clean"] |= Outcome.of(bits, "clean", {}).model_dump(include={"bits", "correct"})
    record["checkpoint"]["sha256"] = "0" * 64
    tiny.write_text(json.dumps(record))
    values = [error_of(tmp_path, tiny, seed, found["column"]) for seed in (0, 1)]
    mean, half = sum(values) / 2, abs(values[0] - values[1]) / 2**0.5 * critical(0.05, 1) * (1 + 1 / 2) ** 0.5
    elsewhere = reproduced(cli, tiny, 0)
    assert elsewhere["verdict"] == "inside" and not elsewhere["weights"]
    assert elsewhere["interval"] == pytest.approx([mean - half, mean + half]) and elsewhere["before"] == values[0]
    assert elsewhere["differing"] == {"clean": 2, "fgsm-4": 0} and elsewhere["value"] == found["value"]

    monkeypatch.setattr(reproduction, "prediction", lambda values: (values.mean + 1, values.mean + 2))
    assert reproduced(cli, tiny, 4)["verdict"] == "outside"
    monkeypatch.setattr(reproduction, "prediction", lambda values: None)
    assert reproduced(cli, tiny, 4)["verdict"] == "one seed"


def error_of(root: Path, record: Path, seed: int, column: str) -> float:
    """The value of a seed in a column of errors, from the numbers of correct images alone."""
    outcomes = written_out(record.with_name(f"seed{seed}.json"))["outcomes"]
    made = boards.load(str(root / "tiny.toml"))
    weights = made.weights(made.column(column))
    return sum(float(w) * 100 * (1 - outcomes[c]["correct"] / outcomes[c]["n"]) for (_, c), w in weights.items())


def test_a_record_of_other_images_or_elsewhere_is_not_trained(cli: Cli, tmp_path: Path, tiny: Path) -> None:
    record = written_out(tiny)
    for key, said in (
        ("test_sha256", "its test images are not those"),
        ("train_sha256", "its training images are not"),
    ):
        changed = json.loads(json.dumps(record))
        (changed if key == "test_sha256" else changed["training"])[key] = "0" * 64
        tiny.write_text(json.dumps(changed))
        result = cli("leaderboard", "reproduce", tiny, "--board", "tiny.toml")
        assert result.exit_code == 4 and said in result.stderr
    tiny.write_text(json.dumps(record))
    stray = tmp_path / "stray.json"
    shutil.copy(tiny, stray)
    result = cli("leaderboard", "reproduce", stray, "--board", "tiny.toml")
    assert result.exit_code == 2 and "give the record of a board there" in result.stderr
    assert not (tmp_path / "runs" / "reproduced").exists()
