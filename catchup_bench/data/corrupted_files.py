"""Which files are the published CIFAR-10-C and CIFAR-100-C, and which ``data corrupt`` made."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..system.files import read_json, write_json
from .faults import counted

MARK = "generated.json"
"""Lies beside generated arrays and says of which images they are."""
MD5 = {
    "CIFAR-10-C": {
        "brightness": "0a81ef75e0b523c3383219c330a85d48",
        "contrast": "3c8262171c51307f916c30a3308235a8",
        "defocus_blur": "7d1322666342a0702b1957e92f6254bc",
        "elastic_transform": "9421657c6cd452429cf6ce96cc412b5f",
        "fog": "7b397314b5670f825465fbcd1f6e9ccd",
        "frost": "31f6ab3bce1d9934abfb0cc13656f141",
        "gaussian_blur": "c33370155bc9b055fb4a89113d3c559d",
        "gaussian_noise": "ecaf8b9a2399ffeda7680934c33405fd",
        "glass_blur": "7361fb4019269e02dbf6925f083e8629",
        "impulse_noise": "2090e01c83519ec51427e65116af6b1a",
        "jpeg_compression": "2b9cc4c864e0193bb64db8d7728f8187",
        "labels": "c439b113295ed5254878798ffe28fd54",
        "motion_blur": "fffa5f852ff7ad299cfe8a7643f090f4",
        "pixelate": "0f14f7e2db14288304e1de10df16832f",
        "saturate": "1cfae0964219c5102abbb883e538cc56",
        "shot_noise": "3a7239bb118894f013d9bf1984be7f11",
        "snow": "bb238de8555123da9c282dea23bd6e55",
        "spatter": "8a5a3903a7f8f65b59501a6093b4311e",
        "speckle_noise": "ef00b87611792b00df09c0b0237a1e30",
        "zoom_blur": "6ea8e63f1c5cdee1517533840641641b",
    },
    "CIFAR-100-C": {
        "brightness": "f22d7195aecd6abb541e27fca230c171",
        "contrast": "322bb385f1d05154ee197ca16535f71e",
        "defocus_blur": "d923e3d9c585a27f0956e2f2ad832564",
        "elastic_transform": "a0792bd6581f6810878be71acedfc65a",
        "fog": "4efc7ebd5e82b028bdbe13048e3ea564",
        "frost": "3a39c6823bdfaa0bf8b12fe7004b8117",
        "gaussian_blur": "5204ba0d557839772ef5a4196a052c3e",
        "gaussian_noise": "ecc4d366eac432bdf25c024086f5e97d",
        "glass_blur": "0bf384f38e5ccbf8dd479d9059b913e1",
        "impulse_noise": "3b3c210ddfa0b5cb918ff4537a429fef",
        "jpeg_compression": "c851b7f1324e1d2ffddeb76920576d11",
        "labels": "bb4026e9ce52996b95f439544568cdb2",
        "motion_blur": "732a7e2e54152ff97c742d4c388c5516",
        "pixelate": "96c00c60f144539e14cffb02ddbd0640",
        "saturate": "c0697e9fdd646916a61e9c312c77bf6b",
        "shot_noise": "b0a1fa6e1e465a747c1b204b1914048a",
        "snow": "0237be164583af146b7b144e73b43465",
        "spatter": "12ccf41d62564d36e1f6a6ada5022728",
        "speckle_noise": "e3f215b1a0f9fd9fd6f0d1cf94a7ce99",
        "zoom_blur": "0204613400c034a81c4830d5df81cb82",
    },
}
"""Of the files in the archives of Zenodo records 2535967 and 3555552, without ``.npy``, as TorchUncertainty and MIT's
rAI-toolbox list them; those of the labels were also computed from the official test labels."""


def refuse_generated(folder: Path) -> None:
    """Raise :class:`UsageError` when ``data corrupt`` made the arrays in ``folder``."""
    if (folder / MARK).exists():
        raise UsageError(
            f"{folder} holds arrays that data corrupt made, not the published ones: move it away, or evaluate with "
            "--set corruption.source=generated"
        )


def check_published(folder: Path, names: Sequence[str]) -> None:
    """Raise :class:`UsageError` unless the files ``names``, without ``.npy``, are the published ones to the byte."""
    refuse_generated(folder)
    official, faults = MD5[folder.name], []
    for name in names:
        state = (path := folder / f"{name}.npy").stat()
        if (digest := _md5(path, state.st_size, state.st_mtime_ns)) != official[name]:
            faults.append(
                f"{path} is not the published file (its MD5 is {digest}, not {official[name]}): fetch the corrupted "
                "test set again, or evaluate with --set corruption.source=generated"
            )
    if faults:
        raise UsageError(counted(faults, len(names), "files"))


@cache
def _md5(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def mark_generated(folder: Path, facts: dict[str, Any]) -> None:
    """Mark ``folder`` as one of generated arrays, described by ``facts``.

    Raises :class:`UsageError` when it holds arrays without a mark, or with one of other images.
    """
    mark = folder / MARK
    if mark.exists():
        if read_json(mark, "mark of generated arrays") != facts:
            raise UsageError(f"{folder} holds corrupted images of another test set: choose another folder")
    elif any(folder.glob("*.npy")):
        raise UsageError(f"{folder} holds arrays that data corrupt did not make: choose another folder")
    else:
        write_json(mark, facts)
