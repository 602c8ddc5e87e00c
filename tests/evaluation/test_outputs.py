"""Outputs of external networks that stand for the classes of a dataset, and the folders of their outcomes."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from catchup_bench import data, robustbench_bridge
from catchup_bench.boards import ExternalEntry
from catchup_bench.boards import load as load_board
from catchup_bench.boards.grid import external_job
from catchup_bench.errors import UsageError
from catchup_bench.evaluation.evaluate import evaluate
from catchup_bench.evaluation.evaluated_model import (
    Choices,
    EvaluatedModel,
    model_of_checkpoint,
    model_of_external,
    model_of_weights,
)
from catchup_bench.evaluation.outputs import SelectedOutputs, choose_outputs
from catchup_bench.models import MODELS
from catchup_bench.robustbench_bridge import imagenet_wnids
from catchup_bench.runs.run import DatasetSpec, ExternalNetwork, ModelSpec
from catchup_bench.suites import make_suites
from catchup_bench.system.files import file_digest
from tests.conftest import Cli, as_json
from tests.support import layouts

SPEC = ModelSpec(name="resnet18", width=2, variant="stem7")

MODEL = ("--model", "resnet18", "--width", 2, "--suite", "clean")

PLACES = [7, 99, 250, 998]
"""Outputs of the four classes here, by their position among ImageNet's."""

CPU = torch.device("cpu")


def save_network(path: Path, outputs: int = 1000) -> torch.nn.Module:
    """Save a random network whose largest output is never one of the first four, nor one of ``PLACES``."""
    torch.manual_seed(0)
    net = MODELS["resnet18"].build(num_classes=outputs, width=2, variant="stem7", mean=(0.5,) * 3, std=(0.25,) * 3)
    with torch.no_grad():
        net.head.linear.weight.normal_(0, 3)
        net.head.linear.bias[500 % outputs] = 1000
    torch.save(net.state_dict(), path)
    return net.eval()


def images_in(root: Path, names: list[str]) -> Path:
    return layouts.folders(root, names, train=layouts.items(4, 1, 32, 32), test=layouts.items(4, 6, 32, 32, seed=50))


def expected_error(net: torch.nn.Module, dataset: str, outputs: list[int], folder: Path | None = None) -> float:
    """Return the error in percent of the largest of the ``outputs``, counted image by image."""
    images = data.load(dataset, "test", folder)
    wrong = 0
    for x, y in zip(images.x, images.y.tolist(), strict=True):
        with torch.inference_mode():
            logits: Tensor = net(x.permute(2, 0, 1)[None].float() / 255)[0]
        wrong += max(range(len(outputs)), key=lambda label: float(logits[outputs[label]])) != y
    return 100 * wrong / len(images)


def clean_error(cli: Cli, *words: object) -> tuple[float, str]:
    result = cli("evaluate", *words, "--json")
    return next(iter(as_json(result).values()))["clean"]["error"], result.stderr


def refused(cli: Cli, *words: object) -> str:
    result = cli("evaluate", *words)
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1, result.output
    assert not Path("runs").exists()
    return result.stderr


def test_the_order_of_imagenets_classes_is_that_of_timm() -> None:
    info = pytest.importorskip("timm.data").ImageNetInfo()
    assert imagenet_wnids() == info.label_names() == sorted(imagenet_wnids()) and len(imagenet_wnids()) == 1000


def test_a_head_of_1000_outputs_is_refused_on_a_folder_of_four(cli: Cli, tmp_path: Path) -> None:
    save_network(tmp_path / "m.pt")
    images_in(tmp_path / "pets", ["bird", "cat", "dog", "fish"])
    line = refused(cli, "--checkpoint", "m.pt", "--dataset", "folder:pets", *MODEL)
    assert "has 1000 outputs, folder:pets has 4 classes" in line and "--classes FILE" in line


@pytest.mark.parametrize("outputs", [3, 5, 1001])
def test_heads_of_another_size_are_refused(cli: Cli, tmp_path: Path, outputs: int) -> None:
    save_network(tmp_path / "m.pt", outputs)
    images_in(tmp_path / "part", [imagenet_wnids()[i] for i in PLACES])
    assert f"{outputs} outputs" in refused(cli, "--checkpoint", "m.pt", "--dataset", "folder:part", *MODEL)


def test_a_folder_with_wordnet_ids_is_scored_by_their_outputs(cli: Cli, tmp_path: Path) -> None:
    net = save_network(tmp_path / "m.pt")
    images_in(tmp_path / "part", [imagenet_wnids()[i] for i in PLACES])
    error, said = clean_error(cli, "--checkpoint", "m.pt", "--dataset", "folder:part", *MODEL)
    assert error == expected_error(net, "folder:part", PLACES) < 100
    assert "4 of its 1000 outputs stand for the classes of folder:part, by WordNet ids" in said
    (kept,) = [json.loads(p.read_text())["checkpoint"] for p in Path("runs").glob("*/evaluation.json")]
    assert kept["outputs"]["by"] == "WordNet ids" and kept["outputs"]["count"] == 4


