"""What a submission may not change: marks of verification, the list of maintainers, and records that were there."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from ..records.results_folder import VERIFIED, pages_folder
from ..records.verifiers import Maintainer, check_statement, read_verifiers, verifiers_file


def find_changes(root: Path, commit: str) -> Iterator[tuple[Path, str]]:
    """Yield (file below ``leaderboards/``, why a submission may not change it), of all that changed since ``commit``.

    A new statement that is signed with a key listed at ``commit`` is a maintainer's and may be there. Raises
    :class:`UsageError` when git does not know the commit.
    """
    top = pages_folder(root)
    if git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}") is None:
        raise UsageError(f"--since {commit}: git knows no such commit in {root}")
    words = ("--name-status", "--no-renames", "-z", commit, "--", str(top.relative_to(root)))
    changed = (git(root, "diff", *words) or "").split("\0")
    new = (git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", str(top.relative_to(root))) or "").split(
        "\0"
    )
    listed = verifiers_at(root, commit)
    entries = [*zip(changed[::2], changed[1::2], strict=False), *(("A", name) for name in new if name)]
    prefix = (git(root, "rev-parse", "--show-prefix") or "").strip()
    for status, name in entries:
        path = root / name.removeprefix(prefix)
        if path == verifiers_file(top):
            yield path, "the list of maintainers is theirs: a submission may not change it"
        elif path.name.startswith(VERIFIED):
            if status != "A" or not signed_at(path, listed):
                yield path, "marks of verification are made by maintainers: a submission may not change them"
        elif path.suffix in (".html", ".npz"):
            yield path, "reports are made from records, each for oneself: a submission has none"
        elif status != "A" and path.name.startswith("seed") and path.suffix == ".json":
            yield path, "records stay as they are: a submission may add some, not change or delete them"


def verifiers_at(root: Path, commit: str) -> dict[str, Maintainer]:
    """Return the maintainers as they were at ``commit``."""
    name = verifiers_file(pages_folder(root)).relative_to(root).as_posix()
    content = git(root, "show", f"{commit}:./{name}")
    if content is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        verifiers_file(Path(folder)).write_text(content, encoding="utf-8")
        return read_verifiers(Path(folder))


def signed_at(path: Path, listed: dict[str, Maintainer]) -> bool:
    """Return whether ``path`` is a valid statement of one of ``listed``, or the signature of one."""
    statement = path.with_name(path.name.removesuffix(".sig"))
    stem = statement.name.removeprefix(VERIFIED).split(".")[0]
    try:
        return bool(check_statement(statement, path.with_name(f"{stem}.json"), listed))
    except UsageError:
        return False


def git(root: Path, *words: str) -> str | None:
    """Return what git prints in ``root``; ``None`` where it fails. Raises :class:`UsageError` without git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise UsageError(f"--since needs git: {err}") from None
    return done.stdout.decode("utf-8", errors="surrogateescape") if done.returncode == 0 else None
