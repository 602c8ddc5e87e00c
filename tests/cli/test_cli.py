"""The command line end to end: real digits, exit codes, JSON, one line for bad input."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
import typer

from catchup_bench import registry
from catchup_bench.cli import app, options
from catchup_bench.cli.doctor import lines_of
from catchup_bench.cli.progress import TrainingBar
from catchup_bench.cli.tables import print_outcomes
from catchup_bench.engines import choose_engine
from catchup_bench.errors import UsageError
from catchup_bench.recipes import Recipe
from tests.conftest import Cli, as_json
from tests.runs.test_run import MINE
from tests.support.method_file import write_method
from tests.support.stored_records import written_out

SMALL = ["--fraction", "0.25", "--width", "4", "--epochs", "1"]


def test_train_then_evaluate_with_nothing_else_said(cli: Cli) -> None:
    trained = cli("train", "--method", "catchup", *SMALL)
    assert trained.exit_code == 0, trained.stderr
    folder = trained.stdout.splitlines()[0]
    evaluated = cli("evaluate", "--suite", "robustness")
    assert evaluated.exit_code == 0, evaluated.stderr
    assert "zoom-140" in evaluated.stdout and Path(folder).name in evaluated.stdout
    assert len(list(Path(folder, "outcomes").iterdir())) == 105


def test_evaluating_again_does_nothing_anew(cli: Cli, trained_run: Path) -> None:
    first = as_json(cli("evaluate", trained_run, "--suite", "clean", "--json"))
    stamp = (trained_run / "outcomes" / "clean.json").stat().st_mtime_ns
    assert as_json(cli("evaluate", trained_run, "--suite", "clean", "--json")) == first
    assert (trained_run / "outcomes" / "clean.json").stat().st_mtime_ns == stamp


def test_a_lost_condition_comes_back_the_same(cli: Cli, trained_run: Path) -> None:
    words = ("evaluate", trained_run, "--suite", "deformation", "--json")
    before = as_json(cli(*words))
    (trained_run / "outcomes" / "shear-57.2.json").unlink()
    assert as_json(cli(*words)) == before


def test_a_run_of_an_edited_method_does_not_stop_the_others(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    for text in (MINE, MINE + "# edited\n"):
        mine.write_text(text)
        assert cli("train", "--method", "./mine.py", *SMALL).exit_code == 0
    found = cli("evaluate", "--suite", "clean")
    assert found.exit_code == 0 and found.stderr.count("is left out: ") == 1 and "has changed since" in found.stderr
    assert len(list(tmp_path.glob("runs/*/outcomes/clean*"))) == 1
    mine.unlink()
    gone = cli("evaluate", "--suite", "fgsm")
    assert gone.exit_code == 2 and "is gone: bring it back" in gone.stderr
    assert len(gone.stderr.strip().splitlines()) == 1


def test_an_external_method_trains_by_its_path(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    run = as_json(cli("train", "--method", "./mine.py", "--set", "mine.strength=0.5", "--json", *SMALL))
    assert run["run"]["method"]["name"] == "mine" and run["run"]["method"]["options"]["strength"] == 0.5
    assert as_json(cli("verify", "--method", "./mine.py", "--json"))["inputs are untouched"]["ok"]
    assert as_json(cli("evaluate", "--suite", "clean", "--json"))


def test_a_checkpoint_is_evaluated_alone(cli: Cli, trained_run: Path) -> None:
    alone = as_json(cli("evaluate", "--checkpoint", trained_run / "last.safetensors", "--suite", "clean", "--json"))
    ours = as_json(cli("evaluate", trained_run, "--suite", "clean", "--json"))
    assert next(iter(alone.values())) == {"clean": next(iter(ours.values()))["clean"]}


def test_dry_run_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    assert "one step works" in cli("train", "--method", "manifold", "--dry-run", *SMALL).stdout
    assert as_json(cli("demo", "--dry-run", "--json"))["missing"]
    assert not list(tmp_path.rglob("*.safetensors")) and not (tmp_path / "runs").exists()


TINY = """
title = "Tiny"
question = "Does it run?"
methods = ["baseline", "catchup"]
seeds = [0]
rank = "err"
[[setups]]
dataset = "digits"
fraction = 0.25
model = "preactresnet10"
width = 4
recipe = "digits"
overrides = { epochs = 1 }
suites = ["clean", "fgsm"]
[[columns]]
name = "err"
conditions = ["clean"]
"""


def test_a_board_is_run_rendered_checked_and_verified(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "tiny.toml").write_text(TINY)
    rows = as_json(cli("leaderboard", "run", "tiny.toml", "--workers", 1, "--json"))["rows"]
    assert {r["label"] for r in rows} == {"baseline", "catchup"} and all(r["n"] == 1 and r["cost"] > 0 for r in rows)
    assert cli("leaderboard", "check", "tiny.toml").exit_code == 0
    again = cli("leaderboard", "run", "tiny.toml")
    assert again.exit_code == 0 and "nothing missing" in again.stderr
    record = next((tmp_path / "leaderboards" / "results").rglob("catchup/seed0.json"))
    run = next((tmp_path / "runs").glob("*catchup*"))
    assert as_json(cli("verify", record, "--json"))["level"] == 1
    verdict = as_json(cli("verify", record, "--run", run, "--keep", "--json"))
    assert verdict == {"level": 2, "conditions": 2, "differing": {"clean": 0, "fgsm-4": 0}}
    other = cli("verify", record, "--run", next((tmp_path / "runs").glob("*baseline*")))
    assert other.exit_code == 4 and "is of run" in other.stderr, "a folder does not choose what is verified"
    page = tmp_path / "leaderboards" / "tiny.md"
    cli("leaderboard", "render", "tiny.toml")
    assert ["●●○○" in line for line in page.read_text().splitlines() if "| catchup |" in line] == [True]
    assert ["●●○○" in line for line in page.read_text().splitlines() if "| baseline |" in line] == [False]
    record.write_text(record.read_text() + "\n")
    cli("leaderboard", "render", "tiny.toml")
    assert "●●○○" not in page.read_text(), "what was kept is of other bytes"
    page.write_text(page.read_text() + "\n")
    checked = cli("leaderboard", "check", "tiny.toml")
    assert checked.exit_code == 4 and "leaderboards/tiny.md: not what the records give" in checked.stderr
    flip(record)
    assert cli("verify", record, "--run", run).exit_code == 4


@pytest.mark.usefixtures("in_process")
def test_a_network_of_others_is_a_row_that_says_so(cli: Cli, tmp_path: Path, trained_run: Path) -> None:
    import hashlib

    (tmp_path / "leaderboards").mkdir()
    weights = tmp_path / "data" / "checkpoints" / "theirs.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes((trained_run / "last.safetensors").read_bytes())
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    extra = f'[[loaded]]\nlabel = "theirs"\ncheckpoint = "theirs.safetensors"\nsha256 = "{sha256}"\n'
    (tmp_path / "tiny.toml").write_text(TINY.replace(', "catchup"', "") + extra)
    words = ("leaderboard", "run", "tiny.toml", "--workers", 1, "--data-dir", tmp_path / "data")
    rows = {r["label"]: r for r in as_json(cli(*words, "--json"))["rows"]}
    assert rows["theirs"]["loaded"] and rows["theirs"]["cost"] is None and not rows["baseline"]["loaded"]
    assert "| theirs (loaded) |" in (tmp_path / "leaderboards" / "tiny.md").read_text()
    assert "nothing missing" in cli(*words).stderr
    record = next((tmp_path / "leaderboards" / "results").rglob("theirs/seed0.json"))
    found = json.loads(record.read_text())
    assert "run" not in found and found["loaded"]["sha256"] == sha256 == found["checkpoint"]["sha256"]
    again = cli("verify", record, "--run", tmp_path / "runs", "--data-dir", tmp_path / "data", "--json")
    assert as_json(again)["level"] == 2
    weights.write_bytes(weights.read_bytes() + b" ")
    shutil.rmtree(tmp_path / "leaderboards" / "results")
    refused = cli(*words, "--only", "method=theirs")
    assert refused.exit_code == 1 and "is another file" in refused.stderr


@pytest.mark.usefixtures("in_process")
def test_a_failed_run_is_shown_so_and_tried_again_only_when_asked(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "leaderboards").mkdir()
    broken = TINY.replace(', "catchup"', "").replace("epochs = 1", 'epochs = 1, lr = 1e18, precision = "fp32"')
    (tmp_path / "tiny.toml").write_text(broken)
    words = ("leaderboard", "run", "tiny.toml", "--workers", 1)
    first = cli(*words)
    assert first.exit_code == 1 and "no longer finite" in first.stderr
    page = (tmp_path / "leaderboards" / "tiny.md").read_text()
    assert "| baseline | failed |" in page and "| 0, 1 failed |" in page
    second = cli(*words)
    assert second.exit_code == 0 and "--retry-failed" in second.stderr and "nothing missing" in second.stderr
    again = cli(*words, "--retry-failed")
    assert again.exit_code == 1 and "no longer finite" in again.stderr


def flip(record: Path) -> None:
    """Claim a tenth of the images more as right, bits and count alike."""
    from catchup_bench.records.record import pack, unpack

    value = written_out(record)
    clean = value["outcomes"]["clean"]
    bits = unpack(clean["bits"], clean["n"])
    bits[:80] = True
    clean.update(bits=pack(bits), correct=int(bits.sum()))
    record.write_text(json.dumps(value))


@pytest.mark.parametrize("kind", ["methods", "datasets", "models", "suites", "recipes", "boards"])
def test_lists_are_complete_as_text_and_json(cli: Cli, kind: str) -> None:
    names = as_json(cli("list", kind, "--json"))
    assert names and all(name in cli("list", kind).stdout for name in names)
    assert [e["name"] for e in as_json(cli("list", kind, "--long", "--json"))] == names
    assert all(name in cli("list", kind, "--long").stdout for name in names)


def test_every_method_is_listed_with_its_paper_and_options(cli: Cli) -> None:
    entries = {e["name"]: e for e in as_json(cli("list", "methods", "--long", "--json"))}
    assert entries.keys() == set(registry.methods())
    assert entries["catchup"]["per dataset"]["cifar100"] == {"alpha": 1.0}
    assert all(e["paper"] and e["year"] > 1990 and e["level"] and e["passes"] for e in entries.values())


def test_methods_are_listed_with_what_they_cost_on_boards_here(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not any(e["cost"] for e in as_json(cli("list", "methods", "--long", "--json")))
    for setup, text in (
        ("a/narrow", '{"methods": {"cutmix": {"ratio": 1.25}}}'),
        ("b/narrow", "no JSON"),
        ("c/narrow", '{"methods": {"cutmix": {"ratio": 1.503}, "moex": {"ratio": 1.1}}}'),
        ("c/wide", '{"methods": {"cutmix": {"ratio": 1.4}}}'),
    ):
        folder = tmp_path / "leaderboards" / "results" / setup
        folder.mkdir(parents=True)
        (folder / "cost.json").write_text(text)
    listed = {e["name"]: e for e in as_json(cli("list", "methods", "--long", "--json"))}
    assert {name: e["cost"] for name, e in listed.items() if e["cost"]} == {"cutmix": "×1.25–1.50", "moex": "×1.10"}
    assert listed["cutmix"]["cost by setup"] == {"a/narrow": 1.25, "c/narrow": 1.5, "c/wide": 1.4}


def test_doctor_says_which_robustbench_is_there(cli: Cli) -> None:
    found = as_json(cli("doctor", "--json"))
    assert found["robustbench on disk"] in ("robustbench", "torchattacks") and found["data"]["digits"] == "embedded"


def test_a_method_that_breaks_the_contract_ends_with_4(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        MINE.replace("net(x)", "net(x.mul_(1.0))").replace("self.strength *", "float('inf') *")
    )
    result = cli("verify", "--method", "mine.py")
    assert result.exit_code == 4 and "loss is finite" in result.stderr and "✗" in result.stdout


BAD = [
    ("train --method catchupp", "did you mean catchup"),
    ("train --method catchup --dataset digit", "did you mean digits"),
    ("train --method catchup --recipe digit", "did you mean digits"),
    ("train --method catchup --set recipe.epoch=3", "did you mean epochs"),
    ("train --method catchup --set catchup.alfa=3", "did you mean alpha"),
    ("train --method catchup --fraction 0", "--fraction 0.0"),
    ("train --method catchup --fraction 2", "--fraction 2.0"),
    ("train --method catchup --epochs -3", "epochs = -3"),
    ("train --method catchup --dataset cifar100 --data-dir nowhere", "catchup-bench data fetch cifar100"),
    ("train --method broken.py", "broken.py, line 1: not valid Python"),
    ("train --method empty.py", "exactly one public Method class; it defines 0"),
    ("evaluate --suite robust", "did you mean robustness"),
    ("evaluate nowhere", "names no run in runs"),
    ("evaluate --set fgsm.eps=-1 --suite fgsm", "eps = (-1.0,)"),
    ("evaluate --checkpoint model.pt", "is not a whole PyTorch file"),
    ("evaluate --checkpoint absent.safetensors", "no checkpoint at"),
    ("evaluate --checkpoint robustbench:Wong2020Fast", "needs --dataset"),
    ("leaderboard run digit --root .", "did you mean digits"),
    ("leaderboard render --root nowhere", "is not a folder"),
    ("leaderboard check", "no leaderboards/ folder"),
    ("verify record.json", "not valid JSON"),
    ("verify list.json", "is not a record"),
    ("verify", "takes one of RECORD"),
    ("data fetch imagenette", "unknown dataset"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[b[0] for b in BAD])
def test_bad_input_is_one_line_exit_2_and_nothing_written(cli: Cli, tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "record.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04" + bytes(40))
    before = sorted(tmp_path.rglob("*"))
    result = cli(*words.split())
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in str(p)) == before


CLOSED = [
    ("train --method catchup --device tpu", options.Device),
    ("train --method catchup --engine graph", options.Engine),
    ("train --method catchup --precision fp16", options.Precision),
    ("leaderboard run digits --on cloud", Literal["local", "ray", "slurm"]),
    ("list method", options.Kind),
]


def allowed(annotation: Any) -> list[str]:
    """Return the values of the ``Literal`` in an option's annotation."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in allowed(part)]