@pytest.mark.parametrize("name", ["imagenet", "imagenet-o"])
def test_a_part_of_imagenet_is_scored_by_its_outputs(cli: Cli, tmp_path: Path, name: str) -> None:
    net = save_network(tmp_path / "m.pt")
    wnids, pictures = [imagenet_wnids()[i] for i in PLACES], layouts.items(4, 2, 230, 230)
    layouts.folders(tmp_path / "imagenet", wnids, train=layouts.items(4, 1, 32, 32), val=pictures)
    layouts.folders(tmp_path, wnids, **{"imagenet-o": pictures})
    error, _ = clean_error(cli, "--checkpoint", "m.pt", "--dataset", name, "--data-dir", tmp_path, *MODEL)
    assert error == expected_error(net, name, PLACES, tmp_path)


def test_networks_of_the_zoo_are_scored_by_their_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = save_network(tmp_path / "m.pt")
    monkeypatch.setattr(robustbench_bridge, "load_model", lambda name, dataset, folder: net)
    wnids = [imagenet_wnids()[i] for i in PLACES]
    pictures = layouts.items(4, 1, 32, 32)
    layouts.folders(tmp_path / "imagenet", wnids, train=pictures, val=pictures)
    model = model_of_checkpoint("robustbench:X", None, "imagenet", tmp_path / "runs", tmp_path, CPU)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.net(x), net(x)[:, PLACES])
    (line,) = model.notes
    assert "by WordNet ids" in line
    with pytest.raises(UsageError, match="1000 outputs, cifar10 has 10 classes"):
        model_of_checkpoint("robustbench:X", None, "cifar10", tmp_path / "runs", tmp_path, CPU)
    with pytest.raises(UsageError, match="--normalise and --weights are for files"):
        model_of_checkpoint(
            "robustbench:X", None, "imagenet", tmp_path / "runs", tmp_path, CPU, Choices(normalise="none")
        )


def test_a_network_without_an_output_for_each_class_is_not_evaluated(tmp_path: Path) -> None:
    """Whoever made the network: a Python caller, too."""
    images_in(tmp_path / "d", ["bird", "cat", "dog", "fish"])
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 5))
    model = EvaluatedModel(net, f"folder:{tmp_path / 'd'}", tmp_path / "run", {})
    with pytest.raises(UsageError, match="4 classes"):
        evaluate(model, make_suites(["clean"], {}), device=CPU)
    assert not (tmp_path / "run").exists()


def test_rows_of_a_board_choose_normalisation_and_weights(tmp_path: Path) -> None:
    net = save_network(tmp_path / "raw.pt", 10)
    path = tmp_path / "checkpoints" / "m.pt"
    path.parent.mkdir()
    raw = net.state_dict()
    torch.save({"model": raw, "model_ema": {k: v + 1 if k == "head.linear.bias" else v for k, v in raw.items()}}, path)
    entry = ExternalEntry(
        label="row", checkpoint="m.pt", sha256=file_digest(path), normalise="half", weights="model_ema"
    )
    board = load_board("digits")
    setup = board.setups[0].model_copy(update={"model": "resnet18", "width": 2, "variant": "stem7"})
    job = external_job(board.model_copy(update={"setups": (setup,)}), entry)
    assert isinstance(job.run, ExternalNetwork)
    model = model_of_external(job.run, tmp_path / "runs", tmp_path, CPU)
    state = model.net.state_dict()
    assert torch.equal(state["head.linear.bias"], raw["head.linear.bias"] + 1) and (state["std"] == 0.5).all()
    assert model.checkpoint["normalisation"] == "half" and model.checkpoint["weights"] == "model_ema"


def test_outputs_are_those_of_the_classes_alone() -> None:
    net, x = torch.nn.Linear(3, 10), torch.rand(4, 3)
    torch.testing.assert_close(SelectedOutputs(net, [7, 2])(x), net(x)[:, [7, 2]])


