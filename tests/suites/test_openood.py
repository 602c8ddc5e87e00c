"""Several sets out of distribution in one call, and OpenOOD's lists, of few made-up images."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from catchup_bench import data
from catchup_bench.data import Images
from catchup_bench.data.openood import FAR, names_for
from catchup_bench.errors import UsageError
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.suites import ConditionResult, Context, suite_class

from ..support import layouts

OOD = suite_class("ood")
SETS = ("cifar10", "tin", *FAR)


class Dark(nn.Module):
    """The brighter a picture, the less confident."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(100)[3] * (1 - x.mean((1, 2, 3)))[:, None] * 9


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """OpenOOD's folders for CIFAR-100: three known dark pictures, and two of each other set, ever brighter."""
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))
    top = tmp_path / "openood"
    for name in ("cifar100", *SETS):
        count = 3 if name == "cifar100" else 2
        listed = []
        for i in range(count):
            path = top / "images_classic" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = name == "mnist"
            level = 20 * SETS.index(name) + 20 + i if name in SETS else i
            Image.new("L" if grey else "RGB", (28, 28) if grey else (64, 40), level if grey else (level,) * 3).save(
                path
            )
            listed.append(f"{name}/{i}.png {i + 3 if name == 'cifar100' else -1}")
        layouts.put(top / "benchmark_imglist" / "cifar100" / f"test_{name}.txt", "\n".join(listed) + "\n")
    return tmp_path


def context(folder: Path) -> Context:
    test = Images(torch.zeros(5, 32, 32, 3, dtype=torch.uint8), torch.arange(5), torch.arange(5))
    return Context(
        net=Dark(), images=test, dataset="cifar100", mean=(0, 0, 0), device=torch.device("cpu"), batch_size=2,
        data_dir=folder,
    )  # fmt: skip


def test_the_lists_say_which_images_are_known(folder: Path) -> None:
    suite = OOD(out="openood").resolve("cifar100", folder)
    assert suite.outs == names_for("cifar100") and len(suite.conditions()) == 6
    found = dict(suite.run(context(folder), suite.conditions()))
    assert list(found) == suite.conditions() and suite.conditions()[1] == "ood-openood-cifar100-tin-listed"
    for one in found.values():
        assert one.bits.tolist() == [True, False, False], "the three listed ones, not the five of the test set"
        assert (one.values["n_in"], one.values["n_out"]) == (3, 2)
        assert one.values["metrics"]["msp"]["auroc"] == 100
    outcomes = {
        c: Outcome.of(one.bits.numpy(), "ood", as_json(suite.protocol(c)), one.values) for c, one in found.items()
    }
    assert all(OOD.contradictions(outcome) == [] for outcome in outcomes.values())
    rows = suite.figures(outcomes)
    assert rows["near-OOD AUROC, msp, %"] == rows["far-OOD AUROC, energy, %"] == 100
    assert rows["  OpenOOD v1.5 prints for cross-entropy and MSP, ResNet-18, near"] == 80.27
    assert OOD(**OOD.options_of([suite.protocol(c) for c in suite.conditions()])) == suite
    digests = {suite.images_digest(context(folder), c) for c in suite.conditions()}
    assert len(digests) == 6


def test_pictures_are_fitted_and_the_known_are_scored_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.load("openood:cifar100/mnist", "test", folder).x.shape == (2, 32, 32, 3)
    assert data.load("openood:cifar100/cifar100", "test", folder).y.tolist() == [3, 4, 5]
    suite, sizes = OOD(out="openood").resolve("cifar100", folder), []
    net = Dark()
    net.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    where = context(folder)
    object.__setattr__(where, "net", net)
    list(suite.run(where, suite.conditions()))
    assert sum(sizes) == 3 + 6 * 2


def test_several_sets_of_any_kind_in_one_call(folder: Path) -> None:
    suite = OOD(out="openood:cifar100/svhn, digits")
    assert suite.conditions() == ["ood-openood-cifar100-svhn-listed", "ood-digits"]
    found: dict[str, ConditionResult] = dict(suite.run(context(folder), ["ood-digits"]))
    assert list(found) == ["ood-digits"] and len(found["ood-digits"].bits) == 5
    assert suite.openood_figures({}) == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digits,digits", "twice"),
        ("digits,fashion", "did you mean fashionmnist"),
        ("openood:cifar100/lsun", "set of OpenOOD for cifar100"),
        ("openood:digits/svhn", "dataset of OpenOOD's lists"),
    ],
)
def test_names_that_are_not_there_are_one_line(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        for out in OOD(out=name).outs:
            data.get(out)


def test_lists_that_are_not_there_or_lead_elsewhere_are_one_line(folder: Path) -> None:
    with pytest.raises(UsageError, match="scripts/download"):
        data.load("openood:cifar10/svhn", "test", folder)
    with pytest.raises(UsageError, match="dataset of OpenOOD's lists"):
        OOD(out="openood").resolve("digits", folder)
    path = folder / "openood" / "benchmark_imglist" / "cifar100" / "test_svhn.txt"
    for line in ("../secret.png 1", "/etc/secret.png 1", "svhn/0.png"):
        path.write_text(line + "\n")
        with pytest.raises(UsageError, match="is not the path of an image and its label"):
            data.load("openood:cifar100/svhn", "test", folder)
