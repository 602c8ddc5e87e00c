"""Archives: downloaded, checked and unpacked beside their target, so that a folder is there whole or not at all."""

import os
import tempfile
from pathlib import Path

from ..errors import UsageError


def unpack(url: str, md5: str, folder: Path, top: str) -> None:
    """Unpack ``folder/top`` from the archive at ``url``, or out of the file of its name that lies in ``folder``.

    torchvision downloads and unpacks. Only the archive with this MD5 is opened at all, so none can be a bomb or write
    outside. Raises :class:`UsageError` for another one that lies there; torchvision's errors and those of the
    libraries below for what cannot be fetched or read.
    """
    from torchvision.datasets.utils import check_integrity, download_url, extract_archive

    if (folder / top).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    name = url.rsplit("/", 1)[-1]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as beside:
        archive = folder / name
        if not archive.is_file():
            archive = Path(beside) / name
            download_url(url, beside, name, md5)
        elif not check_integrity(str(archive), md5):
            raise UsageError(f"{archive} is damaged or another archive (its MD5 is not {md5}): delete it")
        out = Path(beside) / "unpacked"
        extract_archive(str(archive), str(out))
        if not (out / top).is_dir():
            raise UsageError(f"{url} holds no folder {top}: it is not the official archive")
        os.replace(out / top, folder / top)
