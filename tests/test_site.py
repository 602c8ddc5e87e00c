"""The guides: what they tell to type is what the command line takes, and the generated pages are whole."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from catchup_bench import registry
from catchup_bench.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="not in a checkout")

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def typed() -> list[tuple[str, str]]:
    """Every command in a block or between backticks of the guides, with its page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += [" ".join(span.split()) for span in re.findall(r"`(catchup-bench [^`]*)`", text)]
        found += [(page.name, line[line.index("catchup-bench ") :]) for line in lines if "catchup-bench " in line]
    return [(page, line) for page, line in found if not line.startswith(("catchup-bench .", "catchup-bench demo"))]


@pytest.mark.parametrize(("page", "line"), typed())
def test_a_command_in_the_guides_exists_and_takes_its_options(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        assert not words or words[0].startswith("-"), f"{page}: {line}"
    options = {option for p in command.params for option in p.opts} | {"--help", "--version"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= options, f"{page}: {line}"


def generated() -> Any:
    spec = importlib.util.spec_from_file_location("generated_pages", DOCS / "generated.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_have_every_method_and_command() -> None:
    pytest.importorskip("mkdocs")
    module = generated()
    methods = dict(module.method_pages())
    assert methods.keys() == {f"methods/{name}.md" for name in [*registry.methods(), "index"]}
    assert all(f"]({name}.md)" in methods["methods/index.md"] for name in registry.methods())
    page = module.commands_page()
    for words in ("train", "leaderboard run", "leaderboard reproduce", "data fetch", "push"):
        assert f"\n## catchup-bench {words}\n" in page
    assert "`local`, `ray`, `slurm`" in page and page.count("| :-- | :-- | :-- |") == page.count("\n## ")
    assert "catchup_bench.evaluate" in module.notebook_page()


@pytest.mark.slow
def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "mkdocs.yml"), "-d", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("evaluate", "train", "load", "corrupt", "method", "board", "Evaluation"):
        assert f'id="catchup_bench.api.{name}"' in page
