"""Gradients of all networks, at narrow widths, in a process of its own under glibc's heap checker."""

import os
from pathlib import Path

import pytest

from catchup_bench.models import MODELS
from catchup_bench.verification.gradients import QUICK, check_gradients

ALL = [(name, width) for name in MODELS for width in ((16,) if name == "resnext50" else (1, 3, 4, 6, 8))]


@pytest.mark.parametrize("instructions", ["", "AVX2"])
def test_narrow_networks_have_right_gradients(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a strided 1×1 convolution in the shortcut, width 4 aborts and width 6 is wrong on vectors of 8 numbers."""
    if instructions:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", instructions)
    assert check_gradients(QUICK) == []


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["", "AVX2"])
def test_every_network_has_right_gradients(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if instructions:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", instructions)
    assert check_gradients(ALL, timeout=1200) == []


def test_a_wrong_gradient_and_a_crash_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The check sees what it is there for: a network that is wrong, and one that ends the process."""
    (tmp_path / "broken.py").write_text(
        "import os\n"
        "from catchup_bench.verification import gradients\n"
        "def errors_of(name, width):\n"
        "    if width == 3:\n"
        "        os.abort()\n"
        "    yield 0.5\n"
        "gradients.errors_of = errors_of\n"
        "gradients.main()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    lines = check_gradients([("wrn16-8", 1), ("wrn16-8", 3)], module="broken")
    assert lines[0] == "wrn16-8 of width 1: its gradient is 50% off"
    assert lines[1].startswith("wrn16-8 of width 3: ended the process with -6")
