"""Networks of timm, torchvision, a file and the hub: evaluated, trained, and refused in one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from catchup_bench import api, data
from catchup_bench.models import pretrained
from catchup_bench.records.outcomes import read_outcomes
from tests.conftest import Cli, as_json
from tests.support import hub_server

NET = """
import torch
from torch import nn

def build(num_classes=10):
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, num_classes))

def seven():
    return build(7)

def breaks(num_classes):
    raise KeyError("weights")

def wrong():
    return "net"
"""

DIGITS = ["--dataset", "digits", "--suite", "clean", "--json"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub_server.Hub]:
    with hub_server.serving() as server:
        hub_server.use(server, monkeypatch, tmp_path / "cache")
        yield server


def bits(net: nn.Module, mean: Any, std: Any) -> torch.Tensor:
    """Which digits ``net`` gets right, computed here."""
    test = data.load("digits", "test")
    x = (test.x.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        return net.eval()(x).argmax(1) == test.y


def evaluated(cli: Cli, tmp_path: Path, *words: object) -> torch.Tensor:
    found = as_json(cli("evaluate", *words, *DIGITS))
    return torch.from_numpy(read_outcomes(tmp_path / next(iter(found)))["clean"].array())


def test_a_state_of_timm_and_torchvision_is_evaluated(cli: Cli, tmp_path: Path) -> None:
    """Wrapped or not, with another number of classes than the dataset's where a file says which they are."""
    torch.manual_seed(0)
    net = models.resnet18(num_classes=12)
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "net.pt")
    (tmp_path / "classes.txt").write_text("\n".join(map(str, range(10))))
    entry = data.get("digits")
    expected = bits(nn.Sequential(net, Head(10)), entry.mean, entry.std)
    for name in ("torchvision:resnet18", "timm:resnet18"):
        words = ["--model", name, "--checkpoint", "net.pt", "--classes", "classes.txt"]
        assert torch.equal(evaluated(cli, tmp_path, *words), expected)
    refused = cli("evaluate", "--model", "timm:resnet26", "--checkpoint", "net.pt", *DIGITS)
    assert refused.exit_code == 2 and "is of another network than timm:resnet26: " in refused.stderr
    refused = cli("evaluate", "--model", "timm:resnet18", "--checkpoint", "net.pt", *DIGITS)
    assert refused.exit_code == 2 and "has 12 outputs, digits has 10 classes" in refused.stderr


class Head(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, : self.classes]


def test_a_function_in_a_file_is_evaluated_and_trained(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    made: dict[str, Any] = {}
    exec(NET, made)
    found = evaluated(cli, tmp_path, "--model", "./net.py:build", "--normalise", "half")
    assert torch.equal(found, bits(made["build"](), (0.5,) * 3, (0.5,) * 3))
    words = ["--method", "cutmix", "--model", "./net.py:build", "--epochs", "1", "--fraction", "0.1", "--json"]
    run = as_json(cli("train", *words))
    assert run["run"]["model"].keys() == {"name", "file", "sha256"} and run["run"]["model"]["name"] == "net:build"
    folder = tmp_path / run["folder"]
    weights = folder / "last.safetensors"
    own = evaluated(cli, tmp_path, folder.name, "--runs", folder.parent)
    assert torch.equal(evaluated(cli, tmp_path, "--model", "./net.py:build", "--checkpoint", weights), own)
    alone = cli("evaluate", "--checkpoint", weights, *DIGITS)
    assert alone.exit_code == 2 and "is not run for it: give --model FILE.py:FUNCTION" in alone.stderr
    (tmp_path / "net.py").write_text(NET + "# another\n")
    changed = cli("evaluate", folder, "--suite", "clean")
    assert changed.exit_code == 2 and "./net.py has changed since this run was made" in changed.stderr
    stale = cli("evaluate", "--model", "./net.py:build", "--checkpoint", weights, *DIGITS)
    assert stale.exit_code == 2 and "is of a net:build, not of this net:build" in stale.stderr


@pytest.mark.parametrize("name", ["timm:resnet10t", pytest.param("torchvision:resnet18", marks=pytest.mark.slow)])
def test_a_network_of_a_library_is_trained_by_a_method_that_mixes_features(cli: Cli, tmp_path: Path, name: str) -> None:
    """Repeated, it comes to the same bytes; its run, its weights alone and its record are evaluated like any other."""
    words = ["--method", "catchup", "--model", name, "--epochs", "1", "--fraction", "0.02", "--json"]
    first, second = (as_json(cli("train", *words, "--runs", f"runs{i}"))["folder"] for i in range(2))
    weights = [(tmp_path / folder / "last.safetensors") for folder in (first, second)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    own = evaluated(cli, tmp_path, first)
    assert torch.equal(evaluated(cli, tmp_path, "--checkpoint", weights[0]), own)
    net = api.TrainedRun(tmp_path / first).network("cpu")
    assert torch.equal(bits(net, (0.0,) * 3, (1.0,) * 3), own) and len(net.stages) == 5  # type: ignore[arg-type]
    assert name.replace(":", "_") in first


def test_what_the_hub_offers_is_evaluated(cli: Cli, tmp_path: Path, hub: hub_server.Hub) -> None:
    """A repository of timm, by its name on the hub and by its name in timm; without a network, from the cache."""
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=10)
    config = {
        "architecture": "resnet10t", "num_classes": 10, "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5] * 3},
    }  # fmt: skip
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    repo = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": (tmp_path / "net.safetensors").read_bytes(),
    }
    hub.repos["someone/digits"] = repo
    expected = bits(net, (0.1, 0.2, 0.3), (0.5,) * 3)
    assert torch.equal(evaluated(cli, tmp_path, "--model", "hf:someone/digits"), expected)

    offered = timm.get_pretrained_cfg("resnet10t")
    big = timm.create_model("resnet10t")
    save_file(big.state_dict(), tmp_path / "big.safetensors")
    hub.repos[offered.hf_hub_id] = {"model.safetensors": (tmp_path / "big.safetensors").read_bytes()}
    (tmp_path / "classes.txt").write_text("\n".join(map(str, range(10))))
    found = evaluated(cli, tmp_path, "--model", "timm:resnet10t", "--classes", "classes.txt")
    assert torch.equal(found, bits(nn.Sequential(big, Head(10)), offered.mean, offered.std))
    said = cli("evaluate", "--model", "hf:someone/digits", *DIGITS).stderr
    assert "images are normalised by mean 0.1, 0.2, 0.3; std 0.5, 0.5, 0.5 (its library's; --normalise gives" in said


