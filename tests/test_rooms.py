"""The house's rules: who may import whom, what is installed, what starts fast."""

import ast
import email
import graphlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import catchup_bench

ROOT = Path(__file__).resolve().parent.parent

CORE = sorted((ROOT / "catchup_bench").rglob("*.py"))

METHODS = sorted((ROOT / "methods").glob("*.py"))

LIGHT = [
    "boards/__init__",
    "boards/condition_groups",
    "boards/grid",
    "boards/metrics",
    "boards/paper",
    "bounds",
    "cli/__init__",
    "cli/bench",
    "cli/catalog",
    "cli/data",
    "cli/evaluate",
    "cli/leaderboard",
    "cli/list",
    "cli/options",
    "cli/progress",
    "cli/push",
    "cli/report",
    "cli/tables",
    "cli/train",
    "cli/verify",
    "data/__init__",
    "data/table",
    "data_sources",
    "errors",
    "system/slices",
    "jobs/job",
    "jobs/local",
    "jobs/ray_cluster",
    "jobs/ray_tasks",
    "jobs/remote",
    "jobs/run_board",
    "jobs/selection",
    "jobs/slurm",
    "leaderboard/findings",
    "leaderboard/html_page",
    "leaderboard/markdown",
    "leaderboard/methods_page",
    "leaderboard/pages",
    "leaderboard/plots",
    "leaderboard/points",
    "leaderboard/claims",
    "leaderboard/curves",
    "leaderboard/relative",
    "leaderboard/svg",
    "leaderboard/results",
    "leaderboard/statistics/__init__",
    "leaderboard/statistics/comparisons",
    "leaderboard/statistics/intervals",
    "leaderboard/statistics/planning",
    "leaderboard/statistics/scores",
    "leaderboard/statistics/tiers",
    "leaderboard/table",
    "leaderboard/values",
    "leaderboard/wording",
    "method_files",
    "models/__init__",
    "plugins",
    "recipes/__init__",
    "reference_errors",
    "records/attack_checks",
    "records/costs",
    "records/described",
    "records/record",
    "records/results_folder",
    "registry",
    "runs/folder",
    "runs/make",
    "runs/run",
    "seeds",
    "system/files",
    "system/hub",
    "system/trackers",
    "system/signals",
    "system/toml_files",
    "text",
]

HEAVY = {
    "torch",
    "torchvision",
    "torchattacks",
    "robustbench",
    "datasets",
    "sklearn",
    "scipy",
    "matplotlib",
    "ray",
    "accelerate",
    "pandas",
    "timm",
    "transformers",
    "huggingface_hub",
    "submitit",
    "tensorboard",
    "wandb",
    "mlflow",
    "trackio",
}


