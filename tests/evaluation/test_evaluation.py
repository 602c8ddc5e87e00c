"""Evaluating in parts, after a kill, and what is said meanwhile: always the outcomes of one undisturbed evaluation."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench.cli.progress import EvaluationBar, time_left
from catchup_bench.errors import UsageError
from catchup_bench.records.outcomes import collect_record, read_outcomes
from catchup_bench.records.record import Outcome, write_record
from catchup_bench.system.slices import Slice
from tests.conftest import Cli, as_json

SUITES = ("--suite", "clean", "--suite", "fgsm", "--suite", "deformation", "--set", "fgsm.eps=2,4")

CONDITIONS = 11


def copy(run: Path, folder: Path) -> Path:
    """The run, without what was evaluated of it, under the same name in another folder."""
    target = folder / run.name
    shutil.copytree(run, target, ignore=shutil.ignore_patterns("outcomes", "evaluation.json"))
    return target


def findings(run: Path) -> dict[str, Any]:
    """The record, without who evaluated what and when."""
    found = collect_record(run).model_dump(mode="json", exclude={"evaluated": True})
    for outcome in found["outcomes"].values():
        del outcome["provenance"]
    return found


@pytest.fixture(scope="session")
def evaluated(only_trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, evaluated in one go."""
    from typer.testing import CliRunner

    from catchup_bench.cli import app

    run = copy(only_trained_run, tmp_path_factory.mktemp("whole"))
    done = CliRunner().invoke(app, ["evaluate", str(run), *SUITES])
    assert done.exit_code == 0, done.output
    assert len(read_outcomes(run)) == CONDITIONS
    return run


@given(st.integers(1, 12), st.integers(0, 40), st.text(max_size=5))
def test_parts_share_nothing_and_leave_nothing_out(n: int, count: int, owner: str) -> None:
    items = [str(i) for i in range(count)]
    parts = [Slice(i, n).take(owner, items) for i in range(1, n + 1)]
    assert sorted((item for part in parts for item in part), key=int) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_single_items_of_many_owners_are_shared_out() -> None:
    sizes = [sum(bool(Slice(i, 4).take(f"run {k}", ["clean"])) for k in range(100)) for i in range(1, 5)]
    assert sum(sizes) == 100 and min(sizes) > 10


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "-1/2", "1.5/2", "a/b", "1/2/3", " 1/2", "1/9999999"])
def test_bad_slices_are_one_line(cli: Cli, trained_run: Path, text: str) -> None:
    result = cli("evaluate", trained_run, "--slice", text)
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1 and "1 ≤ i ≤ n" in result.stderr
    with pytest.raises(UsageError):
        Slice.parse(text)


def test_parts_in_one_folder_give_the_record_of_the_whole(
    cli: Cli, trained_run: Path, evaluated: Path, tmp_path: Path
) -> None:
    run = copy(trained_run, tmp_path)
    sizes = []
    for i in (2, 1, 3):
        done = cli("evaluate", run, *SUITES, "--slice", f"{i}/3")
        assert done.exit_code == 0, done.stderr
        sizes.append(len(read_outcomes(run)))
        assert ("evaluated so far" in done.stdout) == (i != 3)
    assert sizes == [4, 8, 11] or sizes == [4, 7, 11] or sizes == [3, 7, 11]
    assert findings(run) == findings(evaluated)


