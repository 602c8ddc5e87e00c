"""The Hugging Face hub: files of a repository, and nothing of it that is run."""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RunFailed, UsageError, one_line_of
from .files import shallow

HUB = "hf://"
"""Prefix of a checkpoint on the hub."""

HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights in a repository, the best first."""

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class Repo(NamedTuple):
    """A repository of models, at a branch, tag or commit."""

    name: str
    revision: str | None = None


def parse_repo(text: str) -> Repo:
    """Return the repository that ``text`` names: ``OWNER/NAME`` or ``OWNER/NAME@REVISION``, with ``hf://`` before it or
    not. Raises :class:`UsageError` for anything else."""
    found = re.fullmatch(rf"({NAME}/{NAME})(?:@({NAME}(?:/{NAME})*))?", text.removeprefix(HUB))
    if found is None:
        raise UsageError(f"{text!r} names no repository of the hub: write OWNER/NAME, or OWNER/NAME@REVISION")
    return Repo(found[1], found[2])


def endpoint() -> str | None:
    """Return the address of the hub, where it is not the usual one."""
    return os.environ.get("HF_ENDPOINT") or None


def download(repo: Repo, *files: str) -> Path:
    """Return the path of the first of ``files`` that ``repo`` has, from the library's cache if it is there.

    Raises :class:`UsageError` for a repository that is absent or private, or has none of the files, and, after the
    library has tried for half a minute, without a network.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )  # fmt: skip

    away = False
    for file in files:
        try:
            with quiet():
                path = hf_hub_download(
                    repo.name, file, revision=repo.revision, endpoint=endpoint(), local_files_only=away
                )
            return Path(path)
        except GatedRepoError:
            raise UsageError(f"{repo.name} is gated: ask for access on its page, then run hf auth login") from None
        except RevisionNotFoundError:
            raise UsageError(f"{repo.name} has no revision {repo.revision}") from None
        except RepositoryNotFoundError:
            raise UsageError(
                f"{repo.name} is absent or private: check its name; for a private one, run hf auth login first"
            ) from None
        except LocalEntryNotFoundError:
            away = True  # a further file may be in the cache
        except EntryNotFoundError:
            continue
        except Exception as err:  # of the network, of which there are many
            raise UsageError(f"{repo.name} cannot be read: {one_line_of(err)[:200]}") from None
    if away:
        raise UsageError(f"{repo.name} cannot be reached, and its {' or '.join(files)} is not in the cache")
    raise UsageError(f"{repo.name} has no {' or '.join(files)}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the client library from printing each of its attempts; its errors say what came of them."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def download_json(repo: Repo, file: str) -> dict[str, Any]:
    """Return the object in a JSON ``file`` of ``repo``. Raises :class:`UsageError` as :func:`download`, and for a file
    that is not one."""
    path = download(repo, file)
    try:
        values = shallow(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UsageError(f"{file} of {repo.name} is not an object in JSON")
    return values


def upload(repo: Repo, files: Mapping[str, bytes | Path], message: str, private: bool = False) -> str:
    """Make ``repo`` if it is new, and commit ``files`` to it at once; return the address of its page.

    Raises :class:`UsageError` where nobody is logged in, or may not write there, and :class:`RunFailed` without a
    network.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=endpoint())
    changes = [
        CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
        for name, content in files.items()
    ]
    try:
        with quiet():
            url = api.create_repo(repo.name, private=private, exist_ok=True)
            api.create_commit(repo.name, changes, commit_message=message)
    except HfHubHTTPError as err:
        if err.response is not None and err.response.status_code in (401, 403):
            raise UsageError(f"you may not write to {repo.name}: run hf auth login with a token that may") from None
        raise RunFailed(f"{repo.name}: {one_line_of(err)[:200]}") from None
    except Exception as err:  # of the network, of which there are many
        raise RunFailed(f"{repo.name} cannot be reached: {one_line_of(err)[:200]}") from None
    return str(url)
