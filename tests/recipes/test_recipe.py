"""Recipes and settings: values, schedules, and one clear line for what is wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench import recipes
from catchup_bench.errors import UsageError
from catchup_bench.plugins import parse_settings


@pytest.mark.parametrize("name", recipes.available())
def test_every_packaged_recipe_loads(name: str) -> None:
    assert recipes.load(name).epochs >= 1


def test_paper_recipe_is_the_papers() -> None:
    paper = recipes.load("cifar100-paper")
    assert (paper.epochs, paper.batch_size, paper.nesterov, paper.weight_decay) == (2000, 128, False, 1e-4)
    at = [paper.lr_at(e) for e in (0, 499, 500, 999, 1000, 1499, 1500, 1999)]
    assert at == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 1e-4, 1e-4])


def test_quick_recipe_differs_from_the_papers_in_epochs_only() -> None:
    quick, paper = recipes.load("cifar100-quick"), recipes.load("cifar100-paper")
    assert quick.model_copy(update={"epochs": 2000}) == paper
    assert quick.lr_at(7.99) == pytest.approx(0.1) and quick.lr_at(8) == pytest.approx(0.01)


def test_cosine_starts_at_lr_and_ends_at_zero() -> None:
    cosine = recipes.load("digits")
    assert cosine.lr_at(0) == 0.1 and cosine.lr_at(10) == pytest.approx(0.05) and cosine.lr_at(20) < 1e-12


def test_a_cosine_of_epochs_stays_within_one() -> None:
    """The values are those of the logs of a run of 200 epochs with lr 0.1."""
    recipe = recipes.load("openmixup-cifar100-paper", {"epochs": 200, "schedule": "cosine-epoch"})
    assert recipe.lr_at(99) == recipe.lr_at(99.99) == pytest.approx(0.05079, abs=5e-6)
    assert recipe.lr_at(0.5) == 0.1 and recipe.lr_at(199.9) == pytest.approx(6.2e-6, rel=0.01)


@given(st.floats(0, 3))
def test_warmup_is_linear(progress: float) -> None:
    warm = recipes.load("digits", {"warmup_epochs": 3})
    assert math.isclose(warm.lr_at(progress), min(0.1, 0.1 * progress / 3), abs_tol=1e-12)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"epochs": -1}, "epochs = -1"),
        ({"epochs": 0}, "epochs = 0"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"lr": "fast"}, "lr = 'fast'"),
        ({"epoch": 3}, "did you mean epochs"),
        ({"milestones": [0.5, 0.25]}, "rising fractions"),
        ({"milestones": [500]}, "rising fractions"),
        ({"precision": "fp16"}, "precision = 'fp16'"),
    ],
)
def test_bad_values_are_named(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipes.load("digits", overrides)


def test_bad_toml_is_named(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "mine.toml"  # type: ignore[operator]
    path.write_text("epochs = = 3")
    with pytest.raises(UsageError, match=r"mine.toml is not valid TOML"):
        recipes.load(str(path))


def test_settings_are_read_as_toml_numbers_and_lists() -> None:
    given_ = ["catchup.layers=0,1,2", "catchup.alpha=0.5", "recipe.flip=true", "catchup.input_mix=none"]
    assert parse_settings(given_) == {
        "catchup": {"layers": [0, 1, 2], "alpha": 0.5, "input_mix": "none"},
        "recipe": {"flip": True},
    }


@pytest.mark.parametrize("bad", ["alpha=1", "catchup.alpha", ".alpha=1", "catchup.=1", ""])
def test_unreadable_settings_are_refused(bad: str) -> None:
    with pytest.raises(UsageError, match=r"owner\.key=value"):
        parse_settings([bad])


@given(st.text(max_size=40))
def test_any_text_is_a_setting_or_a_usage_error(text: str) -> None:
    try:
        parsed = parse_settings([text])
    except UsageError:
        return
    assert all(isinstance(v, dict) for v in parsed.values())