def test_parts_of_different_folders_are_merged_into_the_record_of_the_whole(
    cli: Cli, trained_run: Path, evaluated: Path, tmp_path: Path
) -> None:
    runs = [copy(trained_run, tmp_path / f"machine{i}") for i in (1, 2)]
    for i, run in enumerate(runs, 1):
        assert cli("evaluate", run, *SUITES, "--slice", f"{i}/2").exit_code == 0
    taken = as_json(cli("merge", *runs, "--json"))["taken"]
    assert len(taken) in (5, 6) and findings(runs[0]) == findings(evaluated)
    assert as_json(cli("merge", *runs, "--json"))["taken"] == []
    record = tmp_path / "record.json"
    write_record(collect_record(runs[0]), record)
    assert as_json(cli("verify", record, "--json"))["conditions"] == CONDITIONS


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("file", "change", "code", "words"),
    [
        ("evaluation.json", lambda v: v["checkpoint"].update(sha256="0"), 2, "other weights or test images"),
        ("evaluation.json", lambda v: v.update(test_sha256="0"), 2, "other weights or test images"),
        (
            "outcomes/clean.json",
            lambda v: v["outcome"]["protocol"].update(version=0),
            2,
            "clean .* another protocol",
        ),
        ("outcomes/clean.json", lambda v: v["outcome"].update(bits="AAAA"), 4, "clean in .* other outcomes"),
        ("outcomes/clean.json", lambda v: v["outcome"].update(bits=3), 2, "is not an outcome"),
    ],
)
def test_what_does_not_belong_together_is_not_merged(
    cli: Cli, evaluated: Path, tmp_path: Path, file: str, change: Any, code: int, words: str
) -> None:
    into, other = (Path(shutil.copytree(evaluated, tmp_path / name)) for name in ("into", "other"))
    (into / "outcomes" / "fgsm-4.json").unlink()
    edit(other / file, change)
    result = cli("merge", into, other)
    assert result.exit_code == code and re.search(words, result.stderr)
    assert not (into / "outcomes" / "fgsm-4.json").exists()


