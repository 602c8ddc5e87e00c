"""The floors of pyproject.toml: whether they can be installed, and whether what users touch first works with them."""

import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECKOUT = pytest.mark.skipif(not (ROOT / ".ci" / "oldest").exists(), reason="not in a checkout")


@CHECKOUT
def test_every_dependency_has_a_floor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        assert re.match(r"[A-Za-z0-9._-]+>=[0-9.]+(,<81)?$", requirement), requirement


@CHECKOUT
@pytest.mark.network
def test_the_command_line_works_with_the_oldest_versions() -> None:
    """The whole suite with them is `.ci/oldest` by hand."""
    if shutil.disk_usage(tempfile.gettempdir()).free < 14e9:
        pytest.skip("an environment with the oldest versions takes 11 GB, its downloads included, and a few to spare")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    words = ["tests/cli", "tests/recipes", "tests/runs/test_run.py", "tests/leaderboard/test_statistics.py"]
    done = subprocess.run([ROOT / ".ci" / "oldest", *words], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
