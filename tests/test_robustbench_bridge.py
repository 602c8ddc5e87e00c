"""The bridge to robustbench: with the copy that is on disk, and with each copy in both orders of installation."""

import os
import subprocess
import sys
import types
import venv
from pathlib import Path

import pytest

from catchup_bench import robustbench_bridge
from catchup_bench.errors import UsageError

USE = """
import warnings; warnings.simplefilter("ignore")
from catchup_bench import robustbench_bridge as bridge
import torchattacks
print(bridge.copy_on_disk(), bridge.module("data").load_cifar100c.__name__, len(bridge.zoo()["cifar100"]) > 1)
"""


def test_the_copy_on_disk_can_be_used() -> None:
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    owner, loader, zoo = done.stdout.split()
    assert owner in ("robustbench", "torchattacks") and (loader, zoo) == ("load_cifar100c", "True")


@pytest.mark.network
@pytest.mark.parametrize("order", [("torchattacks", "robustbench"), ("robustbench", "torchattacks")])
def test_both_orders_of_installation(tmp_path: Path, order: tuple[str, str]) -> None:
    """A new environment that sees this one's packages, with the two installed over them in the given order."""
    venv.create(tmp_path, with_pip=True)
    site = next(tmp_path.glob("lib/python*/site-packages"))
    python = tmp_path / "bin" / "python"
    for package in order:
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", package], check=True, capture_output=True)
    (site / "outer.pth").write_text("\n".join(p for p in sys.path if p and Path(p).is_dir()))
    checkout = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run([python, "-c", USE], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [order[1], "load_cifar100c", "True"]


def test_autoattack_is_called_with_the_names_it_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    class Renamed:
        def __init__(self, model: object, *, norm: str, eps: float, attacks: list[str], seed: int) -> None:
            calls.append((norm, eps, attacks, seed))

        def run_standard_evaluation(self, x: object, y: object, *, batch_size: int) -> tuple[object, object]:
            calls.append(batch_size)
            return x, y

    fake = types.ModuleType("pyautoattack")
    fake.AutoAttack = Renamed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyautoattack", fake)
    attack = robustbench_bridge.AutoAttack(
        None, norm="L2", eps=0.5, attacks_to_run=["apgd-ce"], seed=1, log_path=None, verbose=False
    )
    assert attack.run_standard_evaluation("x", "y", bs=7, state_path=None) == "x"
    assert calls == [("L2", 0.5, ["apgd-ce"], 1), 7]


def test_the_real_autoattack_runs_through_the_alias() -> None:
    import torch

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
    x, y = torch.rand(3, 3, 2, 2), torch.tensor([0, 1, 2])
    attack = robustbench_bridge.AutoAttack(
        net, norm="Linf", eps=0.1, attacks_to_run=["apgd-ce"], version="custom", device="cpu"
    )
    found = attack.run_standard_evaluation(x, y, bs=3)
    assert found.shape == x.shape and (found - x).abs().max() <= 0.1 + 1e-6


def test_missing_pkg_resources_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    real = robustbench_bridge.importlib.util.find_spec
    monkeypatch.setattr(
        robustbench_bridge.importlib.util, "find_spec", lambda n: None if n == "pkg_resources" else real(n)
    )
    with pytest.raises(UsageError, match="setuptools<81"):
        robustbench_bridge.bridge()


def test_unknown_zoo_models_get_a_suggestion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(robustbench_bridge, "zoo", lambda: {"cifar100": {"corruptions": ["Hendrycks2020AugMix_WRN"]}})
    with pytest.raises(UsageError, match="did you mean Hendrycks2020AugMix_WRN"):
        robustbench_bridge.load_model("Hendrycks2020AugMix", "cifar100", tmp_path)
    with pytest.raises(UsageError, match="unknown dataset of robustbench"):
        robustbench_bridge.load_model("Hendrycks2020AugMix_WRN", "digits", tmp_path)