def imports(path: Path, *, top_only: bool) -> set[str]:
    """Full names of what a file imports; relative imports begin with dots."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def rooms_imported(path: Path) -> set[str]:
    """The files and folders of the package that a file imports, anywhere in it; its root is called ``__init__``."""
    package = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = (*package[: len(package) - node.level + 1], *filter(None, (node.module or "").split(".")))
        if not node.level:
            parts = tuple((node.module or "").split("."))
        if parts[0] != "catchup_bench":
            continue
        for alias in node.names:
            name = parts[1] if len(parts) > 1 else alias.name
            home = ROOT / "catchup_bench"
            found.add(name if (home / name).is_dir() or (home / f"{name}.py").is_file() else "__init__")
    return found


def test_imports_lead_one_way_between_rooms() -> None:
    """No circle, also by what a function imports when it is called: rooms can be put on floors."""
    ties: dict[str, set[str]] = {}
    for path in CORE:
        room = path.relative_to(ROOT / "catchup_bench").parts[0].removesuffix(".py")
        ties.setdefault(room, set()).update(rooms_imported(path) - {room})
    assert len(ties) > 25 and "text" in ties["errors"] and "api" in ties["__init__"]
    list(graphlib.TopologicalSorter(ties).static_order())  # raises an error that names the circle


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_methods_import_torch_the_contract_and_each_other(path: Path) -> None:
    allowed = {
        "torch",
        "numpy",
        "catchup_bench",
        "dataclasses",
        "typing",
        "collections",
        "math",
        "functools",
        "itertools",
        "contextlib",
        "copy",
    }
    for name in imports(path, top_only=True):
        assert name.startswith(".") or name.split(".")[0] in allowed, name
        assert not name.startswith("catchup_bench") or name == "catchup_bench.method", name
    assert imports(path, top_only=False) - imports(path, top_only=True) <= {"torchvision.ops", "torchvision"}


def test_the_core_names_no_method() -> None:
    names = {p.stem for p in METHODS if not p.stem.startswith("_")} - {"baseline"}
    for path in CORE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and n not in docstrings}
        assert not names & {s for s in strings if isinstance(s, str)}, path


def test_only_the_registry_knows_where_methods_live() -> None:
    for path in CORE:
        if path.stem != "registry":
            assert "catchup_bench.methods" not in imports(path, top_only=False), path


@pytest.mark.parametrize("name", LIGHT)
def test_light_rooms_import_nothing_heavy_at_start(name: str) -> None:
    path = ROOT / "catchup_bench" / f"{name}.py"
    assert not {n.split(".")[0] for n in imports(path, top_only=True)} & HEAVY


def run_python(code: str, *, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("words", ["--help", "train --help", "leaderboard --help", "--version"])
def test_help_imports_nothing_heavy(words: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom catchup_bench.cli import app\n"
        f"try: app({words.split()!r})\nexcept SystemExit: pass\n"
        "print('HEAVY', [m for m in ('torch', 'numpy', 'scipy', 'rich.progress') if m in sys.modules])"
    )
    assert run_python(code, cwd=tmp_path).endswith("HEAVY []")


def test_the_package_itself_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, catchup_bench; print([m for m in ('torch', 'numpy', 'pandas', 'typer') if m in sys.modules])"
    assert run_python(code, cwd=tmp_path) == "[]"


def test_methods_is_no_package_of_its_own_elsewhere(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; print(u.find_spec('methods'), bool(u.find_spec('catchup_bench.methods.catchup')))"
    )
    assert run_python(code, cwd=tmp_path) == "None True"


def test_a_checkout_works_without_an_install(tmp_path: Path) -> None:
    code = "from catchup_bench import registry, __path__; print('catchup' in registry.methods())"
    assert run_python(code, cwd=tmp_path, PYTHONPATH=str(ROOT)) == "True"


def test_a_new_method_is_one_new_file(tmp_path: Path) -> None:
    """Dropped into the folder of a copy, it is listed and trains by its name; nothing else was changed."""
    for name in ("catchup_bench", "methods"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "methods" / "mine.py").write_text(readme_method())
    words = ["train", "--method", "mine", "--fraction", "0.1", "--width", "4", "--epochs", "1", "--json"]
    command = [sys.executable, "-m", "catchup_bench", *words]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["method"]["name"] == "mine"


def readme_method() -> str:
    """The method that the README shows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(r"```python\n(# mine\.py\n.*?)```", text, re.DOTALL).group(1)  # type: ignore[union-attr]


def test_the_readmes_method_keeps_the_contract(tmp_path: Path) -> None:
    from catchup_bench import registry
    from catchup_bench.verification.method import check_contract

    (tmp_path / "mine.py").write_text(readme_method())
    checks = check_contract(registry.method_class(str(tmp_path / "mine.py")))
    assert [c for c in checks if not c.ok] == []


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, with the setuptools that is installed: no network, nothing left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("catchup_bench", "methods"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    code = f"from setuptools import build_meta as b; b.build_wheel({str(out)!r}); b.build_sdist({str(out)!r})"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_catchup_bench_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == {"catchup_bench"}
    packed = {n for n in names if n.endswith((".py", ".toml", ".json", ".css", ".html", ".js", "py.typed"))}
    data = [p for kind in ("*.toml", "page.*", "py.typed") for p in (ROOT / "catchup_bench").rglob(kind)]
    for path in [*CORE, *data]:
        assert str(path.relative_to(ROOT)) in packed
    for path in METHODS:
        assert f"catchup_bench/methods/{path.name}" in packed


def test_the_wheel_works_from_site_packages(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import catchup_bench as c; from catchup_bench import boards, registry;"
        "print(len(c.__path__), 'catchup' in registry.methods(), 'digits' in boards.available(), c.__file__)"
    )
    out = run_python(code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert out.startswith("1 True True") and str(tmp_path) in out


def test_the_wheel_may_be_published(wheel: Path) -> None:
    assert wheel.stat().st_size < 1_000_000
    archive = zipfile.ZipFile(wheel)
    info = next(n.split("/")[0] for n in archive.namelist() if ".dist-info/" in n)
    metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    assert metadata["License-Expression"] == "MIT" and metadata["Author"] == "the catchup-bench contributors"
    assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    pytest.importorskip("twine")
    files = [str(wheel), *map(str, wheel.parent.glob("*.tar.gz"))]
    assert len(files) == 2
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (catchup_bench.__version__, "MIT")
    assert citation["cff-version"] == "1.2.0" and citation["references"][0]["doi"] == "10.1609/aaai.v38i3.28049"


def test_the_image_has_all_that_the_wheel_is_made_from() -> None:
    """What the Dockerfile copies is neither missing nor left out by .dockerignore."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert set(copied) == {"pyproject.toml", "README.md", "LICENSE", "catchup_bench", "methods"}
    for name in copied:
        assert (ROOT / name).exists() and f"!{name}" in kept


def test_files_stay_small() -> None:
    for path in [*CORE, *METHODS]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