def test_folders_without_an_evaluation_are_refused(cli: Cli, evaluated: Path, tmp_path: Path) -> None:
    result = cli("merge", evaluated, tmp_path)
    assert result.exit_code == 2 and "no evaluation at" in result.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_evaluation_goes_on_to_the_same_outcomes(
    cli: Cli, trained_run: Path, evaluated: Path, tmp_path: Path, how: signal.Signals
) -> None:
    run = copy(trained_run, tmp_path)
    command = [sys.executable, "-m", "catchup_bench", "evaluate", str(run), *SUITES]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list(run.glob("outcomes/*.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(how)
    _, said = child.communicate(timeout=60)
    assert child.returncode == (130 if how == signal.SIGINT else -how), said
    assert 0 < len(read_outcomes(run)) < CONDITIONS
    assert cli("evaluate", run, *SUITES).exit_code == 0
    assert findings(run) == findings(evaluated)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_what_the_suites_took(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with EvaluationBar("evaluating", clock=clock) as bar:
        bar.begin([("clean", 1.0), *[("fgsm", 4.0)] * 2, *[("corruption", 1.0)] * 95])
        steps = [("clean", 2.0), ("fgsm", 12.0), ("fgsm", 4.0), *[("corruption", 3.0)] * 95]
        left = []
        for suite, seconds in steps:
            clock.now += seconds
            bar.condition(suite, Outcome.of(np.ones(4, bool), suite, {}))
            left.append(bar.seconds_left())
    assert left[0] == pytest.approx(2 * 8 + 95 * 2)  # nothing but clean is known: two seconds a pass
    assert left[1] == pytest.approx(12 + 95 * 14 / 5)
    assert left[3] == pytest.approx(94 * 3) and left[-1] == pytest.approx(0)
    lines = capsys.readouterr().err.splitlines()
    assert "evaluating: 2 of 98 conditions, about 5 min left" in lines
    assert 20 < len(lines) < 40  # one in ten seconds, not one a condition


def test_times_are_said_in_units_that_can_be_read() -> None:
    assert [time_left(s) for s in (-1.0, 20.4, 120.0, 9000.0)] == [
        "about 0 s left",
        "about 20 s left",
        "about 2 min left",
        "about 2.5 h left",
    ]


def test_a_plain_line_now_and_then(cli: Cli, trained_run: Path, tmp_path: Path) -> None:
    run = copy(trained_run, tmp_path)
    first = cli("evaluate", run, "--suite", "deformation")
    assert first.exit_code == 0 and len(first.stderr.splitlines()) <= 2
    assert "nothing missing" in cli("evaluate", run, "--suite", "deformation").stderr


def test_suspicions_are_in_the_json(cli: Cli, evaluated: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(evaluated, tmp_path / evaluated.name))
    edit(run / "outcomes" / "fgsm-4.json", lambda v: v["outcome"]["values"].update(suspicious=["no gradients"]))
    (found,) = as_json(cli("evaluate", run, *SUITES, "--json")).values()
    assert "no gradients" in found["fgsm-4"]["suspicious"] and found["clean"]["suspicious"] == []


def test_a_dry_run_lists_what_is_missing_of_the_part(cli: Cli, trained_run: Path, tmp_path: Path) -> None:
    run = copy(trained_run, tmp_path)
    parts = [as_json(cli("evaluate", run, *SUITES, "--slice", s, "--dry-run", "--json")) for s in ("1/2", "2/2")]
    lacking = [condition for part in parts for condition in part["missing"][str(run)]]
    assert len(lacking) == len(set(lacking)) == CONDITIONS and not (run / "outcomes").exists()


@pytest.fixture(scope="session")
def scored(only_trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with a suite of scores and one of points."""
    from catchup_bench import data
    from catchup_bench.evaluation.evaluate import evaluate
    from catchup_bench.evaluation.evaluated_model import trained_model
    from catchup_bench.suites import make_suites

    cpu = torch.device("cpu")
    run = copy(only_trained_run, tmp_path_factory.mktemp("scored"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data.DATASETS, "other", data.DATASETS["digits"])
        evaluate(trained_model(run, cpu), make_suites(["ood", "calibration"], {"ood": {"out": "other"}}), device=cpu)
    write_record(collect_record(run), run / "record.json")
    return run / "record.json"


@pytest.mark.parametrize(
    ("condition", "change", "words"),
    [
        ("ood-other", lambda v: v["metrics"]["msp"].update(auroc=99.0), "metrics msp auroc is stated as 99.0"),
        ("ood-other", lambda v: v["metrics"]["energy"].update(fpr95_closest=1.0), "metrics energy fpr95_closest"),
        ("ood-other", lambda v: v["metrics"]["msp"].update(aupr_out="50"), "metrics msp aupr_out"),
        ("ood-other", lambda v: v["metrics"]["msp"].pop("aupr_in"), "metrics msp has aupr_in on one side only"),
        ("ood-other", lambda v: v.update(n_out=3), "n_out is stated as 3"),
        ("ood-other", lambda v: v["scores"]["msp"].update(out="AAAA"), "damaged"),
        ("ood-other", lambda v: v["scores"]["msp"].update(out="AAAAAA=="), "different numbers of images|damaged"),
        ("ood-other", lambda v: v.pop("scores"), "damaged"),
        ("calibration", lambda v: v.update(ece=0.1), "ece is stated as 0.1"),
        ("calibration", lambda v: v["points"][0].update(accuracy=0.5, n=1), "its points|ece is stated"),
        ("calibration", lambda v: v.update(points=[]), "damaged"),
    ],
)
def test_tampered_numbers_are_refused(
    cli: Cli, scored: Path, tmp_path: Path, condition: str, change: Any, words: str
) -> None:
    record = Path(shutil.copy(scored, tmp_path))
    assert as_json(cli("verify", record, "--json")) == {"level": 1, "conditions": 2, "differing": {}}
    edit(record, lambda v: change(v["outcomes"][condition]["values"]))
    result = cli("verify", record)
    assert result.exit_code == 4 and re.search(f"{condition}: .*({words})", result.stderr), result.stderr


@pytest.mark.parametrize("fits", [30, 0])
def test_batches_are_halved_until_they_fit(
    trained_run: Path, evaluated: Path, tmp_path: Path, fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device whose memory holds ``fits`` images."""
    from dataclasses import replace

    from catchup_bench.errors import RunFailed
    from catchup_bench.evaluation.evaluate import evaluate
    from catchup_bench.evaluation.evaluated_model import trained_model
    from catchup_bench.suites import make_suites

    cpu = torch.device("cpu")
    model = trained_model(copy(trained_run, tmp_path), cpu)

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model.net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > fits and x.any():  # the look at its outputs, at black images, is not what is tested
                raise torch.OutOfMemoryError
            return self.net(x)

    suites = make_suites(["clean", "deformation"], {})
    small = replace(model, net=Small())
    if fits:
        found = evaluate(small, suites, device=cpu, threads=1)
        assert found == {name: o for name, o in read_outcomes(evaluated).items() if not name.startswith("fgsm")}
    else:
        with pytest.raises(RunFailed, match="does not hold one image"):
            evaluate(small, suites, device=cpu, threads=1)
