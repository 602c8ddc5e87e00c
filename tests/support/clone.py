"""A checkout in a folder of its own, with a small published board and a method file beside it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MINE = """
from dataclasses import dataclass
from catchup_bench.method import Mixup, beta


@dataclass(frozen=True, kw_only=True)
class Mine(Mixup):
    title, paper, year, level = "Mine", "none", 2026, "input"
    alpha: float = 1.0

    def mix_images(self, x, perm, gen):
        lam = beta(self.alpha, gen)
        return lam * x + (1 - lam) * x[perm], lam
"""

BOARD = """
title = "Small"
question = "Is a submission accepted?"
methods = ["baseline"]
seeds = [0]
rank = "clean err"
[[setups]]
dataset = "digits"
fraction = 0.2
model = "preactresnet10"
width = 4
recipe = "digits"
overrides = { epochs = 1 }
suites = ["clean"]
[[columns]]
name = "clean err"
conditions = ["clean"]
"""

CALLS = """
import json, sys
from typer.testing import CliRunner
from catchup_bench.cli import app
from pathlib import Path
for words in json.loads(sys.argv[1]):
    if words[0] == "write":
        Path(words[1]).write_text(words[2])
        continue
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    print(json.dumps([result.exit_code, result.output]))
"""

TRAIN = ["--dataset", "digits", "--fraction", "0.2", "--width", "4", "--epochs", "1"]


class Clone:
    """A checkout with a small published board; ``call`` runs commands in it, one after the other in one process, and
    ``["write", path, text]`` between them."""

    def __init__(self, folder: Path, board: str = BOARD) -> None:
        self.folder = folder
        for name in ("catchup_bench", "methods"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "catchup_bench" / "boards" / "small.toml").write_text(board)
        (folder / "leaderboards" / "results" / "small").mkdir(parents=True)
        (folder / "mine.py").write_text(MINE)

    def call(self, *commands: list[str]) -> list[tuple[int, str]]:
        env = os.environ | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, "-c", CALLS, json.dumps(commands)]
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return [tuple(json.loads(line)) for line in done.stdout.splitlines()]

    def record(self, row: str) -> Path:
        return self.folder / "leaderboards" / "results" / "small" / "preactresnet10-w4" / row / "seed0.json"
