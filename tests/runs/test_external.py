"""External weights: through the command line, from every container, and refused in one line."""

import json
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor

from catchup_bench import data
from catchup_bench.data.normalisation import CONSTANTS, OF_DATASET
from catchup_bench.errors import UsageError
from catchup_bench.evaluation.evaluated_model import Choices, model_of_weights
from catchup_bench.models.keys import DENSENET, translate
from catchup_bench.recipes import Recipe
from catchup_bench.runs import checkpoint, external
from catchup_bench.runs.build import build_net
from catchup_bench.runs.run import MethodSpec, ModelSpec
from tests.conftest import Cli, as_json
from tests.support import preact

DIGITS = ["--dataset", "digits", "--model", "preactresnet10", "--width", "4", "--suite", "clean"]


@pytest.fixture
def weights(only_trained_run: Path) -> dict[str, Tensor]:
    """Of a trained network, as someone would keep them who has no normalisation inside."""
    return {k: v for k, v in load_file(only_trained_run / "last.safetensors").items() if k not in ("mean", "std")}


def clean_error(cli: Cli, *words: object) -> float:
    found = as_json(cli("evaluate", *words, "--json"))
    return float(next(iter(found.values()))["clean"]["error"])


def refused(cli: Cli, path: Path, *words: str) -> str:
    """The one line with which the file is refused; nothing is written."""
    before = sorted(path.parent.rglob("*"))
    result = cli("evaluate", "--checkpoint", path, *(words or DIGITS))
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and sorted(path.parent.rglob("*")) == before
    return lines[0]


def prefixed(state: dict[str, Tensor], prefix: str) -> OrderedDict[str, Tensor]:
    return OrderedDict((prefix + k, v) for k, v in state.items())


