"""Tests hold behaviour: none replaces a clock or a private name, or looks into a function; what a test needs is handed
in."""

import ast
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.rglob("*.py"))

CLOCKS = {"time", "sleep", "monotonic", "perf_counter", "process_time"}


def wrong(tree: ast.AST) -> list[str]:
    """What a test does that it should not, each with its line."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("__closure__", "cell_contents"):
            lines.append(f"{node.lineno}: reads {node.attr}")
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr"):
            continue
        target, *rest = node.args
        if isinstance(target, ast.Constant):
            lines.append(f"{node.lineno}: replaces {target.value} by a path in a string")
        for name in (one.value for one in rest[:1] if isinstance(one, ast.Constant)):
            if str(name).startswith("_") or name in CLOCKS:
                lines.append(f"{node.lineno}: replaces {name}")
    return lines


def test_what_is_wrong_is_seen() -> None:
    code = "m.setattr('a.b', 1)\nm.setattr(a, '_b', 1)\nm.setattr(a, 'time', 1)\nf.__closure__\nm.setattr(a, 'b', 1)"
    assert [line[0] for line in sorted(wrong(ast.parse(code)))] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_no_test_replaces_a_clock_or_a_private_name(path: Path) -> None:
    assert wrong(ast.parse(path.read_text(encoding="utf-8"))) == []
