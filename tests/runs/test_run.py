"""Runs: what identity covers, and how names and overrides become one."""

from pathlib import Path

import pytest

from catchup_bench.errors import UsageError
from catchup_bench.runs.folder import make_folder, read_run
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import Run
from catchup_bench.seeds import derive

MINE = """
from dataclasses import dataclass
from catchup_bench.method import Method, one_hot, soft_loss

@dataclass(frozen=True, kw_only=True)
class Mine(Method):
    title, paper, year, level = "Mine", "none", 2026, "none"
    strength: float = 1.0

    def loss(self, net, x, y, plan, gen):
        return self.strength * soft_loss(net(x), one_hot(y, net.num_classes))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_run_survives_its_file(tmp_path: Path) -> None:
    run = make_run("catchup", seed=3)
    assert read_run(make_folder(run, tmp_path)).digest == run.digest


def test_identity_never_changes() -> None:
    """A changed digest orphans every record there is."""
    assert make_run("baseline").digest == "9bc5f8ee129f"


def test_new_fields_of_a_recipe_count_only_where_they_say_something() -> None:
    plain = make_run("baseline")
    assert not plain.recipe.LATER & plain.identity["recipe"].keys()
    assert make_run("baseline", overrides={"crop": "pad", "color_jitter": 0.0}).digest == plain.digest
    jittered = make_run("baseline", overrides={"color_jitter": 0.4})
    assert jittered.digest != plain.digest and Run.model_validate(jittered.model_dump()).digest == jittered.digest


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"fraction": 0.5},
        {"width": 8},
        {"variant": "C"},
        {"overrides": {"lr": 0.2}},
        {"settings": {"catchup": {"alpha": 2}}},
    ],
)
def test_whatever_changes_the_weights_changes_the_digest(change: dict[str, object]) -> None:
    assert make_run("catchup", **change).digest != make_run("catchup").digest  # type: ignore[arg-type]


def test_defaults_follow_the_dataset() -> None:
    cifar, digits = make_run("catchup", "cifar100"), make_run("catchup")
    assert (cifar.model.name, cifar.model.width, cifar.recipe.epochs) == ("preactresnet18", 64, 30)
    assert (cifar.method.options["alpha"], digits.method.options["alpha"]) == (1.0, 10.0)


def test_a_strangers_file_is_part_of_the_identity(mine: Path) -> None:
    before = make_run(str(mine), settings={"mine": {"strength": 2}})
    assert before.method.name == "mine" and before.method.options["strength"] == 2.0
    mine.write_text(MINE + "# changed\n")
    assert make_run(str(mine), settings={"mine": {"strength": 2}}).digest != before.digest


def test_where_a_strangers_file_lies_is_not(mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "mine.py"
    other.parent.mkdir()
    other.write_text(MINE)
    assert make_run(str(mine)).digest == make_run(str(other)).digest


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def f(:\n", "line 1: not valid Python"),
        ("x = 1\n", "exactly one public Method class; it defines 0"),
        (MINE + MINE.replace("class Mine", "class Other"), "it defines 2"),
        (MINE.replace("strength: float = 1.0", "strength: float = 2 * 0.5"), "strength: 2 \\* 0.5 is not a literal"),
    ],
)
def test_bad_method_files_are_one_line(mine: Path, content: str, words: str) -> None:
    mine.write_text(content)
    with pytest.raises(UsageError, match=words):
        make_run(str(mine))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("raise RuntimeError('no')\n", "failed at import: RuntimeError: no"),
        ("import sys; sys.exit(3)\n", "failed at import: SystemExit"),
    ],
)
def test_a_file_is_run_only_to_build_what_it_defines(mine: Path, content: str, words: str) -> None:
    from catchup_bench.runs.build import build_method

    mine.write_text(content + MINE)
    run = make_run(str(mine))
    with pytest.raises(UsageError, match=words):
        build_method(run)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"method": "catchupp"}, "did you mean catchup"),
        ({"dataset": "digit"}, "did you mean digits"),
        ({"model": "resnet"}, "unknown model"),
        ({"variant": "D"}, "unknown variant"),
        ({"recipe_name": "digit"}, "did you mean digits"),
        ({"fraction": 0.0}, "--fraction 0.0"),
        ({"fraction": 2.0}, "--fraction 2.0"),
        ({"fraction": float("nan")}, "--fraction nan"),
        ({"seed": -1}, "--seed -1"),
        ({"width": 0}, "--width 0"),
        ({"settings": {"catchup": {"alfa": 1}}}, "did you mean alpha"),
        ({"settings": {"catchup": {"alpha": "big"}}}, "takes a number"),
        ({"settings": {"catchup": {"alpha": -1}}}, "alpha = -1.0"),
        ({"settings": {"cutmix": {"alpha": 1}}}, "only catchup and recipe"),
        ({"method": "nowhere/mine.py"}, "no method file"),
    ],
)
def test_bad_words_are_one_line(kwargs: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_run(**{"method": "catchup", **kwargs})  # type: ignore[arg-type]


def test_streams_are_independent_by_axis_seed_and_step() -> None:
    assert len({derive(s, a, e) for s in range(5) for a in ("order", "augment") for e in range(5)}) == 50


def test_a_changed_file_cannot_continue_a_run(mine: Path) -> None:
    from catchup_bench.runs.build import build_method

    run = make_run(str(mine))
    mine.write_text(MINE + "# changed\n")
    with pytest.raises(UsageError, match="has changed since"):
        build_method(Run.model_validate(run.model_dump()))
