"""``heldout:NAME``: a fixed fifth of the training images of each class takes the place of the test images."""

import pytest
import torch

from catchup_bench import data
from catchup_bench.data_sources import where
from catchup_bench.errors import UsageError
from catchup_bench.runs.make import make_run


def test_the_parts_are_the_training_images_and_nothing_else() -> None:
    whole, held, rest = data.load("digits", "train"), data.load("heldout:digits", "test"), data.load(
        "heldout:digits", "train"
    )  # fmt: skip
    assert sorted([*held.index.tolist(), *rest.index.tolist()]) == whole.index.tolist()
    per_class = held.y.bincount() / whole.y.bincount()
    assert torch.allclose(per_class, torch.tensor(0.2), atol=0.01)
    assert torch.equal(held.x, whole.x[held.index])
    expected = where("heldout:digits")["images"]
    assert (len(rest), len(held)) == (expected["train"], expected["test"])


def test_no_seed_or_fraction_trains_on_what_is_held_out() -> None:
    held = set(data.load("heldout:digits", "test").index.tolist())
    for seed in range(3):
        tenth = data.load("heldout:digits", "train", fraction=0.1, seed=seed)
        assert len(tenth) > 50 and held.isdisjoint(tenth.index.tolist())


def test_a_method_takes_the_options_of_the_dataset_itself() -> None:
    whole, held = make_run("catchup", "cifar100"), make_run("catchup", "heldout:cifar100")
    assert held.method == whole.method and held.digest != whole.digest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("heldout:imagenet-o", "imagenet-o has no training images of its own to hold out"),
        ("heldout:heldout:digits", "no training images of its own"),
        ("heldout:digit", "digits"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        data.get(name)
    assert "\n" not in str(refused.value)