def test_classes_come_from_a_file_of_outputs_or_of_names(cli: Cli, tmp_path: Path) -> None:
    net = save_network(tmp_path / "m.pt", 6)
    names = ["bird", "ca\u0302t", "dog", "fish"]  # the circumflex as a character of its own
    images_in(tmp_path / "pets", names)
    Path("outputs.txt").write_text("4\n0\n5\n2\n")
    Path("names.txt").write_text("c\u00e2t\nhorse\nfish\ncow\nbird\ndog\n", encoding="utf-8")
    for file in ("outputs.txt", "names.txt"):
        words = ("--checkpoint", "m.pt", "--dataset", "folder:pets", *MODEL, "--classes", file)
        error, said = clean_error(cli, *words)
        assert error == expected_error(net, "folder:pets", [4, 0, 5, 2]) and f"--classes {file}" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\n2\n3\n", "3 outputs for 4 classes"),
        ("1\n2\n3\n6\n", "no output 6"),
        ("1\n2\n3\n3\n", "stands for two classes"),
        ("bird\ncat\ndog\nfish\n", "4 names for 6 outputs"),
        ("bird\ncat\ndog\nfish\nbird\nx\n", "does not for bird"),
        ("a\nb\nc\nd\ne\nf\n", "does not for bird, cat, dog, …"),
        ("", "0 outputs for 4 classes"),
        ("99999999999999999999\n1\n2\n3", "no output"),
    ],
)
def test_files_of_classes_that_do_not_fit_are_refused(cli: Cli, tmp_path: Path, text: str, words: str) -> None:
    save_network(tmp_path / "m.pt", 6)
    images_in(tmp_path / "pets", ["bird", "cat", "dog", "fish"])
    Path("classes.txt").write_text(text)
    line = refused(cli, "--checkpoint", "m.pt", "--dataset", "folder:pets", *MODEL, "--classes", "classes.txt")
    assert words in line and "--classes" in line
    missing = refused(cli, "--checkpoint", "m.pt", "--dataset", "folder:pets", *MODEL, "--classes", "none.txt")
    assert "cannot be read" in missing


def test_only_imagenets_networks_have_its_outputs(tmp_path: Path) -> None:
    images_in(tmp_path / "part", [imagenet_wnids()[i] for i in PLACES])
    dataset = data.get(f"folder:{tmp_path / 'part'}")
    assert choose_outputs(1000, dataset, None, None, True, "m")[0] == PLACES
    with pytest.raises(UsageError, match="1000 outputs"):
        choose_outputs(1000, dataset, None, None, False, "m")


def test_outcomes_of_one_dataset_are_not_shown_for_another(cli: Cli, tmp_path: Path) -> None:
    """``folder:a/b`` and ``folder:a_b`` once had one folder for outcomes."""
    net = save_network(tmp_path / "m.pt", 4)
    names = ["bird", "cat", "dog", "fish"]
    images_in(tmp_path / "a" / "b", names)
    layouts.folders(tmp_path / "a_b", names, train=layouts.items(4, 1, 32, 32), test=layouts.items(4, 3, 32, 32, 70))
    for dataset in ("folder:a/b", "folder:a_b"):
        found = as_json(cli("evaluate", "--checkpoint", "m.pt", "--dataset", dataset, *MODEL, "--json"))
        (outcomes,) = found.values()
        assert outcomes["clean"]["error"] == expected_error(net, dataset, [0, 1, 2, 3])
    assert len(list(Path("runs").iterdir())) == 2


def test_what_differs_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["bird", "cat", "dog", "fish"]
    for place in ("one", "two"):
        images_in(tmp_path / place / "d", names)
    raw, averaged = save_network(tmp_path / "m.pt", 4).state_dict(), save_network(tmp_path / "n.pt", 4).state_dict()
    torch.save({"model": raw, "ema": averaged}, tmp_path / "m.pt")
    torch.save({"model": raw, "ema": averaged, "epoch": 3}, tmp_path / "n.pt")
    (tmp_path / "classes").write_text("3\n2\n1\n0\n")
    stem3 = ModelSpec(name="resnet18", width=2, variant="stem3")
    save_stem3 = MODELS["resnet18"].build(num_classes=4, width=2, variant="stem3").state_dict()
    torch.save(save_stem3, tmp_path / "s.pt")
    found = []
    for place, dataset, file, spec, choices in (
        ("one", "folder:d", "m.pt", SPEC, Choices()),
        ("two", "folder:d", "m.pt", SPEC, Choices()),
        ("one", "folder:../one/d", "m.pt", SPEC, Choices()),
        ("one", "folder:d", "n.pt", SPEC, Choices()),
        ("one", "folder:d", "s.pt", stem3, Choices()),
        ("one", "folder:d", "m.pt", SPEC, Choices(normalise="none")),
        ("one", "folder:d", "m.pt", SPEC, Choices(weights="ema")),
        ("one", "folder:d", "m.pt", SPEC, Choices(classes=tmp_path / "classes")),
    ):
        monkeypatch.chdir(tmp_path / place)
        make = [model_of_weights(tmp_path / file, spec, dataset, tmp_path, None, CPU, choices) for _ in range(2)]
        assert make[0].folder == make[1].folder
        found.append(make[0].folder)
    assert len(set(found)) == len(found)


def test_digests_of_external_networks_of_before_stay() -> None:
    """The first two as the version before ``normalise`` and ``weights`` gave them."""
    zoo = ExternalNetwork(checkpoint="robustbench:X", dataset=DatasetSpec(name="cifar100", fraction=1.0))
    file = ExternalNetwork(
        checkpoint="m.pt", sha256="0" * 64, dataset=DatasetSpec(name="cifar100", fraction=1.0), model=SPEC
    )
    assert (zoo.digest, file.digest) == ("acc182d9ea79", "7c21b241782d")
    assert file.model_copy(update={"normalise": "none"}).digest != file.digest
