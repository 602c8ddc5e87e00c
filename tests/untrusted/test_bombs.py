"""Small files that expand to hundreds of megabytes, and headers that claim more: refused before they are expanded."""

import io
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from catchup_bench.data import cars
from catchup_bench.data.corrupted import open_array
from catchup_bench.errors import UsageError
from tests.conftest import Cli
from tests.support import layouts

MANY = 200_000_000
"""Bytes that a bomb expands to."""


def refused(cli: Cli, folder: Path, *words: object) -> str:
    """The one line on stderr; nothing below ``folder`` may have changed."""
    before = {p: p.lstat().st_mtime_ns for p in folder.rglob("*") if not p.is_dir()}
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of tests, where Pillow's warning is none of ours
        result = cli(*words)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.stderr
    assert {p: p.lstat().st_mtime_ns for p in folder.rglob("*") if not p.is_dir()} == before
    return result.stderr


def hostile_tar(path: Path, top: str) -> None:
    """Many zeros, a name that leads outside, a link that does, and a device."""
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as tar:
        for name, kind, link in [
            (top, tarfile.DIRTYPE, ""),
            ("../escaped.txt", tarfile.REGTYPE, ""),
            (f"{top}/out", tarfile.SYMTYPE, "/"),
            (f"{top}/device", tarfile.CHRTYPE, ""),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            tar.addfile(member)
        member = tarfile.TarInfo(f"{top}/zeros")
        member.size = MANY // 10
        tar.addfile(member, io.BytesIO(bytes(member.size)))


def hostile_zip(path: Path, top: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        z.writestr("../escaped.txt", "")
        z.writestr(f"{top}/zeros", bytes(MANY // 10))


@pytest.mark.parametrize(
    ("name", "file", "top"),
    [
        ("tinyimagenet", "tiny-imagenet-200.zip", "tiny-imagenet-200"),
        ("cub", "CUB_200_2011.tgz", "CUB_200_2011"),
        ("aircraft", "fgvc-aircraft-2013b.tar.gz", "fgvc-aircraft-2013b"),
        ("imagenet-o", "imagenet-o.tar", "imagenet-o"),
    ],
)
def test_an_archive_with_another_digest_is_never_opened(
    cli: Cli, tmp_path: Path, name: str, file: str, top: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (hostile_zip if file.endswith(".zip") else hostile_tar)(folder / file, top)
    line = refused(cli, tmp_path, "data", "fetch", name, "--data-dir", folder)
    assert f"{file} is damaged or another archive (its MD5 is not" in line


def test_a_meta_file_beside_the_archives_of_imagenet_is_not_loaded(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "imagenet"
    folder.mkdir()
    torch.save(({}, []), folder / "meta.bin")
    line = refused(cli, folder, "data", "fetch", "imagenet", "--data-dir", tmp_path)
    assert "The archive ILSVRC2012_devkit_t12.tar.gz is not present" in line


def saved(path: Path, changes: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """A file of ``torch.save`` with some of its parts, by the end of their names, replaced."""
    whole = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", compression, compresslevel=1) as new:
        for name in old.namelist():
            new.writestr(name, next((c for end, c in changes.items() if name.endswith(end)), old.read(name)))


def test_a_compressed_state_dict_is_refused(cli: Cli, tmp_path: Path) -> None:
    saved(tmp_path / "m.pt", {"/data/0": bytes(MANY)}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "m.pt").stat().st_size < 2_000_000
    line = refused(cli, tmp_path, "evaluate", "--checkpoint", "m.pt", "--suite", "clean")
    assert "m.pt is not a whole PyTorch file (BadZipFile)" in line


def test_a_state_dict_whose_parts_overlap_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Many names for the same bytes."""
    path = tmp_path / "m.pt"
    saved(path, {"/data/0": bytes(100_000)})
    with zipfile.ZipFile(path, "a") as z:
        (shared,) = (i for i in z.infolist() if i.filename.endswith("/data/0"))
        z.filelist += [shared] * 3000
        z.comment = b"changed"
    assert path.stat().st_size < 1_000_000
    line = refused(cli, tmp_path, "evaluate", "--checkpoint", "m.pt", "--suite", "clean")
    assert "m.pt is not a whole PyTorch file (BadZipFile)" in line


def word(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


CALLS = {
    "bytearray": b"cbuiltins\nbytearray\nJ" + struct.pack("<i", MANY) + b"\x85R",
    # each call doubles what the one before it made
    "encode": b"c_codecs\nencode\nq\x00" + b"h\x00" * 20 + word(b"ab") + word(b"latin1") + b"\x86R"
    + (word(b"hex") + b"\x86R") * 20,
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_a_pickle_that_only_makes_bytes_is_refused(cli: Cli, tmp_path: Path, call: str, zipped: bool) -> None:
    content = b"\x80\x02" + CALLS[call] + b"."
    if zipped:
        saved(tmp_path / "m.pt", {"data.pkl": content})
    else:
        (tmp_path / "m.pt").write_bytes(pickle.dumps(torch.serialization.MAGIC_NUMBER, 2) + content)
    line = refused(cli, tmp_path, "evaluate", "--checkpoint", "m.pt", "--suite", "clean")
    assert "m.pt is a pickle of more than tensors" in line


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """90 million pixels in 11 kB; and a header of 3,600 million."""
    out = io.BytesIO()
    Image.new("1", (10_000, 9_000)).save(out, "PNG")
    large = out.getvalue()
    head = large[12:16] + struct.pack(">II", 60_000, 60_000) + large[24:29]
    return {"expands": large, "claims": large[:12] + head + struct.pack(">I", zlib.crc32(head)) + large[33:]}


@pytest.mark.parametrize("kind", ["expands", "claims"])
def test_a_picture_of_too_many_pixels_is_refused(
    cli: Cli, tmp_path: Path, pictures: dict[str, bytes], kind: str
) -> None:
    part = layouts.items(2, 1, 64, 64)
    layouts.folders(tmp_path / "pets", ["cat", "dog"], train=part, test=part)
    path = tmp_path / "pets" / "test" / "dog" / "c1_0.JPEG"
    path.write_bytes(pictures[kind])
    assert path.stat().st_size < 20_000
    for words in (["check", f"folder:{tmp_path / 'pets'}"], ["contact-sheet", "sheet.png", "--picture", path]):
        line = refused(cli, tmp_path, "data", *words)
        assert f"cannot read the image {path}: Image size" in line and "decompression bomb" in line


def test_a_picture_that_a_program_would_draw_is_refused(cli: Cli, tmp_path: Path) -> None:
    """EPS, which Pillow hands to Ghostscript."""
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg", "EPS")
    line = refused(cli, tmp_path, "data", "contact-sheet", "sheet.png", "--picture", "a.jpg")
    assert "cannot read the image a.jpg: it is no image" in line


def header(text: bytes, size: int | None = None) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text) if size is None else size) + text


def array(shape: str, kind: str = "|u1") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode())


def compressed() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, labels=np.zeros(MANY // 10, np.uint8))
    return out.getvalue()


ARRAYS: dict[str, Any] = {
    "header beyond the end": header(b"{}", 2**32 - 1),
    "long header": header(b"{" + b" " * 100_000),
    "deep header": header(b"(" * 9000),
    "no list of names": header(b"{[]: 1}"),
    "no data": array("(50000, 32, 32, 3)"),
    "huge shape": array(f"({2**70}, 4)"),
    "overflowing shape": array(f"({2**62}, 4)"),
    "negative shape": array("(-1, 4)"),
    "objects": array("(1,)", "|O") + pickle.dumps([1]),
    "a pickle": pickle.dumps([1]),
    "empty": b"",
}


@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_with_a_wrong_header_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "fog.npy").write_bytes(ARRAYS[what])
    with pytest.raises(UsageError, match=r"fog\.npy is not a whole \.npy array: ") as error:
        open_array(tmp_path / "fog.npy", (50_000, 32, 32, 3), np.dtype(np.uint8))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [compressed(), ARRAYS["deep header"], ARRAYS["overflowing shape"]],
    ids=["archive", "deep header", "overflowing shape"],
)
def test_a_corrupted_set_of_something_else_is_one_line(cli: Cli, tmp_path: Path, content: bytes) -> None:
    for name in ("labels", "gaussian_noise", "saturate"):
        layouts.put(tmp_path / "CIFAR-100-C" / f"{name}.npy", content)
    line = refused(cli, tmp_path, "data", "check", "cifar100-c", "--data-dir", tmp_path)
    assert "labels.npy is not a whole .npy array" in line


@pytest.mark.parametrize("once", [True, False])
def test_a_matlab_file_that_expands_is_refused(cli: Cli, tmp_path: Path, once: bool) -> None:
    part = layouts.items(2, 1, 300, 260)
    layouts.cars(tmp_path, ["a", "b"], part, part)
    size = cars.LARGEST + 1 if once else cars.LARGEST // 4
    zeros = {f"x{i}": np.zeros(size, np.uint8) for i in range(1 if once else 5)}
    path = tmp_path / "stanford_cars" / "devkit" / "cars_meta.mat"
    savemat(path, {"class_names": np.array(["a", "b"], dtype=object), **zeros}, do_compression=True)
    assert path.stat().st_size < 100_000
    line = refused(cli, tmp_path, "data", "check", "cars", "--data-dir", tmp_path)
    assert "cannot read class_names in" in line and "(ValueError)" in line


def test_the_official_matlab_files_fit(tmp_path: Path) -> None:
    """The largest has the boxes of 8,144 cars: eight times as many as here."""
    kinds: Any = [(k, "O") for k in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    rows = np.array([(30, 52, 246, 147, 1 + i % 196, f"{i:05d}.jpg") for i in range(1018)], dtype=kinds)
    savemat(tmp_path / "annos.mat", {"annotations": rows}, do_compression=True)
    assert 2_000_000 < 8 * cars.expanded((tmp_path / "annos.mat").read_bytes()) < cars.LARGEST / 4
