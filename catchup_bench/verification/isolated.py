"""The contract of a method, checked in a process of its own, which has neither a network nor anybody's files.

``python -m catchup_bench.verification.isolated METHOD`` is that process. Linux takes the network from it where it lets
a process have a network namespace of its own; everywhere the interpreter refuses sockets, other processes, writing,
and reading what is no code: test images among it. Compiled code that a method brings along is held by the first alone.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, UsageError, VerificationFailed
from ..text import printable

if TYPE_CHECKING:
    from .method import Check

LIMIT = 900
"""Seconds that all checks may take."""

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
"""Flags of unshare(2)."""

CODE = (".py", ".pyc", ".so", ".pyd", ".dll", ".dylib")
"""Endings of files that importing a module reads."""

REFUSED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.remove",
           "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.kill", "shutil.",
           "urllib.", "ftplib.", "http.client.", "smtplib.", "pty.")  # fmt: skip
"""Beginnings of the names of events that a method has no business with (:mod:`sys` documents them)."""


def check_isolated(name: str) -> "list[Check]":
    """Return the checks of the contract of the method called ``name``, or of the file at that path.

    Raises :class:`UsageError` for a file that is no method, and :class:`VerificationFailed` when the checks do not end.
    """
    from .method import Check

    where = str(Path(name).resolve()) if name.endswith(".py") else name
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory(prefix="catchup-bench-") as empty:
        answer = Path(empty, "answer.json")
        environment = {
            **os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "HOME": empty,
            "CATCHUP_BENCH_DATA": empty,
        }  # fmt: skip
        words = [sys.executable, "-m", __spec__.name, where, str(answer)]
        try:
            done = subprocess.run(words, cwd=empty, env=environment, capture_output=True, timeout=LIMIT)
            said = json.loads(answer.read_text(encoding="utf-8"))
            if "error" in said:
                raise UsageError(said["error"].replace(where, name))
            return [Check(str(c["name"]), c["ok"] is True, str(c["detail"])) for c in said["checks"]]
        except subprocess.TimeoutExpired:
            raise VerificationFailed(f"{name}: the contract was not checked within {LIMIT} s") from None
        except (OSError, ValueError, KeyError, TypeError):
            last = done.stderr.decode(errors="replace").split("\n")[-2:]
            raise VerificationFailed(
                f"{name}: the process that checked the contract ended with {done.returncode} and no answer: "
                f"{printable(' '.join(last))}"
            ) from None


def leave_network() -> bool:
    """Take the network from this process, which must have one thread; return whether the system allowed it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (OSError, AttributeError):
        return False
    return unshare(NEW_NETWORK) == 0 or unshare(NEW_USER | NEW_NETWORK) == 0


def refuse(event: str, args: tuple[Any, ...]) -> None:
    """Raise ``PermissionError`` for what a method has no business with: the audit hook of the process."""
    if event == "open":
        path, mode, flags = (*args, None, None, None)[:3]
        if isinstance(path, int):
            return
        writes = any(c in str(mode or "") for c in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        if writes or not os.fsdecode(path).endswith(CODE):
            raise PermissionError(f"a method may not open {printable(os.fsdecode(path))}")
    elif event.startswith(REFUSED):
        raise PermissionError(f"a method may not use {event}")


def main(name: str, answer: str) -> None:
    cut = leave_network()
    from .. import registry
    from .method import Check, check_contract

    checks: list[Check] = []
    with open(answer, "w", encoding="utf-8") as out:
        sys.addaudithook(refuse)
        try:
            checks = check_contract(registry.method_class(name))
        except BenchError as err:
            json.dump({"error": str(err)}, out)
            return
        how = "no network, cut off by the system" if cut else "no sockets; this system leaves a process its network"
        checks.append(Check("runs alone", True, f"{how}; no files but code"))
        json.dump({"checks": [vars(c) for c in checks]}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