def test_what_the_hub_does_not_offer_is_said(cli: Cli, tmp_path: Path, hub: hub_server.Hub) -> None:
    hub.repos |= {"a/secret": {"config.json": b"{}"}, "a/empty": {}, "a/list": {"config.json": b"[1]"}}
    hub.repos |= {"a/other": {"config.json": b"{}"}, "a/code": {"config.json": b'{"architecture": "../evil"}'}}
    hub.repos["a/odd"] = {"config.json": b'{"architecture": "resnet10t"}', "model.safetensors": b"x"}
    hub.private.add("a/secret")
    for name, said in (
        ("hf:a/absent", "a/absent is absent or private"),
        ("hf:a/secret", "a/secret is absent or private"),
        ("hf:a/empty", "a/empty has no config.json"),
        ("hf:a/list", "config.json of a/list is not an object"),
        ("hf:a/other", "neither that of timm nor of transformers"),
        ("hf:a/code", "unknown model timm:../evil"),
        ("hf:a/odd", "a/odd does not say what normalises its images"),
        ("hf:a/empty@v2", "a/empty has no revision v2"),
        ("hf:nobody", "names no repository of the hub"),
    ):
        refuse(cli, tmp_path, ["--model", name], said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model timm:resnet19", "unknown model timm:resnet19: did you mean resnet18"),
        ("--model torchvision:resnet19", "unknown model torchvision:resnet19: did you mean resnet"),
        ("--model other:net", "unknown model 'other:net'"),
        ("--model ./absent.py:build", "no file at ./absent.py"),
        ("--model ./net.py:absent", "net.py has no function absent"),
        ("--model ./net.py:breaks", "breaks failed: KeyError: 'weights'"),
        ("--model ./net.py:wrong", "must return a torch.nn.Module; it returns str"),
        ("--model ./net.py:seven", "has 7 outputs, digits has 10 classes"),
        ("--model timm:resnet18 --width 8", "--width"),
    ],
)
def test_what_is_no_network_is_refused(cli: Cli, tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "net.py").write_text(NET)
    if "--width" not in words:
        refuse(cli, tmp_path, words.split(), said)
    if "outputs" in said:
        said = "net:seven has 7 outputs for 10 classes"
    refuse(cli, tmp_path, ["--method", "baseline", *words.split()], said, "train")


def test_the_extra_is_named_where_it_is_missing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: hub_server.Hub
) -> None:
    import sys

    hub.repos["a/vit"] = {"config.json": b'{"model_type": "vit"}'}
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    refuse(cli, tmp_path, ["--model", "timm:resnet18"], "pip install 'catchup-bench[timm]'")
    refuse(cli, tmp_path, ["--model", "hf:a/vit"], "pip install 'catchup-bench[transformers]'")


@pytest.mark.slow
def test_a_network_of_transformers_is_evaluated(cli: Cli, tmp_path: Path, hub: hub_server.Hub) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16, patch_size=4,
        num_labels=10,
    )  # fmt: skip
    net = transformers.ViTForImageClassification(config)
    net.save_pretrained(tmp_path / "vit")
    files = {f.name: f.read_bytes() for f in (tmp_path / "vit").iterdir()}
    files["preprocessor_config.json"] = json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}).encode()
    hub.repos["someone/vit"] = files | {"modeling.py": b"raise SystemExit"}
    found = evaluated(cli, tmp_path, "--model", "hf:someone/vit")
    assert torch.equal(found, bits(pretrained.Logits(net), (0.5,) * 3, (0.25,) * 3))
    assert not [r for r in hub.requests if "modeling.py" in r]


def refuse(cli: Cli, tmp_path: Path, words: list[str], said: str, command: str = "evaluate") -> None:
    result = cli(command, *words, *(["--dataset", "digits", "--suite", "clean"] if command == "evaluate" else []))
    assert result.exit_code == 2, result.output
    assert said in result.stderr and len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not (tmp_path / "runs").exists()
