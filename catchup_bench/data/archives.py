"""Archives: downloaded, checked and unpacked beside their target, so that a folder is there whole or not at all."""

import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError
from ..system.files import file_digest

SHA256_LENGTH = 64


def unpack(url: str, checksum: str, folder: Path, top: str) -> None:
    """Unpack ``folder/top`` from the archive at ``url``, or out of the file of its name that lies in ``folder``. Raises
    :class:`UsageError` for another archive, and what :func:`unpacked` raises."""
    if (folder / top).exists():
        return
    with unpacked(url, checksum, folder) as out:
        if not (out / top).is_dir():
            raise UsageError(f"{url} holds no folder {top}: it is not the official archive")
        os.replace(out / top, folder / top)


def unpack_parts(url: str, checksum: str, folder: Path, top: str, parts: Mapping[str, str]) -> None:
    """Unpack folders of an archive to ``folder/top``: ``parts`` are their names and where else they may lie there. In
    the archive they may lie at any depth up to three. Raises :class:`UsageError` when one is missing from it, and what
    :func:`unpacked` raises."""
    wanted = [name for name, other in parts.items() if not any((folder / top / p).is_dir() for p in (name, other))]
    if not wanted:
        return
    with unpacked(url, checksum, folder) as out:
        found = {name: next((p for up in ("", "*/", "*/*/") for p in out.glob(f"{up}{name}")), None) for name in wanted}
        if lost := [name for name, path in found.items() if path is None]:
            raise UsageError(f"{url} holds no folder {lost[0]}: it is not the official archive")
        (folder / top).mkdir(exist_ok=True)
        for name, path in found.items():
            assert path is not None
            os.replace(path, folder / top / name)


@contextmanager
def unpacked(url: str, checksum: str, folder: Path) -> Iterator[Path]:
    """Give the folder, beside what is in ``folder``, with what the archive at ``url`` holds, or the file of its name
    that lies in ``folder``; afterwards it is gone.

    torchvision downloads. Only the archive with this MD5 or SHA-256 is opened at all, so none can be a bomb or write
    outside. Raises :class:`UsageError` for another one; errors of the libraries below for what cannot be fetched or
    read.
    """
    from torchvision.datasets.utils import check_integrity, download_url, extract_archive

    folder.mkdir(parents=True, exist_ok=True)
    name = url.rsplit("/", 1)[-1]
    sha256 = len(checksum) == SHA256_LENGTH
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as beside:
        archive = folder / name
        if not archive.is_file():
            archive = Path(beside) / name
            download_url(url, beside, name, None if sha256 else checksum)
        right = file_digest(archive) == checksum if sha256 else check_integrity(str(archive), checksum)
        if not right:
            kind = "SHA-256" if sha256 else "MD5"
            raise UsageError(f"{archive} is damaged or another archive (its {kind} is not {checksum}): delete it")
        out = Path(beside) / "unpacked"
        if tarfile.is_tarfile(archive):  # by what it holds: ImageNetV2's .tar.gz is not compressed
            with tarfile.open(archive) as tar:
                tar.extractall(out, filter="data")
        else:
            extract_archive(str(archive), str(out))
        yield out