CONTAINERS: list[tuple[str, Any, dict[str, Any]]] = [
    ("plain.pt", lambda s: s, {}),
    ("parallel.pth.tar", lambda s: {"state_dict": prefixed(s, "module."), "epoch": 3, "best": 1.5}, {}),
    ("compiled.pth", lambda s: {"model": prefixed(s, "_orig_mod.module."), "optimizer": {"lr": 0.1}}, {}),
    ("legacy.tar", lambda s: {"net": prefixed(s, "model.")}, {"_use_new_zipfile_serialization": False}),
    ("nested.pt", lambda s: {"model": {"state_dict": prefixed(s, "module.")}}, {}),
    ("ema-only.pt", lambda s: {"state_dict_ema": prefixed(s, "module."), "epoch": 3}, {}),
    ("swa.pt", lambda s: prefixed(s, "module.") | {"n_averaged": torch.tensor(5)}, {}),
    ("shadow.pt", lambda s: {"ema": {"decay": 0.9, "module": s}}, {}),
    ("lightning.ckpt", lambda s: {"state_dict": prefixed(s, "net.backbone."), "callbacks": {"x": 1}}, {}),
    ("encoder.pt", lambda s: {"network": prefixed(s, "encoder.")}, {}),
    ("student.pt", lambda s: {"student": s, "teacher": {k: -v for k, v in s.items()}}, {}),
    ("students.pt", lambda s: prefixed(s, "student.") | prefixed({k: -v for k, v in s.items()}, "teacher."), {}),
    ("sequential.pt", lambda s: prefixed(s, "module.1._orig_mod."), {}),
    ("config.pt", lambda s: {"model": {"name": "resnet", "width": 4}, "net": s}, {}),
    ("uncounted.pt", lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")}, {}),
]


@pytest.mark.parametrize(("name", "wrap", "how"), CONTAINERS, ids=[c[0] for c in CONTAINERS])
def test_state_dicts_give_what_the_run_gives(
    cli: Cli, tmp_path: Path, trained_run: Path, weights: dict[str, Tensor], name: str, wrap: Any, how: dict[str, Any]
) -> None:
    torch.save(wrap(weights), tmp_path / name, **how)
    error = clean_error(cli, "--checkpoint", tmp_path / name, *DIGITS)
    assert error == clean_error(cli, trained_run, "--suite", "clean")
    kept = json.loads(next((tmp_path / "runs").glob("checkpoint-digits-*/evaluation.json")).read_text())["checkpoint"]
    assert kept["file"] == name and kept["normalisation"] == "the dataset's"
    assert kept["model"] == {"name": "preactresnet10", "width": 4, "variant": "B"}


def other(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that give other outcomes."""
    gen = torch.Generator().manual_seed(0)
    return {k: torch.randn(v.shape, generator=gen) if k == "head.linear.weight" else v for k, v in weights.items()}


BOTH: list[tuple[str, Any, str, str]] = [
    ("timm.pt", lambda raw, ema: {"state_dict": raw, "state_dict_ema": ema}, "state_dict", "state_dict_ema"),
    ("convnext.pt", lambda raw, ema: {"model_ema": ema, "model": raw}, "model", "model_ema"),
    ("nested.pt", lambda raw, ema: {"net": {"model": raw, "ema": ema}}, "net.model", "net.ema"),
    (
        "flat.pt",
        lambda raw, ema: prefixed(raw, "model.") | prefixed(ema, "module.ema_model.module."),
        "raw",
        "ema_model",
    ),
    (
        "lightning.pt",
        lambda raw, ema: {"state_dict": prefixed(raw, "net.") | prefixed(ema, "net_ema.")},
        "state_dict",
        "state_dict.net_ema",
    ),
]


@pytest.mark.parametrize(("name", "wrap", "raw", "averaged"), BOTH, ids=[b[0] for b in BOTH])
def test_of_raw_and_averaged_weights_it_is_said_which_were_taken(
    cli: Cli, tmp_path: Path, weights: dict[str, Tensor], name: str, wrap: Any, raw: str, averaged: str
) -> None:
    torch.save(weights, tmp_path / "raw.pt")
    torch.save(other(weights), tmp_path / "ema.pt")
    expected = [clean_error(cli, "--checkpoint", tmp_path / file, *DIGITS) for file in ("raw.pt", "ema.pt")]
    torch.save(wrap(weights, other(weights)), tmp_path / name)
    for words, taken, error in (((), raw, expected[0]), (("--weights", averaged), averaged, expected[1])):
        result = cli("evaluate", "--checkpoint", tmp_path / name, *DIGITS, *words, "--json")
        ((folder, found),) = as_json(result).items()
        assert found["clean"]["error"] == error
        assert f"the weights under {taken} were taken; --weights takes others that are there" in result.stderr
        assert json.loads((tmp_path / folder / "evaluation.json").read_text())["checkpoint"]["weights"] == taken
    assert expected[0] != expected[1]
    line = refused(cli, tmp_path / name, *DIGITS, "--weights", "ema2")
    assert "no weights under ema2" in line and averaged in line


def test_state_dicts_that_a_file_holds_twice_keep_both_names(weights: dict[str, Tensor]) -> None:
    both: dict[str, Any] = {"state_dict": weights, "state_dict_ema": weights, "epoch": 1}
    both["model"] = both
    assert set(external.state_dicts(both)) == {"state_dict", "state_dict_ema"}


def test_a_file_of_many_references_is_searched_once() -> None:
    """Four levels of a thousand references each would be 10^12 paths; a thousand levels, too deep a recursion."""
    level: dict[str, Any] = {"w": torch.zeros(1)}
    for _ in range(4):
        level = {str(i): level for i in range(1000)}
    assert len(external.state_dicts(level)) == 1000
    for _ in range(10_000):
        level = {"model": level}
    assert external.state_dicts(level) == {}


def test_averaged_weights_of_one_name_are_both_kept() -> None:
    """So that what is too much is refused."""
    (found,) = external.state_dicts({"ema.w": torch.zeros(1), "module.ema.w": torch.ones(1)}).values()
    assert found == {"w": 0, "module.ema.w": 1}


def test_unusual_keys_are_named(cli: Cli, tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save({"generator": weights, "optimizer": {"state": {0: torch.zeros(1)}}}, tmp_path / "m.pt")
    assert "but under generator: say which with --weights" in refused(cli, tmp_path / "m.pt")
    torch.save(weights, tmp_path / "plain.pt")
    error = clean_error(cli, "--checkpoint", tmp_path / "m.pt", *DIGITS, "--weights", "generator")
    assert error == clean_error(cli, "--checkpoint", tmp_path / "plain.pt", *DIGITS)


PREACTS = [
    ("preactresnet18", "B", (2, 2, 2, 2), False),
    ("preactresnet18", "A", (2, 2, 2, 2), False),
    ("preactresnet18", "C", (2, 2, 2, 2), False),
    ("preactresnet50", "A", (3, 4, 6, 3), True),
]


@pytest.mark.parametrize(("name", "variant", "depths", "wide"), PREACTS)
def test_preactresnets_of_pytorch_cifar_and_mixup_cifar10_give_their_answers(
    tmp_path: Path, name: str, variant: str, depths: tuple[int, ...], wide: bool
) -> None:
    """Against an implementation of their architecture that shares nothing with ours."""
    state = preact.make_state(depths, 2, 10, stem_bn=variant == "B", wide=wide, last=variant == "C")
    torch.save({"net": prefixed(state, "module."), "acc": 95.0, "epoch": 199}, tmp_path / "ckpt.pth")
    spec = ModelSpec(name=name, width=2, variant=variant)
    choices = Choices(normalise="cifar10")
    model = model_of_weights(tmp_path / "ckpt.pth", spec, "digits", tmp_path, None, torch.device("cpu"), choices)
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in CONSTANTS["cifar10"])
    with torch.inference_mode():
        expected = preact.logits(state, (x - mean) / std, activated=variant == "B")
        torch.testing.assert_close(model.net.eval()(x), expected, rtol=1e-4, atol=1e-4)


def test_a_variant_that_fits_is_named(cli: Cli, tmp_path: Path) -> None:
    state = preact.make_state((1, 1, 1, 1), 4, 10, stem_bn=False, wide=False, last=False)
    torch.save(state, tmp_path / "m.pt")
    assert refused(cli, tmp_path / "m.pt").endswith("it fits --variant A")
    assert "normalised by" in cli("evaluate", "--checkpoint", tmp_path / "m.pt", *DIGITS, "--variant", "A").stderr


def test_resnets_of_pytorch_cifar_are_read(tmp_path: Path) -> None:
    """Its ResNet18 has torchvision's blocks with ``shortcut`` for ``downsample`` and ``linear`` for ``fc``."""
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = torch.nn.Identity()
    names = {k: k.replace("downsample", "shortcut").replace("fc.", "linear.") for k in net.state_dict()}
    torch.save({names[k]: v for k, v in net.state_dict().items()}, tmp_path / "m.pt")
    spec = ModelSpec(name="resnet18", width=64, variant="stem3")
    choices = Choices(normalise="none")
    model = model_of_weights(tmp_path / "m.pt", spec, "digits", tmp_path, None, torch.device("cpu"), choices)
    x = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model.net.eval()(x), net.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "how", "mean", "std"),
    [
        ((), "the dataset's", 0.3053, 0.3754),
        (("--normalise", "imagenet"), "imagenet", 0.485, 0.229),
        (("--normalise", "cifar100"), "cifar100", 0.5071, 0.2673),
        (("--normalise", "none"), "none", 0, 1),
        (("--normalise", "0.25,0.5"), "0.25,0.5", 0.25, 0.5),
        (("--normalise", "0.1,0.2,0.3,0.4,0.5,0.6"), "0.1,0.2,0.3,0.4,0.5,0.6", 0.1, 0.4),
    ],
)
def test_normalisation_is_chosen_said_and_recorded(
    cli: Cli, tmp_path: Path, weights: dict[str, Tensor], words: tuple[str, ...], how: str, mean: float, std: float
) -> None:
    torch.save(weights, tmp_path / "m.pt")
    result = cli("evaluate", "--checkpoint", tmp_path / "m.pt", *DIGITS, *words, "--json")
    (folder,) = as_json(result)
    assert f"normalised by mean {mean:g}, " in result.stderr and f"std {std:g}, " in result.stderr
    assert f"({how}" in result.stderr and ("--normalise gives others" in result.stderr) == (not words)
    kept = json.loads((tmp_path / folder / "evaluation.json").read_text())["checkpoint"]
    assert (kept["normalisation"], kept["mean"][0], kept["std"][0]) == (how, mean, std)


