"""The Python API, compared with the command line and with methods on networks that are made here."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet18, vgg11

import catchup_bench
from catchup_bench import api, corruptions, data
from catchup_bench.errors import UsageError
from catchup_bench.leaderboard.statistics import wilson
from catchup_bench.models import MODELS
from catchup_bench.models.keys import RESNET, translate
from catchup_bench.seeds import derive
from tests.conftest import Cli, as_json

ROOT = Path(__file__).resolve().parents[1]


def test_the_examples_are_true() -> None:
    tried = doctest.testmod(api)
    assert tried.failed == 0 and tried.attempted > 10


def test_the_package_imports_nothing_until_it_is_used() -> None:
    code = (
        "import sys, catchup_bench; names = dir(catchup_bench)\n"
        "print([m for m in ('torch', 'numpy', 'pandas', 'pydantic', 'rich') if m in sys.modules], names)\n"
        "from catchup_bench.method import Mixup; from catchup_bench import method\n"
        "print(method('cutmix').method.title, issubclass(type(method('cutmix').method), Mixup))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("[] ") and second == "CutMix True"
    for name in ("board", "corrupt", "evaluate", "method", "train"):
        assert repr(name) in first


def test_evaluation_has_the_bits_of_the_command_line(trained_run: Path, cli: Cli, tmp_path: Path) -> None:
    trained = api.TrainedRun(trained_run)
    words = ["--suite", "clean", "--suite", "fgsm", "--json"]
    stated = as_json(cli("evaluate", trained_run, *words))[str(trained_run)]
    stored = trained.evaluate(["clean", "fgsm"])
    found = api.evaluate(trained.network(), "digits", ["clean", "fgsm"], folder=tmp_path / "kept")
    errors = found.errors()
    assert list(errors.index) == list(stated) == ["clean", "fgsm-4"]
    for condition, row in errors.iterrows():
        outcome = found.outcomes[str(condition)]
        assert outcome.bits == stored.outcomes[str(condition)].bits == trained.record().outcomes[str(condition)].bits
        assert row["error"] == stated[condition]["error"] == 100 * (1 - outcome.array().mean())
        assert (row["low"], row["high"]) == wilson(outcome.n - outcome.correct, outcome.n)
    assert found.means()["clean"] == errors.loc["clean", "error"]
    assert list(trained.metrics().index) == [1, 2] and trained.run.method.name == "catchup"


def test_outcomes_in_a_folder_are_of_one_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10)).train()
    first = api.evaluate(net, suites="clean", folder=tmp_path)
    kept = (tmp_path / "outcomes" / "clean.json").stat().st_mtime_ns
    assert api.evaluate(net, suites="clean", folder=tmp_path).outcomes == first.outcomes
    assert (tmp_path / "outcomes" / "clean.json").stat().st_mtime_ns == kept and net.training
    x = data.load("digits", "test").x.permute(0, 3, 1, 2) / 255
    right = (net(x).argmax(1) == data.load("digits", "test").y).numpy()
    assert (first.outcomes["clean"].array() == right).all()
    with pytest.raises(UsageError, match="measured on other weights"):
        api.evaluate(net, suites="clean", folder=tmp_path, normalise="half")
    half = api.evaluate(net, suites="clean", normalise="half").outcomes["clean"].array()
    assert (half == (net(2 * x - 1).argmax(1) == data.load("digits", "test").y).numpy()).all()
    with pytest.raises(UsageError, match="7 outputs, digits has 10 classes"):
        api.evaluate(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 7)), suites="clean")


def test_paths_may_be_strings(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 12))
    classes = tmp_path / "classes.txt"
    classes.write_text("".join(f"{i}\n" for i in range(2, 12)))
    by_path = api.evaluate(net, suites="clean", classes=classes, folder=tmp_path / "one", data_dir=tmp_path)
    by_text = api.evaluate(
        net, suites="corruption", settings={"corruption": {"types": ["frost"]}},
        classes=str(classes), folder=str(tmp_path / "two"), data_dir=str(tmp_path),
    )  # fmt: skip
    assert len(by_text.outcomes) == 5 and len(by_path.outcomes) == 1 and (tmp_path / "two" / "outcomes").is_dir()


def test_training_resumes_what_the_command_line_began(cli: Cli, tmp_path: Path) -> None:
    words = ["--fraction", "0.1", "--width", "4", "--epochs", "1", "--seed", "3", "--set", "cutmix.alpha=0.5"]
    folder = as_json(cli("train", "--method", "cutmix", *words, "--json"))["folder"]
    made = api.train(
        "cutmix", fraction=0.1, width=4, epochs=1, seed=3, settings={"cutmix": {"alpha": 0.5}}, runs=tmp_path / "again"
    )
    again = made.folder / "last.safetensors"
    assert made.folder.name == Path(folder).name
    assert again.read_bytes() == (tmp_path / folder / "last.safetensors").read_bytes()


@given(
    name=st.sampled_from(corruptions.NAMES),
    severity=st.sampled_from(corruptions.SEVERITIES),
    height=st.integers(16, 40),
    width=st.integers(16, 40),
)
def test_a_corruption_is_the_same_in_any_batch_and_kind(name: str, severity: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    made = catchup_bench.corrupt(pixels, name, severity)
    assert made.shape == pixels.shape and made.dtype == np.uint8 and (made != pixels).any()
    assert (catchup_bench.corrupt(pixels[2], name, severity, indices=[2]) == made[2]).all()
    tensor = torch.from_numpy(pixels)
    assert (catchup_bench.corrupt(tensor, name, severity).numpy() == made).all()
    floats = (tensor.permute(0, 3, 1, 2) / 255).contiguous()
    back = catchup_bench.corrupt(floats, name, severity)
    assert back.shape == floats.shape and back.dtype == floats.dtype
    assert ((back * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy() == made).all()


def test_what_is_no_picture_is_not_corrupted() -> None:
    for images, said in (
        (np.zeros((4, 4), np.uint8), "3 axes"),
        (np.zeros((4, 4, 3), np.int64), "uint8"),
        (np.zeros((4, 4, 1), np.uint8), "shape"),
        (torch.full((3, 4, 4), 1.5), r"lie in \[0,1\]"),
        ([[0]], "an array or a tensor, not list"),
    ):
        with pytest.raises(UsageError, match=said):
            catchup_bench.corrupt(images, "fog", 1)  # type: ignore[type-var]
    with pytest.raises(UsageError, match="no folder absent: catchup-bench data fetch frost"):
        catchup_bench.corrupt(np.zeros((8, 8, 3), np.uint8), "frost", 1, frost="absent")
    with pytest.raises(UsageError, match="did you mean fog"):
        catchup_bench.corrupt(np.zeros((8, 8, 3), np.uint8), "fogg", 1)


@pytest.fixture(scope="module")
def same_networks() -> tuple[nn.Module, nn.Module, nn.Module]:
    """A ResNet-18 of torchvision, of timm and of this project, with the same weights."""
    torch.manual_seed(0)
    theirs = resnet18(num_classes=10)
    of_timm = timm.create_model("resnet18", num_classes=10)
    of_timm.load_state_dict(theirs.state_dict())
    ours = MODELS["resnet18"].build(num_classes=10, width=64, variant="stem7", mean=(0.0,) * 3, std=(1.0,) * 3)
    weights = {translate(name, RESNET): value for name, value in theirs.state_dict().items()}
    assert not ours.load_state_dict(weights, strict=False).unexpected_keys
    return theirs, of_timm, ours


@pytest.mark.parametrize("name", ["catchup", "cutmix", "manifold", "puzzlemix", "moex"])
def test_a_loop_of_ones_own_has_the_losses_of_this_one(
    name: str, same_networks: tuple[nn.Module, nn.Module, nn.Module]
) -> None:
    theirs, of_timm, ours = same_networks
    x, y = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 3, 3, 9])
    losses = []
    for net in (theirs, of_timm):
        mixing = catchup_bench.method(name, seed=5)
        net.zero_grad()
        losses.append([float(mixing.loss(net, x, y).detach()) for _ in range(3)])
        mixing.loss(net, x, y).backward()
        assert all(p.grad is not None for p in net.parameters()) and net.training
    bound = catchup_bench.method(name, seed=5)
    plain = bound.method.bind(ours)
    rng, gen = np.random.default_rng(derive(5, "plan")), torch.Generator().manual_seed(derive(5, "method"))
    plain.start_epoch(ours)
    expected = [float(plain.loss(ours.train(), x, y, plain.plan(rng), gen).detach()) for _ in range(3)]
    assert len(set(expected)) > 1
    np.testing.assert_allclose(losses, [expected, expected], rtol=1e-3)


def test_a_method_is_of_one_network_that_it_can_be_used_with() -> None:
    x, y = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    net = vgg11(num_classes=10)
    with pytest.raises(UsageError, match=r"catchup with VGG: .* stages are not found; they are of ResNet"):
        catchup_bench.method("catchup").loss(net, x, y)
    mixing = catchup_bench.method("cutmix")
    mixing.loss(net, x, y).backward()
    with pytest.raises(UsageError, match="another network already"):
        mixing.loss(resnet18(num_classes=10), x, y)
    with pytest.raises(UsageError, match="did you mean alpha"):
        catchup_bench.method("cutmix", alpah=1.0)
    with pytest.raises(UsageError, match="imagenet, cifar10"):
        catchup_bench.method("cutmix", normalise="dataset")


def test_what_a_method_trains_beside_the_network_is_for_the_optimiser() -> None:
    net = resnet18(num_classes=10)
    mixing = catchup_bench.method("adautomix").bind(net, 32)
    beside = mixing.parameters()
    assert beside and not {id(p) for p in beside} & {id(p) for p in net.parameters()}
    mixing.loss(net, torch.rand(2, 3, 32, 32), torch.tensor([0, 1])).backward()
    assert any(p.grad is not None for p in beside)
    assert catchup_bench.method("baseline").bind(net).parameters() == []


def test_a_boards_table_is_that_of_the_command_line(cli: Cli) -> None:
    from catchup_bench.cli.tables import table_json

    results = catchup_bench.board("digits", root=ROOT)
    table, stated = results.table(), {row["label"]: row for row in table_json(results.results)["rows"]}
    assert list(table.index) == list(stated)
    for label, row in table.iterrows():
        values = {name: v[0] for name, v in stated[str(label)]["values"].items()}
        assert {name: row[name] for name in values} == values
        assert row["tier"] == stated[str(label)]["tier"] and row["n"] == stated[str(label)]["n"]
    assert table.loc["catchup", "verdict"] == stated["catchup"]["against"]["verdict"]
    assert json.loads(table.to_json())  # plain numbers and text
