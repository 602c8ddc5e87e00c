"""Datasets of the ``datasets`` library: which split and which columns are read, and that every label is one."""

import itertools
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from catchup_bench import data
from catchup_bench.data import notes
from catchup_bench.errors import UsageError
from tests.conftest import Cli, as_json

pytestmark = pytest.mark.filterwarnings("ignore")
PETS = datasets.ClassLabel(names=["cat", "dog"])


@pytest.fixture(autouse=True)
def no_notes() -> None:
    notes.take()


NUMBER = itertools.count()


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a dataset of the hub have the splits that are given: labels by name, further columns by ``features``."""

    def make(
        features: dict[str, Any] | None = None, size: int = 8, missing: int | None = None, **splits: list[int | None]
    ) -> str:
        kinds = {"image": datasets.Image(), "label": PETS} | (features or {})

        def part(labels: list[int | None]) -> Any:
            pictures: list[Any] = [Image.fromarray(np.full((size, size, 3), i, np.uint8)) for i in range(len(labels))]
            if missing is not None and missing < len(labels):
                pictures[missing] = None
            columns = {n: pictures if isinstance(k, datasets.Image) else labels for n, k in kinds.items()}
            return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))

        found = datasets.DatasetDict({name: part(labels) for name, labels in splits.items()})
        monkeypatch.setattr(datasets, "load_dataset", lambda path: found)
        return f"hf:made-{next(NUMBER)}"  # what was loaded by a name is kept

    return make


def labels(name: str, split: Any = "test") -> list[int]:
    return data.load(name, split).y.tolist()


@pytest.mark.parametrize("called", ["test", "validation", "valid", "val", "dev"])
def test_the_test_split_has_many_names(called: str, publish: Any) -> None:
    name = publish(train=[0, 1], **{called: [1, 1, 0]})
    assert labels(name) == [1, 1, 0] and labels(name, "train") == [0, 1] and notes.take() == []


@pytest.mark.parametrize("nothing", [[-1, -1], [None, None]])
def test_a_split_without_labels_is_passed_over_and_said(nothing: list[int | None], publish: Any) -> None:
    name = publish(train=[0, 1], test=nothing, validation=[1, 0, 1])
    assert labels(name) == [1, 0, 1]
    assert notes.take() == [f"{name}: test has no labels, validation is the test set"]


@pytest.mark.parametrize("nothing", [[-1, -1], [None, None]])
def test_no_test_split_with_labels_is_one_line(nothing: list[int | None], publish: Any, cli: Cli) -> None:
    name = publish(train=[0, 1], test=nothing)
    for words in (["train", "--method", "baseline", "--dry-run"], ["evaluate", "--checkpoint", "x"]):
        result = cli(*words, "--dataset", name)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
    with pytest.raises(
        UsageError, match=r"no test split with labels, called test or validation or .*: it has train, te"
    ):
        labels(name)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("missing", [-1, None])
def test_a_few_images_without_a_label_are_counted(split: str, missing: int | None, publish: Any, cli: Cli) -> None:
    name = publish(**({"train": [0, 1, 1, 0], "test": [0, 1, 1, 0]} | {split: [0, missing, missing, 1]}))
    result = cli("train", "--method", "baseline", "--dataset", name, "--dry-run")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert f"{name}, {split}, has 2 of 4 labels that are no class, such as -1" in result.stderr


def test_training_images_without_labels_are_one_line_and_no_hindrance_to_evaluation(publish: Any) -> None:
    name = publish(train=[-1, -1], test=[0, 1])
    assert labels(name) == [0, 1]
    with pytest.raises(UsageError, match=f"{name} has no train split with labels, called train: it has train, test"):
        labels(name, "train")


def test_only_test_images_are_enough_to_evaluate(publish: Any, cli: Cli) -> None:
    name = publish(test=[0, 1, 1])
    assert labels(name) == [0, 1, 1] and data.get(name).count_classes() == 2
    assert as_json(cli("data", "check", name, "--json"))["splits"].keys() == {"test"}
    with pytest.raises(UsageError, match="no train split with labels"):
        labels(name, "train")


def test_of_two_label_columns_one_must_be_named(publish: Any) -> None:
    name = publish({"coarse": datasets.ClassLabel(names=["pet"] * 1 + ["other"] * 1 + ["none"])}, train=[0], test=[1])
    with pytest.raises(UsageError, match=rf"label columns label, coarse: say which, as in {name}\?label=label"):
        labels(name)
    assert (
        data.get(f"{name}?label=label").count_classes() == 2 and data.get(f"{name}?label=coarse").count_classes() == 3
    )
    with pytest.raises(UsageError, match="has no column fine of type ClassLabel: it has label, coarse"):
        labels(f"{name}?label=fine")
    with pytest.raises(UsageError, match="did you mean label"):
        labels(f"{name}?lable=coarse")


def test_of_two_image_columns_one_must_be_named(publish: Any) -> None:
    name = publish({"mask": datasets.Image(), "coarse": PETS}, train=[0], test=[1])
    with pytest.raises(
        UsageError, match=rf"image columns image, mask: say which, as in {name}\?label=label&image=image"
    ):
        labels(f"{name}?label=label")
    assert labels(f"{name}?label=coarse&image=mask") == [1]


def test_tiny_images_are_refused_at_once_naming_the_size(publish: Any) -> None:
    with pytest.raises(UsageError, match="has images of 1×1 pixels; they must have at least 8×8"):
        data.get(publish(size=1, train=[0], test=[1]))


def test_every_reader_is_asked_for_labels_that_are_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    digits = data.load("digits", "test")
    spoilt = replace(digits, y=digits.y - 1)
    entry = replace(data.DATASETS["digits"], load=lambda split, folder: spoilt)
    monkeypatch.setitem(data.DATASETS, "digits", entry)
    with pytest.raises(UsageError, match=r"digits has .* of 797 labels that are no class, such as -1"):
        data.load("digits", "test")


def test_a_missing_picture_is_one_line(publish: Any) -> None:
    name = publish(train=[0], test=[1, 0], missing=1)
    with pytest.raises(UsageError, match=r"cannot read .*: there is none"):
        labels(name)