@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1), (3, 1, 1)])
@pytest.mark.parametrize("prefix", ["", "module.normalize.", "0."])
def test_constants_of_any_shape_are_read_from_a_file(
    tmp_path: Path, weights: dict[str, Tensor], shape: tuple[int, ...], prefix: str
) -> None:
    values = {"mean": torch.tensor([0.1, 0.2, 0.3]), "std": torch.tensor([0.4, 0.5, 0.6])}
    state = prefixed(weights, "1.") | {prefix + k: v.view(shape) for k, v in values.items()}
    torch.save(state, tmp_path / "m.pt")
    spec = ModelSpec(name="preactresnet10", width=4, variant="B")
    model = model_of_weights(tmp_path / "m.pt", spec, "digits", tmp_path, None, torch.device("cpu"))
    own = model.net.state_dict()
    assert all(torch.equal(own[k], v.view(1, 3, 1, 1)) for k, v in values.items())
    assert model.checkpoint["normalisation"] == "the file's" and "the file's" in model.notes[0]


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"mean": torch.tensor([123.7, 116.3, 103.5]), "std": torch.ones(3)}, "divide constants of images in 0 to 255"),
        ({"mean": torch.zeros(3), "std": torch.zeros(3)}, "standard deviations above 0"),
        ({"mean": torch.full((3,), float("nan")), "std": torch.ones(3)}, "means lie in 0 to 1"),
        ({"mean": torch.zeros(1), "std": torch.ones(1)}, "three of each"),
        ({"mean": torch.zeros(9**6), "std": torch.ones(3)}, "three of each"),
        ({"mean": torch.zeros(3)}, "one of the constants"),
        ({"mean": torch.zeros(3, device="meta"), "std": torch.ones(3)}, "no plain numbers"),
    ],
)
def test_constants_that_make_no_sense_are_refused(
    cli: Cli, tmp_path: Path, weights: dict[str, Tensor], constants: dict[str, Tensor], words: str
) -> None:
    torch.save(weights | constants, tmp_path / "m.pt")
    assert words in refused(cli, tmp_path / "m.pt")
    assert "normalised by" in cli("evaluate", "--checkpoint", tmp_path / "m.pt", *DIGITS, "--normalise", "half").stderr