@pytest.mark.parametrize(("words", "annotation"), CLOSED, ids=[c[0] for c in CLOSED])
def test_a_value_outside_a_closed_set_is_a_usage_error(cli: Cli, tmp_path: Path, words: str, annotation: Any) -> None:
    result = cli(*words.split())
    assert result.exit_code == 2 and not list(tmp_path.iterdir())
    assert allowed(annotation) and all(f"'{value}'" in result.stderr for value in allowed(annotation))
    command = [word for word in words.split("--")[0].split() if word not in ("digits", "method")]
    assert all(value in cli(*command, "--help").stdout for value in allowed(annotation))


def test_closed_sets_are_those_that_the_code_takes() -> None:
    assert allowed(options.Precision) == list(get_args(Recipe.model_fields["precision"].annotation))
    for engine in allowed(options.Engine):
        try:
            choose_engine(engine, torch.device("cuda"))
        except UsageError as err:
            assert "unknown engine" not in str(err)
    with pytest.raises(UsageError) as refused:
        choose_engine("none", torch.device("cpu"))
    assert str(refused.value).endswith(", ".join(allowed(options.Engine)))


def commands(group: Any, path: str = "catchup-bench") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", EVERY)
def test_every_option_has_help_in_whole_sentences(path: str) -> None:
    """A capital first, a full stop or a value last, and the words of the project's table."""
    command = EVERY[path]
    texts = [command.help, *(p.help for p in command.params if p.name != "help")]
    for text in texts:
        assert text and (text[0].isupper() or text.startswith("auto, ")) and text.rstrip()[-1] in ".…N", (path, text)
        assert not re.search("if not said|goes on|at hand|Instead of|stranger", text), (path, text)


