"""The forger's kit: nothing gets through."""

import shutil
from pathlib import Path

import pytest

from tests.untrusted import kit

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")


def test_what_is_published_is_not_refused(tmp_path: Path) -> None:
    kit.fresh(tmp_path)
    assert [text for kind, text in kit.answers(tmp_path) if kind == "problem"] == []


@pytest.mark.parametrize(
    "attack",
    [pytest.param(a, marks=needs_ssh_keygen if "key" in a.name or "state" in a.name else ()) for a in kit.RECORDS],
    ids=lambda attack: attack.name,
)
def test_a_forged_record_is_named(attack: kit.Attack, tmp_path: Path) -> None:
    assert kit.tried(attack, tmp_path) == ""


def test_the_name_of_a_device_cannot_write_into_a_page(tmp_path: Path) -> None:
    assert kit.broken_page(tmp_path) == ""


@pytest.mark.slow
def test_forged_runs_and_methods_get_nowhere(tmp_path: Path) -> None:
    results = dict(kit.on_runs(tmp_path))
    assert len(results) > 10 and {name: said for name, said in results.items() if said} == {}
