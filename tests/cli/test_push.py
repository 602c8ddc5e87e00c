"""A run goes to the hub and comes back, through the client library and a server on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import catchup_bench
from catchup_bench.leaderboard.model_card import error_of
from catchup_bench.records.outcomes import collect_record
from catchup_bench.records.record import Outcome, parse_record
from catchup_bench.system.files import file_digest
from tests.conftest import Cli, as_json
from tests.support import hub_server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub_server.Hub]:
    with hub_server.serving() as server:
        hub_server.use(server, monkeypatch, tmp_path / "cache")
        yield server


def test_a_run_goes_to_the_hub_and_comes_back(
    cli: Cli, tmp_path: Path, trained_run: Path, hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--suite", "clean", "--suite", "fgsm", "--json"]
    errors = as_json(cli("evaluate", trained_run, *words))[str(trained_run)]
    sent = as_json(cli("push", trained_run, "someone/net", "--licence", "cc-by-4.0", "--json"))
    digest = file_digest(trained_run / "last.safetensors")
    assert sent["sha256"] == digest and sent["url"] == f"{hub.url}/someone/net"
    files = hub.repos["someone/net"]
    assert files.keys() == {"README.md", "model.safetensors", "run.json", "record.json"}
    assert files["model.safetensors"] == (trained_run / "last.safetensors").read_bytes()
    assert files["run.json"] == (trained_run / "run.json").read_bytes()
    assert parse_record(json.loads(files["record.json"]), Path("record.json")) == collect_record(trained_run)

    card = files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "cc-by-4.0" and front["library_name"] == "catchup-bench"
    assert f"SHA-256 `{digest}`" in card and "alpha = 10.0" in card and "epochs 2" in card
    for condition, found in errors.items():
        row = next(line for line in card.splitlines() if line.startswith(f"| {condition} |"))
        assert f"{found['error']:.2f} [" in row

    before = len(hub.requests)
    again = as_json(cli("evaluate", "--checkpoint", "hf://someone/net", *words))
    assert next(iter(again.values())) == errors
    read = {r.split("/")[-1] for r in hub.requests[before:]}
    assert read == {"model.safetensors"}, "nothing else is fetched to load weights"
    example = card.split("```python\n")[1].split("```")[0]
    assert len([line for line in example.splitlines() if line]) <= 3
    names: dict[str, torch.nn.Module] = {}
    exec(example, names)
    x = torch.rand(2, 3, 16, 16)
    own = catchup_bench.load(str(trained_run / "last.safetensors"))
    assert torch.equal(names["net"](x), own(x)) and not own.training

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody is there: the cache has it
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert next(iter(as_json(cli("evaluate", "--checkpoint", "hf://someone/net", *words)).values())) == errors
    away = cli("evaluate", "--checkpoint", "hf://someone/other", *words)
    assert away.exit_code == 2 and "cannot be reached, and " in away.stderr


def test_what_may_not_or_cannot_be_pushed_is_said(
    cli: Cli, tmp_path: Path, trained_run: Path, hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    for name in ("outcomes", "evaluation.json"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def refused(*words: object, code: int = 2) -> str:
        result = cli("push", *words)
        assert result.exit_code == code and len(result.stderr.strip().splitlines()) == 1 and hub.repos == {}
        return result.stderr

    assert "is not evaluated, and a card shows errors" in refused(run, "a/net")
    as_json(cli("evaluate", run, "--suite", "clean", "--json"))
    assert "names no repository" in refused(run, "net")
    assert "adds to its main branch" in refused(run, "a/net@v1")
    assert "it takes a name such as mit" in refused(run, "a/net", "--licence", "x\ny: z")
    assert "absent/run.json" in refused(tmp_path / "absent", "a/net")
    card = cli("push", run, "a/net", "--dry-run")
    assert card.exit_code == 0 and 'catchup_bench.load("hf://a/net")' in card.stdout and hub.repos == {}
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "you may not write to a/net: run hf auth login" in refused(run, "a/net")
    (run / "last.safetensors").write_bytes((run / "best.safetensors").read_bytes() + b" ")
    assert "is not what was evaluated" in refused(run, "a/net", code=4)
    (run / "last.safetensors").unlink()
    assert "is not trained to its end" in refused(run, "a/net")


@pytest.mark.slow
def test_without_a_network_there_is_one_line(tmp_path: Path) -> None:
    """The client library tries for half a minute, prints each attempt otherwise, and is asked once, whatever there is
    to look for."""
    words = [sys.executable, "-m", "catchup_bench", "evaluate", "--checkpoint", "hf://someone/net"]
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **nobody})
    where = "someone/net cannot be reached, and its model.safetensors or pytorch_model.bin is not in the cache"
    assert (done.returncode, done.stderr) == (2, f"error: {where}\n")


def test_the_interval_of_a_mean_is_that_of_the_means_of_images() -> None:
    """A hard image is hard in every condition: the interval is wider than that of independent conditions."""
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.3
    outcomes = [Outcome.of(~(hard ^ (rng.random(400) < 0.05)), "corruption", {}) for _ in range(10)]
    mean, low, high = error_of(outcomes)
    by_image = 100 * np.mean([~o.array() for o in outcomes], axis=0)
    assert mean == pytest.approx(by_image.mean())
    draws = [by_image[rng.integers(0, 400, 400)].mean() for _ in range(2000)]
    assert [low, high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.5)
    assert error_of(outcomes[:1])[0] == outcomes[0].error
