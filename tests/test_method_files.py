"""What is read of a method file is what running it gives, whatever the file is, and it is not run."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catchup_bench import boards, data, registry
from catchup_bench.boards.grid import jobs_of
from catchup_bench.bounds import bounded_fields
from catchup_bench.errors import UsageError
from catchup_bench.method_files import ATTRIBUTES, LARGEST
from catchup_bench.plugins import complete_options
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import MethodSpec

ROOT = Path(__file__).resolve().parent.parent

DATASETS = [None, *data.DATASETS]


@pytest.mark.parametrize("name", registry.methods())
def test_a_file_reads_as_what_running_it_gives(name: str) -> None:
    read, run = registry.method_outline(name), registry.method_class(name)
    assert [(f.name, f.default) for f in fields(read)] == [
        (f.name, f.default) for f in fields(run) if f.default is not MISSING
    ]
    assert [getattr(read, a) for a in ATTRIBUTES] == [getattr(run, a) for a in ATTRIBUTES]
    for one, other in zip(bounded_fields(read).items(), bounded_fields(run).items(), strict=True):
        assert (one[0], one[1][1]) == (other[0], other[1][1])
    assert read.__doc__ and not hasattr(read, "loss")


@pytest.mark.parametrize("name", registry.methods())
def test_runs_have_the_digests_that_the_classes_give(name: str) -> None:
    for dataset in data.DATASETS:
        run = make_run(name, dataset)
        options = complete_options(registry.method_class(name), dataset, {}, name)
        assert run.model_copy(update={"method": MethodSpec(name=name, options=options)}).digest == run.digest


VALUES = st.one_of(
    st.integers(-3, 300),
    st.floats(-2, 3),
    st.sampled_from(["ce", "bce", "cutmix", "none", "random", "sr", "ap", "x", ""]),
    st.booleans(),
    st.lists(st.integers(-1, 5), max_size=3),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.parametrize("name", registry.methods())
def test_both_take_the_same_options_and_refuse_others_in_the_same_words(name: str, data: st.DataObject) -> None:
    names = [f.name for f in fields(registry.method_outline(name))]
    given_options = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=2))
    dataset = data.draw(st.sampled_from(DATASETS))
    read = completed(registry.method_outline(name), dataset, given_options)
    run = completed(registry.method_class(name), dataset, given_options)
    if isinstance(read, str) or isinstance(run, dict):  # the class may also say what options mean for one another
        assert read == run


def completed(cls: Any, dataset: str | None, given_options: dict[str, Any]) -> dict[str, Any] | str:
    try:
        return complete_options(cls, dataset, given_options, "it")
    except UsageError as err:
        return str(err)


MINE = """
from __future__ import annotations
import sys
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TYPE_CHECKING

import catchup_bench.method as m
from catchup_bench.method import Ge, Gt, Le, Mixup, MinLen as Few
from catchup_bench.methods.cutmix import CutMix as Base

if TYPE_CHECKING:
    from somewhere import Something

Share = Annotated[float, Ge(0), Le(1)]


class Helper:
    alpha: float = 1 + 1


@dataclass(frozen=True, kw_only=True)
class _Between(Base):
    title, year = "Mine", 2026
    paper: ClassVar[str] = "none"
    other: ClassVar[Something]
    level = "input"
    share: Share = 0.5
    near: float | None = field(default=-1.5)
    kind: "Literal['a', 'b']" = "a"


