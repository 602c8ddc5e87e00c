"""The benchmarks: what they count, with time that passes only when told to, and that they run on a few images."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catchup_bench import corruptions, registry
from catchup_bench.speed import corruptions as speed_of_corruptions
from catchup_bench.speed import gpu, page, reference, suites, train
from tests.conftest import Cli, as_json

REPOSITORY = Path(__file__).parents[2]


def test_ratios_are_of_seconds_an_image() -> None:
    """Batched, an image takes as many seconds as its severity; one at a time ten times that, for fog twenty times."""
    now, factor = [0.0], {"contrast": 10, "fog": 20}

    def batched(name: str, severity: int) -> None:
        now[0] += 7 * severity

    def each(name: str, severity: int) -> None:
        now[0] += 3 * factor[name] * severity

    found = speed_of_corruptions.compare(list(factor), batched, each, 7, 3, rounds=2, clock=lambda: now[0])
    assert found["corruptions"]["contrast"] == pytest.approx({"seconds": 3, "reference_seconds": 30, "ratio": 10})
    assert found["geometric_mean"] == pytest.approx(200**0.5) and found["all_variants"] == pytest.approx(90 / 6)
    assert found["variants"] == 10


@pytest.mark.parametrize("name", corruptions.NAMES)
def test_the_reference_draws_what_its_definition_takes(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for strength in corruptions.parameters(name, 32):
        numbers = reference.numbers(name, image, strength, np.random.default_rng(1))
        found = getattr(reference, name)(image, strength, *numbers)
        assert found.shape == image.shape and found.dtype == np.uint8 and (found != image).any()


def test_the_command_shows_the_smallest_gain_first(cli: Cli) -> None:
    words = ("bench", "corruptions", "--types", "contrast,zoom_blur", "--images", 20, "--one-by-one", 1, "--rounds", 1)
    found = as_json(cli(*words, "--json"))
    assert found["corruptions"].keys() == {"contrast", "zoom_blur"} and found["geometric_mean"] > 0
    shown = cli(*words).stdout
    assert "geometric mean" in shown and "all 10 variants together" in shown


def test_missing_packages_are_one_line_with_the_fix(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    result = cli("bench", "corruptions")
    assert result.exit_code == 2 and "pip install 'catchup-bench[test]'" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_unknown_corruption_is_one_line(cli: Cli) -> None:
    result = cli("bench", "corruptions", "--types", "contrsat")
    assert result.exit_code == 2 and "did you mean contrast?" in result.stderr


@pytest.mark.filterwarnings("ignore")
def test_suites_are_measured_as_shares_of_forward_passes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", "elsewhere")
    monkeypatch.setattr(suites, "PIXELS", 4)
    words = ("bench", "suites", "--dataset", "digits", "--width", 4, "--images", 20)
    found = as_json(cli(*words, "--json"))
    assert set(found["share_of_forward"]) >= {"clean", "corruption, generated", "deformation", "fgsm, one ε"}
    assert all(share > 0 for share in found["share_of_forward"].values())
    assert found["several_eps"]["suite"] > 0 and found["several_eps"]["attack"] > 0
    assert found["cifar100c_files"]["ratio"] > 0
    assert os.environ["CATCHUP_BENCH_CACHE"] == "elsewhere" and not os.path.exists("elsewhere")


def test_the_page_and_the_readme_hold_what_the_records_say(cli: Cli, tmp_path: Path) -> None:
    speed = tmp_path / "docs" / "speed"
    speed.mkdir(parents=True)
    nothing = cli("bench", "page", "--root", tmp_path)
    assert nothing.exit_code == 3 and "no benchmarks in" in nothing.stderr
    words = ("bench", "train", "--dataset", "digits", "--model", "preactresnet10", "--width", 16, "--batch-size", 4)
    found = as_json(cli(*words, "--rounds", 1, "--steps", 1, "--json"))
    (speed / "train-tiny.json").write_text(json.dumps(found))
    (tmp_path / "README.md").write_text("# A\n\n<!-- BEGIN speed -->\nold\n<!-- END speed -->\n")
    assert cli("bench", "page", "--root", tmp_path).exit_code == 0
    text = (tmp_path / "docs" / "speed.md").read_text()
    for name, loop in found["loops"].items():
        assert f"| {name} | {loop['images_per_second']:,.0f} |" in text
    readme = (tmp_path / "README.md").read_text()
    ratios = {name: f"×{loop['ratio']:.2f}" for name, loop in found["loops"].items() if name != "reference"}
    assert f"| {' | '.join(ratios)} |" in readme and f"| {' | '.join(ratios.values())} |" in readme
    assert found["provenance"]["device"] in readme and "old" not in readme and "[train-tiny.json]" in text


@pytest.mark.skipif(not REPOSITORY.joinpath("docs", "speed").exists(), reason="not in a checkout")
def test_the_published_page_is_what_the_records_give() -> None:
    for path, text in page.expected(REPOSITORY).items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is stale: catchup-bench bench page"


def test_speed_beside_a_busy_core_is_relative_to_the_idle_one(cli: Cli) -> None:
    found = as_json(cli("bench", "load", "--width", 2, "--batch-size", 4, "--rounds", 1, "--steps", 1, "--json"))
    assert found["ratio"] > 0 and found["provenance"]["threads"] == 1 and found["model"] == "preactresnet10-w2"


def test_a_peak_is_measured_in_bounded_time() -> None:
    assert train.matmul_peak(torch.device("cpu"), torch.float32, 8, seconds=0.0) > 0


def test_a_device_is_measured_part_by_part(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends one part, the others are had, and each is on disk when the next begins."""
    out, seen = tmp_path / "gpu.json", []

    def broken(setting: gpu.Setting) -> dict[str, Any]:
        seen.append(set(json.loads(out.read_text())["parts"]))
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setitem(gpu.PARTS, "machine", broken)
    monkeypatch.setattr(registry, "methods", lambda: ["baseline", "manifold"])
    words = ("bench", "gpu", "--device", "cpu", "--out", out)
    found = as_json(cli(*words, "--parts", "steps,machine,waits,epochs,methods,evaluation", "--json"))
    assert found == json.loads(out.read_text()) and seen == [{"steps"}] and found["small"]
    parts = found["parts"]
    assert parts["machine"] == {"error": "no kernel for this"} and parts["waits"] == {}
    assert min(parts["steps"]["eager"], parts["steps"]["graphs"], parts["epochs"]["graphs"]) > 0
    plans = parts["methods"]["manifold"]["plans"]
    assert set(plans) == {"0", "2", "3"} and sum(plan["share"] for plan in plans.values()) == pytest.approx(1)
    assert parts["methods"]["manifold"]["captured"] == 3 and all(plan["apart"] == 0 for plan in plans.values())
    assert parts["evaluation"]["corruptions that differ"] == []
    assert all(parts["evaluation"][f"{layout}, captured"] > 0 for layout in ("channels_last", "contiguous"))


def test_steps_that_would_wait_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waits(registry.method_class("baseline")):  # type: ignore[misc]
        def loss(self, net: Any, x: Any, y: Any, plan: Any, gen: Any) -> Any:
            return super().loss(net, x, y, plan, gen) * float(x.sum() >= 0)

    training = gpu.Setting.training

    def waiting(setting: gpu.Setting, method: str = "baseline") -> Any:
        one, plans = training(setting, method)
        one.method = Waits()
        return one, plans

    monkeypatch.setattr(registry, "methods", lambda: ["baseline"])
    monkeypatch.setattr(gpu.Setting, "training", waiting)
    found = gpu.waits(gpu.Setting(torch.device("cpu"), True))
    assert found == {"baseline None": "__float__ reads a tensor's values on the host"}


def test_measurements_of_a_device_are_shown_and_parts_are_known(cli: Cli) -> None:
    shown = cli("bench", "gpu", "--parts", "machine", "--small", "--device", "cpu")
    assert shown.exit_code == 0 and "copy, bytes/s" in shown.stdout and "machine" in shown.stderr
    result = cli("bench", "gpu", "--parts", "machin", "--device", "cpu")
    assert result.exit_code == 2 and "did you mean machine?" in result.stderr
