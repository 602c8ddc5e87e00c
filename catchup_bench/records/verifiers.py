"""Statements of maintainers that a run was trained again: signed with a key in ``leaderboards/verifiers.toml``.

A statement is ``verified-seed<k>.<name>.json`` beside the record, its signature that name with ``.sig``, both as
``ssh-keygen -Y sign`` takes and makes them. One valid statement is level 3; a second, of another maintainer, level 4.
"""

import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UsageError, one_line
from ..system.files import file_digest, read_json
from ..system.toml_files import read_toml
from .facts import Digest, Stamp

NAMESPACE = "catchup-bench"
"""What a signature is for, so that none can be used for another purpose."""

NAME = r"^[a-z0-9][a-z0-9_-]{0,31}$"


class Maintainer(BaseModel):
    """Someone whose statements count, by a public key as in ``~/.ssh/id_ed25519.pub``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=NAME)
    key: str = Field(pattern=r"^(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( [!-~]{0,200})?$", max_length=4096)


class Verifiers(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    maintainers: tuple[Maintainer, ...] = ()


class Statement(BaseModel):
    """That ``maintainer`` trained the run of a record again; ``weights`` is the SHA-256 of what came out, ``error`` the
    mean error over the board's conditions beside the record's, in percent."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    level: Literal[3] = 3
    maintainer: str = Field(pattern=NAME)
    record_sha256: Digest
    weights: Digest
    error: Annotated[float, Field(ge=0, le=100)]
    error_of_record: Annotated[float, Field(ge=0, le=100)]
    made: Stamp


def verifiers_file(leaderboards: Path) -> Path:
    """Return the file of maintainers in the folder ``leaderboards``."""
    return leaderboards / "verifiers.toml"


def read_verifiers(leaderboards: Path) -> dict[str, Maintainer]:
    """Return the maintainers by name; empty where there is no file."""
    path = verifiers_file(leaderboards)
    if not path.exists():
        return {}
    try:
        listed = Verifiers.model_validate(read_toml(str(path), "list of verifiers", "catchup_bench"))
    except ValidationError as err:
        raise UsageError(f"{path}: {one_line(err)}") from None
    by_name = {one.name: one for one in listed.maintainers}
    if len(by_name) < len(listed.maintainers) or len({one.key.split()[1] for one in listed.maintainers}) < len(by_name):
        raise UsageError(f"{path}: every maintainer needs a name and a key of their own")
    return by_name


def statement_file(record: Path, maintainer: str) -> Path:
    """Return where the statement of a maintainer on ``record`` lies."""
    return record.with_name(f"verified-{record.stem}.{maintainer}.json")


def statements_of(record: Path) -> list[Path]:
    """Return the statements beside ``record``, sorted."""
    return sorted(record.parent.glob(f"verified-{record.stem}.*.json"))


def check_statement(path: Path, record: Path, verifiers: dict[str, Maintainer]) -> str:
    """Return the maintainer whose valid statement on ``record`` the file at ``path`` is. Raises :class:`UsageError`
    saying why it is none."""
    try:
        statement = Statement.model_validate(read_json(path, "statement"))
    except ValidationError as err:
        raise UsageError(f"{path.name} is not a maintainer's statement: {one_line(err)}") from None
    maintainer = verifiers.get(statement.maintainer)
    if maintainer is None or path != statement_file(record, statement.maintainer):
        raise UsageError(f"{path.name} is of {statement.maintainer}, who is not listed in verifiers.toml by that name")
    if statement.record_sha256 != file_digest(record):
        raise UsageError(f"{path.name} is of other bytes than the record has now")
    signature = path.with_name(f"{path.name}.sig")
    if not signature.is_file() or signature.stat().st_size > 65_536:
        raise UsageError(f"{path.name} is not signed: sign it with ssh-keygen -Y sign -n {NAMESPACE}")
    if not signed(path.read_bytes(), signature.read_bytes(), maintainer):
        raise UsageError(f"{path.name} is not signed with the key of {maintainer.name}")
    return maintainer.name


@lru_cache(4096)
def signed(content: bytes, signature: bytes, maintainer: Maintainer) -> bool:
    """Return whether ``signature`` is the maintainer's over ``content``. Raises :class:`UsageError` where there is no
    OpenSSH of 8.1 or later."""
    with tempfile.TemporaryDirectory() as folder:
        allowed, given = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text(f'{maintainer.name} namespaces="{NAMESPACE}" {maintainer.key}\n', encoding="utf-8")
        given.write_bytes(signature)
        words = ["-f", str(allowed), "-I", maintainer.name, "-n", NAMESPACE, "-s", str(given)]
        return ssh_keygen("verify", *words, content=content).returncode == 0


def sign(path: Path, key: Path) -> Path:
    """Sign the file at ``path`` with the private key at ``key`` and return its signature's path."""
    signature = path.with_name(f"{path.name}.sig")
    signature.unlink(missing_ok=True)
    done = ssh_keygen("sign", "-f", str(key), "-n", NAMESPACE, str(path))
    if done.returncode != 0 or not signature.is_file():
        raise UsageError(f"cannot sign {path} with {key}: {' '.join(done.stderr.decode(errors='replace').split())}")
    return signature


def ssh_keygen(action: str, *words: str, content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", "-Y", action, *words], input=content, capture_output=True, timeout=60)
    except FileNotFoundError:
        raise UsageError("signatures need ssh-keygen of OpenSSH 8.1 or later: install it") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"ssh-keygen -Y {action} did not end in a minute") from None


def read_statements(record: Path, leaderboards: Path) -> tuple[set[str], list[str]]:
    """Return the maintainers with a valid statement on ``record``, and what is wrong with the other statements."""
    names, problems = set[str](), list[str]()
    if paths := statements_of(record):
        verifiers = read_verifiers(leaderboards)
        for path in paths:
            try:
                names.add(check_statement(path, record, verifiers))
            except UsageError as err:
                problems.append(str(err))
    return names, problems