def test_an_empty_selection_ends_with_3(cli: Cli, tmp_path: Path) -> None:
    assert cli("evaluate").exit_code == 3
    (tmp_path / "leaderboards").mkdir()
    assert cli("leaderboard", "render").exit_code == 3


def test_an_unfinished_run_is_not_evaluated(cli: Cli, tmp_path: Path) -> None:
    from catchup_bench.runs.folder import make_folder
    from catchup_bench.runs.make import make_run

    folder = make_folder(make_run("baseline"), tmp_path / "runs")
    result = cli("evaluate", folder)
    assert result.exit_code == 2 and "repeat its train command" in result.stderr


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(cli: Cli, tmp_path: Path) -> None:
    method = write_method(tmp_path / "interrupted.py", "raise KeyboardInterrupt")
    result = cli("train", "--method", method, *SMALL)
    assert result.exit_code == 130 and "run the same command again to resume" in result.stderr


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "catchup_bench", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == "0.1.0"


def test_plain_progress_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with TrainingBar("title", clock=lambda: now[0]) as bar:
        for epoch in range(6):
            now[0] += 5.0
            bar.epoch({"epoch": epoch + 1, "loss": 0.5, "images_per_second": 1234.0, "test_error": 25.0})
    lines = [f"title: epoch {epoch}  loss 0.500  accuracy 75.00 %  1,234 images/s" for epoch in (2, 4, 6)]
    assert capsys.readouterr().err.splitlines() == lines, "one in ten seconds, and no codes of a terminal"


def test_doctor_says_what_is_unknown_and_that_nothing_is_wrong() -> None:
    facts = {"code": {"commit": None, "dirty": None}, "versions": {"torch": "2.8"}, "cores": 2, "problems": []}
    lines = ["code: unknown", "versions: torch 2.8", "cores: 2"]
    assert lines_of(facts) == [*lines, "no problem was found, and gradients are right"]
    assert lines_of(facts | {"problems": ["a", "b"]}) == [*lines, "problem: a", "problem: b"]


def test_names_that_differ_at_their_end_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """In a table that is too wide for its line, too."""
    names = [f"digits-preactresnet10-w16-catchup-s{seed}-55fd1f1337c0" for seed in range(9)]
    print_outcomes({name: {"clean": "1.00 [0.50, 2.00]"} for name in names})
    heading = capsys.readouterr().out.split("━━━")[0]
    assert "…" not in heading