@dataclass(frozen=True, kw_only=True)
class Mine(_Between):
    '''What it does.'''

    sizes: Annotated[tuple[Annotated[int, Ge(2), "pixels"], ...], Few(1)] = (2, 4)
    near: Annotated[float, Gt(0)] | None = None

    defaults = {"digits": {"alpha": 2.0}, **{n: {"share": 0.25} for n in ("cub", "cars")}}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_inheritance_aliases_and_loops_are_read(mine: Path) -> None:
    read = registry.method_outline(str(mine))
    assert {f.name: f.default for f in fields(read)} == {
        "criterion": "ce",
        "prob": 1.0,
        "layers": (0,),
        "alpha": 1.0,
        "share": 0.5,
        "near": None,
        "kind": "a",
        "sizes": (2, 4),
    }
    assert (read.title, read.paper, read.year, read.level) == ("Mine", "none", 2026, "input")
    assert read.defaults == {"digits": {"alpha": 2.0}, "cub": {"share": 0.25}, "cars": {"share": 0.25}}
    assert {name: allowed for name, (_, allowed) in bounded_fields(read).items()} == {
        "criterion": "ce or bce",
        "prob": "0 to 1",
        "layers": "(0,)",
        "alpha": "more than 0",
        "share": "0 to 1",
        "near": "more than 0 or none",
        "kind": "a or b",
        "sizes": "values that are each 2 or more (pixels), at least 1 of them",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("share: Share = 0.5", "share: Share = 1 / 2"), r"line \d+: option share: 1 / 2 is not a literal"),
        (("share: Share = 0.5", "share: Share = 1e999"), "option share"),
        (("share: Share = 0.5", "share: Share = [1]"), "option share"),
        (("[int, Ge(2)", "[int, Ge(f())"), r"option sizes: f\(\) is not a literal"),
        (('title, year = "Mine", 2026', "title, year = name(), 2026"), "title: name\\(\\) is not a literal"),
        (('title, year = "Mine", 2026', 'title, year = "Mine", "old"'), "year must be int"),
        (("defaults = {", "defaults = {1: 2, "), "defaults are dictionaries"),
        (("class _Between(Base)", "class _Between(Base, sys.Other)"), "sys.Other, a base of _Between"),
        (("class _Between(Base)", "class _Between(Mine)"), "each other's base"),
        (("class Mine(_Between)", "class _Mine(_Between)"), "exactly one public Method class; it defines 0"),
        (("class Helper", "class Helper(Literal[f()])"), r"f\(\) cannot be read"),
        (('**{n: {"share": 0.25} for n in ("cub", "cars")}', "**1"), "defaults: .* is not a literal"),
        (('"share": 0.25', "**{m: {n: 1 for n in (1, 2)} for m in (1, 2)}"), "defaults: .* is not a literal"),
        (("cutmix import CutMix", "cutmix import Nothing"), "it defines 0"),
        (("import sys", "import sys\x00"), "not valid Python"),
        (("import sys", "def"), r"line \d+: not valid Python"),
        (("import sys", "x = " + "(" * 5000), "mine.py"),
        (("import sys", "x = " + "-" * 100_000 + "1"), "mine.py"),
        (("import sys", "#" * LARGEST), "larger than 1 MB"),
        (("import sys", "\udc80"), "not valid Python"),
        (('"a"\n\n\n@', '"a"\n    __slots__: int = 1\n\n\n@'), "no name of an option"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_place(mine: Path, change: tuple[str, str], words: str) -> None:
    assert change[0] in MINE
    mine.write_bytes(MINE.replace(*change, 1).encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=words) as caught:
        registry.method_outline(str(mine))
    assert str(mine) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["über", "x" * 65, "my-mix", "1st", "a b"])
def test_names_that_no_run_could_have_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text(MINE)
    with pytest.raises(UsageError, match="must be a Python name"):
        make_run(str(tmp_path / f"{name}.py"))


def test_an_impossible_option_of_a_board_is_refused_without_running_a_file(mine: Path) -> None:
    mine.write_text("raise SystemExit(0)\n" + MINE.replace("from __future__ import annotations\n", ""))
    board = boards.load("digits").model_copy(update={"methods": (boards.Entry(name=str(mine), set={"share": 1.5}),)})
    with pytest.raises(UsageError, match=r"share = 1\.5 is not allowed: it takes 0 to 1"):
        jobs_of(board)