@pytest.mark.parametrize("text", ["cifar1000", "", "0.5", "0.5,0", "2,1", "nan,1", "1,2,3", "0.5,0.5,0.5,0.2,0.2,x"])
def test_normalise_takes_a_name_or_numbers(cli: Cli, tmp_path: Path, weights: dict[str, Tensor], text: str) -> None:
    torch.save(weights, tmp_path / "m.pt")
    assert f"--normalise {text}" in refused(cli, tmp_path / "m.pt", *DIGITS, f"--normalise={text}")


def test_choices_are_for_checkpoints(cli: Cli, trained_run: Path) -> None:
    for words in (("--normalise", "none"), ("--weights", "ema"), ("--classes", "x")):
        result = cli("evaluate", trained_run, *words)
        assert result.exit_code == 2 and "are for a --checkpoint" in result.stderr


def test_constants_of_a_recipe_and_of_evaluate_are_one_table() -> None:
    choices = get_args(Recipe.model_fields["normalise"].annotation)
    assert set(choices) == {OF_DATASET, *CONSTANTS}


def test_external_safetensors_need_no_card(
    cli: Cli, tmp_path: Path, trained_run: Path, weights: dict[str, Tensor]
) -> None:
    save_file(dict(prefixed(weights, "module.")), tmp_path / "m.safetensors")
    error = clean_error(cli, "--checkpoint", tmp_path / "m.safetensors", *DIGITS)
    assert error == clean_error(cli, trained_run, "--suite", "clean")
    assert "give --model and --dataset" in refused(cli, tmp_path / "m.safetensors", "--suite", "clean")


def test_a_torchvision_file_gives_torchvisions_answers(cli: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=10)
    torch.save({"state_dict": net.state_dict()}, tmp_path / "resnet18.pth")
    words = ["--dataset", "digits", "--model", "resnet18", "--suite", "clean"]
    error = clean_error(cli, "--checkpoint", tmp_path / "resnet18.pth", *words)
    images, entry = data.load("digits", "test"), data.get("digits")
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (entry.mean, entry.std))
    with torch.inference_mode():
        x = (images.x.permute(0, 3, 1, 2).float() / 255 - mean) / std
        wrong = (net.eval()(x).argmax(1) != images.y).double().mean()
    assert error == pytest.approx(100 * float(wrong)) and 50 < error < 100


def test_published_densenet_names_are_read_in_both_spellings() -> None:
    for theirs in ("norm.1", "norm1"):
        name = f"features.denseblock3.denselayer12.{theirs}.running_var"
        assert translate(name, DENSENET) == "stages.3.0.denselayer12.norm1.running_var"


def test_constants_in_the_file_are_kept_and_stated(tmp_path: Path, trained_run: Path) -> None:
    state = load_file(trained_run / "last.safetensors") | {"mean": torch.full((1, 3, 1, 1), 0.25)}
    torch.save(state, tmp_path / "m.pt")
    spec = ModelSpec(name="preactresnet10", width=4, variant="B")
    model, other = (
        model_of_weights(tmp_path / "m.pt", spec, name, tmp_path, None, torch.device("cpu"))
        for name in ("digits", "cifar10")
    )
    assert torch.equal(model.net.state_dict()["mean"], state["mean"])
    assert model.checkpoint["normalisation"] == "the file's" and model.folder != other.folder


