"""Killed or stopped at any moment, the same command again ends in the same files.

``python tests/test_kill.py 50`` does the same with 50 kills.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from catchup_bench.system.files import locked

TRAIN = [
    "train",
    "--method",
    "catchup",
    "--fraction",
    "0.25",
    "--width",
    "4",
    "--epochs",
    "12",
    "--checkpoint-every",
    "0",
    "--device",
    "cpu",
]

EVALUATE = ["evaluate", "--suite", "clean", "--suite", "fgsm", "--suite", "deformation", "--device", "cpu"]

CONTEXT = multiprocessing.get_context("forkserver")  # torch is imported once, and every command forks from there

CONTEXT.set_forkserver_preload(
    ["catchup_bench.evaluation.evaluate", "catchup_bench.cli", "torch._dynamo", "torchattacks"]
)


def command(words: list[str], folder: Path) -> None:
    """``catchup-bench words`` in ``folder``: the whole of a process."""
    import torch

    from catchup_bench.cli import main

    os.chdir(folder)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    sys.argv = ["catchup-bench", *words]
    main()


def start(words: list[str], folder: Path) -> BaseProcess:
    process = CONTEXT.Process(target=command, args=(words, folder))
    process.start()
    return process


def finish(words: list[str], folder: Path) -> float:
    """Run the command to its end; how long that took."""
    began = time.monotonic()
    process = start(words, folder)
    process.join(120)
    assert process.exitcode == 0, (folder / "log.txt").read_text()
    return time.monotonic() - began


def results(folder: Path) -> dict[str, Any]:
    """All files below ``runs/`` by path: bytes, or JSON without times."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "runs").rglob("*")):
        if path.is_dir() or path.name == ".lock" or path.suffix == ".part":
            continue
        content: Any = path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            content = [
                timeless(json.loads(line))
                for line in ([content] if path.suffix == ".json" else content.split(b"\n")[:-1])
            ]
        found[str(path.relative_to(folder))] = content
    return found


def timeless(value: dict[str, Any]) -> dict[str, Any]:
    value = {k: v for k, v in value.items() if k not in ("seconds", "images_per_second", "date")}
    return value | {k: timeless(v) for k, v in value.items() if isinstance(v, dict)}


class Whole:
    """The undisturbed commands: their files, and how long each took."""

    def __init__(self, folder: Path) -> None:
        start(["--version"], folder).join()  # the fork server imports
        self.seconds = [finish(words, folder) for words in (TRAIN, EVALUATE)]
        self.results = results(folder)

    def kill_twice(self, folder: Path, rng: random.Random) -> None:
        """Each command killed once, at a random moment, and repeated."""
        for words, seconds in zip((TRAIN, EVALUATE), self.seconds, strict=True):
            process = start(words, folder)
            process.join(rng.uniform(0, seconds))
            process.kill()
            process.join()
            finish(words, folder)
        assert results(folder) == self.results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("seed", [0, 1])
def test_sigkill_at_any_moment_is_survived(whole: Whole, tmp_path: Path, seed: int) -> None:
    whole.kill_twice(tmp_path, random.Random(seed))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_keep_the_last_epoch_and_say_so(whole: Whole, tmp_path: Path, number: int, code: int) -> None:
    words = [w if w != "0" else "9999" for w in TRAIN]  # no state but that of the signal
    process = start(words, tmp_path)
    folder = wait_for_epochs(tmp_path)
    os.kill(process.pid or 0, number)
    began = time.monotonic()
    process.join(60)
    assert process.exitcode == code and time.monotonic() - began < 2
    log = (tmp_path / "log.txt").read_text()
    assert "run the same command again to resume" in log and "Traceback" not in log
    assert (folder / "state.pt").exists() and not list(folder.glob(".*.part"))
    for rest in (words, EVALUATE):
        finish(rest, tmp_path)
    assert "resumed at" in (tmp_path / "log.txt").read_text()
    assert results(tmp_path) == whole.results


BOARD = """
title = "Long"
question = "Does it stop?"
methods = ["baseline", "cutmix"]
seeds = [0]
rank = "err"
setups = [{ dataset = "digits", model = "preactresnet10", width = 4, recipe = "digits", suites = ["clean"] }]
columns = [{ name = "err", conditions = ["clean"] }]
"""


def test_a_boards_workers_stop_with_it(tmp_path: Path) -> None:
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "long.toml").write_text(BOARD.replace("suites =", "overrides = { epochs = 999 }, suites ="))
    process = start(["leaderboard", "run", "long.toml", "--workers", "2"], tmp_path)
    wait_for_epochs(tmp_path)
    process.terminate()
    process.join(60)
    log = (tmp_path / "log.txt").read_text()
    assert process.exitcode == 143 and "run the same command again to resume" in log and "Traceback" not in log
    for folder in (tmp_path / "runs").iterdir():
        with locked(folder / ".lock"):  # nobody trains there any more
            pass
    assert list(tmp_path.glob("runs/*/state.pt"))


def wait_for_epochs(folder: Path) -> Path:
    """The run's folder, once two epochs of it are done."""
    deadline = time.monotonic() + 60
    while True:
        for path in folder.glob("runs/*/metrics.jsonl"):
            if path.read_bytes().count(b"\n") >= 2:
                return path.parent
        assert time.monotonic() < deadline
        time.sleep(0.005)


def at_length(kills: int) -> None:
    rng = random.Random()
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "whole").mkdir()
        whole = Whole(Path(base) / "whole")
        print(f"undisturbed: {whole.seconds[0]:.1f} s to train, {whole.seconds[1]:.1f} s to evaluate")
        for i in range(2, kills + 2, 2):
            (Path(base) / str(i)).mkdir()
            whole.kill_twice(Path(base) / str(i), rng)
            print(f"{i} kills survived", flush=True)


if __name__ == "__main__":
    at_length(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