def test_the_grid_is_made_once_for_a_board() -> None:
    board = boards.load("demo")
    assert next(jobs_of(board)) is next(jobs_of(board))
    other = boards.load("demo").model_copy(update={"seeds": (7,)})
    assert {job.run.seed for job in jobs_of(other)} == {7}
    assert [job.run.seed for job in jobs_of(board)] == [s for s in board.seeds for _ in board.methods]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with files in ``methods/`` that end, break or pretend, beside the good ones."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("catchup_bench", "methods"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "methods"))
    plain = MINE.replace("from __future__ import annotations\n", "")
    for name, content in {
        "leaves": "import os\nos._exit(0)\n" + plain,
        "damaged": "def f(:\n",
        "empty": "",
        "über": plain,
        "n" * 65: plain,
        "computed": plain.replace("= 0.5", "= 1 / 2"),
    }.items():
        (root / "methods" / f"{name}.py").write_text(content, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few published records, a method that has no file elsewhere, and the markers of the pages."""
    root = tmp_path_factory.mktemp("root")
    setup = Path("leaderboards", "results", "digits", "preactresnet10-w16")
    for name in ("baseline/seed0.json", "baseline/seed1.json", "cutmix/seed0.json", "cutmix/seed1.json", "cost.json"):
        (root / setup / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / setup / name, root / setup / name)
    (root / "leaderboards" / "README.md").write_text("<!-- BEGIN boards -->\n<!-- END boards -->\n")
    (root / "methods").mkdir()
    shutil.copy(ROOT / "methods" / "cutmix.py", root / "methods")
    (root / "methods" / "damaged.py").write_text("def f(:\n")
    return root


def test_judging_runs_no_method_and_needs_no_torch(copy: Path, records: Path) -> None:
    """A method of the board ends the process as soon as it is run."""
    cutmix = copy / "methods" / "cutmix.py"
    cutmix.write_text(cutmix.read_text(encoding="utf-8").replace("\n\n", "\n\nimport os\nos._exit(0)\n", 1))
    said = {
        ("leaderboard", "render"): "methods/README.md",
        ("leaderboard", "check"): "every page is what the records give",
        ("leaderboard", "html"): "index.html",
    }
    for words, last in said.items():
        done = command(copy, *words, "--root", str(records))
        assert last in done.stdout and done.stdout.endswith("IMPORTED []\n"), done.stdout + done.stderr
    page = (records / "methods" / "README.md").read_text(encoding="utf-8")
    [path] = records.rglob("cost.json")
    measured = json.loads(path.read_text())
    cost = f"{measured['methods']['cutmix']['ratio']:.2f} ([digits]"
    assert "## cutmix\n\n**CutMix.** " in page and cost in page and measured["provenance"]["device"][:8] in page
    assert "`prob` = 0.5 on cifar10, cifar100." in page and "**Source of the defaults**: α = 1" in page
    assert "## Not readable\n\n- methods/damaged.py, line 1: not valid Python" in page
    done = command(copy, "verify", "--all", "--root", str(records))
    assert "4 records: each agrees with its bits" in done.stdout and "catchup_bench.methods" not in done.stdout
    (records / "methods" / "cutmix.py").write_text(cutmix.read_text(encoding="utf-8").replace('"CutMix"', '"Other"'))
    assert (
        "methods/README.md: not what the records give"
        in command(copy, "leaderboard", "check", "--root", str(records)).stderr
    )


def command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\nfrom catchup_bench.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print('IMPORTED', [m for m in sys.modules if m == 'torch' or m.startswith('catchup_bench.methods.')])"
    )
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200", "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )


def test_list_names_what_it_cannot_read_and_goes_on(copy: Path) -> None:
    done = command(copy, "list", "methods", "--json")
    assert done.returncode == 0, done.stderr
    assert '"catchup"' in done.stdout and '"leaves"' in done.stdout and done.stdout.endswith("IMPORTED []\n")
    for name in ("damaged", "empty", "über", "n" * 65, "computed"):
        assert f"{name}.py" in done.stderr and f'"{name}"' not in done.stdout


def test_a_method_of_a_package_is_found_without_importing_it(tmp_path: Path) -> None:
    package = tmp_path / "their_package" / "mixing"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("raise SystemExit(0)\n")
    (package / "best.py").write_text("raise SystemExit(0)\n" + MINE.replace("from __future__ import annotations\n", ""))
    facts = tmp_path / "their_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[catchup_bench.methods]\nbest = their_package.mixing.best\n")
    code = (
        "import sys; from catchup_bench import registry; from catchup_bench.runs.make import make_run\n"
        "print(make_run('best').method.options['share'], 'best' in registry.methods())\n"
        "print([m for m in sys.modules if m.startswith('their_package') or m == 'torch'])"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "0.5 True\n[]\n"


@pytest.mark.parametrize("kind", ["boards", "recipes", "datasets", "models", "methods"])
def test_lists_need_no_torch_and_run_no_method(kind: str) -> None:
    done = command(ROOT, "list", kind, "--json")
    assert done.returncode == 0 and done.stdout.endswith("IMPORTED []\n"), done.stdout[-300:] + done.stderr