def test_what_does_not_fit_is_listed(cli: Cli, tmp_path: Path, weights: dict[str, Tensor]) -> None:
    net = build_net(ModelSpec(name="preactresnet10", width=4, variant="B"), "digits", torch.device("cpu"))
    first, *others = [k for k in net.state_dict() if k.startswith("stages.2.") and not k.endswith("tracked")]
    state = {k: v for k, v in weights.items() if k not in others}
    state[first] = torch.zeros(3, 7)
    state |= {"line\nbreak": torch.zeros(1)} | {f"aux.{i}": torch.zeros(1) for i in range(4)}
    torch.save(state, tmp_path / "m.pt")
    line = refused(cli, tmp_path / "m.pt")
    assert f"{len(others)} missing ({', '.join(others[:3])}, …)" in line
    assert "5 unexpected ('line\\nbreak', aux.0, aux.1, …)" in line
    assert f"1 of another shape or kind ({first} is (3, 7) of torch.float32, not " in line


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.complex64), torch.zeros(1, device="meta"),
     torch.zeros(1).to_sparse()],
    ids=["int", "complex", "meta", "sparse"],
)  # fmt: skip
def test_tensors_of_another_kind_do_not_fit(weights: dict[str, Tensor], tensor: Tensor) -> None:
    net = torch.nn.BatchNorm2d(1)
    state = {**net.state_dict(), "weight": tensor}
    with pytest.raises(UsageError, match="1 of another shape or kind"):
        checkpoint.load_weights(net, state, Path("x"))
    checkpoint.load_weights(net, {**net.state_dict(), "weight": torch.full((1,), 3, dtype=torch.bfloat16)}, Path("x"))
    assert net.weight == 3


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_unrun(cli: Cli, tmp_path: Path, zipped: bool) -> None:
    bad = {"state_dict": {"w": torch.zeros(1)}, "args": Bomb(tmp_path / "ran")}
    torch.save(bad, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    assert "can run code" in refused(cli, tmp_path / "m.pt")
    assert not (tmp_path / "ran").exists()


def test_a_card_that_names_a_python_file_runs_nothing(cli: Cli, tmp_path: Path, trained_run: Path) -> None:
    """The network is built without the external method: which is all that an evaluation needs."""
    (tmp_path / "mine.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    tensors, run = checkpoint.read_weights(trained_run / "last.safetensors")
    assert run is not None
    spec = MethodSpec(name="mine", options={}, file=str(tmp_path / "mine.py"))
    checkpoint.save_tensors(tensors, run.model_copy(update={"method": spec}), tmp_path / "m.safetensors", epoch=2)
    error = clean_error(cli, "--checkpoint", tmp_path / "m.safetensors", "--suite", "clean")
    assert error == clean_error(cli, trained_run, "--suite", "clean") and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_of_pytorch_are_refused(
    cli: Cli, tmp_path: Path, weights: dict[str, Tensor], zipped: bool
) -> None:
    path = tmp_path / "m.pt"
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for size in (2, 40, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:size])
        refused(cli, path)


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


BROKEN = {
    "empty": b"",
    "short": b"\x01",
    "text": b"not a checkpoint at all, only words in a file",
    "oversized header": header(b"{}", 2**63),
    "header beyond the end": header(b'{"w":', 10_000),
    "no JSON": header(b"{broken"),
    "deep JSON": header(b"[" * 100_000),
    "tensor beyond the end": header(b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    "overflowing shape": header(b'{"w":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}'),
    "unknown dtype": header(b'{"w":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}}'),
    "card that is no JSON": header(b'{"__metadata__":{"catchup_bench":"[[["}}'),
    "card of no run": header(b'{"__metadata__":{"catchup_bench":"{}"}}'),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_safetensors_are_refused(cli: Cli, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    refused(cli, tmp_path / "m.safetensors")


def test_half_a_safetensors_file_is_refused(cli: Cli, tmp_path: Path, trained_run: Path) -> None:
    whole = (trained_run / "last.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "not a whole safetensors file" in refused(cli, tmp_path / "m.safetensors", "--suite", "clean")


def test_files_without_a_state_dict_are_refused(cli: Cli, tmp_path: Path) -> None:
    itself: dict[str, Any] = {}
    itself["model"] = itself
    for value in ([1, 2], {}, {"weights": {"w": torch.zeros(1)}}, {"w": 1.5}, {3: torch.zeros(1)}, itself):
        torch.save(value, tmp_path / "m.pt")
        assert "holds no state dict" in refused(cli, tmp_path / "m.pt")


def test_two_tensors_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two tensors for head\.linear\.bias"):
        external.rename({"fc.bias": torch.zeros(1), "module.fc.bias": torch.ones(1)}, {"fc": "head.linear"}, Path("x"))
