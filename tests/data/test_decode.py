"""Pictures of every mode and format: one rule, whoever reads them."""

import io
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catchup_bench import data
from catchup_bench.data import decode
from catchup_bench.errors import UsageError
from tests.support import layouts

SIZE = 16
RAMP = np.linspace(0, 65535, SIZE * SIZE).round().astype(np.uint16).reshape(SIZE, SIZE)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path / "cache"))


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def read(content: bytes) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Path(file.name).write_bytes(content)
        return np.asarray(decode.open_picture(Path(file.name)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_by_their_range(kind: str) -> None:
    pixels = read(saved(Image.fromarray(RAMP), kind))
    expected = np.round(RAMP / 65535 * 255)
    assert np.abs(pixels[..., 0] - expected).max() == 0 and (pixels == pixels[..., :1]).all()
    assert 0.2 < (pixels < 128).mean() < 0.8, "neither white nor black"


@given(st.lists(st.integers(0, 65535), min_size=4, max_size=4))
def test_16_bits_keep_black_white_and_order(values: list[int]) -> None:
    ends = sorted([0, *values, 65535])
    pixels = read(saved(Image.fromarray(np.array([ends], np.uint16)), "PNG"))[0, :, 0].tolist()
    assert pixels == sorted(pixels) and (pixels[0], pixels[-1]) == (0, 255)


def test_12_bits_are_scaled_by_their_own_range() -> None:
    """A TIFF of 2×1 pixels, 2048 and 4095, written by hand: Pillow writes none."""
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = b"II*\x00" + struct.pack("<I", 12) + b"\x80\x0f\xff\x00" + struct.pack("<H", len(tags)) + entries
    assert read(content + bytes(4))[0, :, 0].tolist() == [128, 255]


def test_transparent_16_bit_grey_is_shown_on_the_background() -> None:
    pixels = read(saved(Image.fromarray(RAMP), "PNG", transparency=int(RAMP[0, 3])))
    assert pixels[0, 3].tolist() == list(decode.BACKGROUND) and pixels[0, 2, 0] < 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "floating-point"),
        (lambda: saved(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), "32-bit"),
        (lambda: saved(Image.fromarray(RAMP.astype(np.float32)), "PPM"), "floating-point"),
    ],
)
def test_pixels_without_a_range_are_refused(make: Callable[[], bytes], words: str) -> None:
    with pytest.raises(UsageError, match=f"cannot read the image .*: its pixels are {words} numbers") as error:
        read(make())
    assert "\n" not in str(error.value)


def clear_red() -> Image.Image:
    """The left half opaque blue, the right half red that nobody sees, but for a column that is half seen."""
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[:, :8], pixels[:, 8:] = (0, 0, 255, 255), (255, 0, 0, 0)
    pixels[:, 15] = (255, 0, 0, 51)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_shown_on_white(kind: str) -> None:
    pixels = read(saved(clear_red(), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
    assert (pixels[:, :8] == (0, 0, 255)).all() and (pixels[:, 8:15] == 255).all()
    assert (pixels[:, 15] == (255, 204, 204)).all()


def test_transparency_of_a_palette_and_of_grey_is_shown_on_white() -> None:
    palette = clear_red().convert("RGB").quantize(4)
    red = palette.getpixel((9, 9))
    assert (read(saved(palette, "PNG", transparency=red))[:, 8:] == 255).all()
    assert (read(saved(palette, "GIF", transparency=red))[:, 8:] == 255).all()
    grey = np.dstack([np.full((SIZE, SIZE), 10, np.uint8), np.tile(np.uint8([255, 0]), (SIZE, SIZE // 2))])
    assert read(saved(Image.fromarray(grey), "PNG"))[0, :4, 0].tolist() == [10, 255, 10, 255]
    assert read(saved(Image.fromarray(grey[..., 0]), "PNG", transparency=10)).min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_ordinary_modes_are_read_as_pillow_reads_them(mode: str) -> None:
    picture = Image.open(io.BytesIO(layouts.jpeg(3, SIZE, SIZE))).convert(mode)
    content = saved(picture, "TIFF")
    assert np.array_equal(read(content), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


def turned(orientation: int) -> bytes:
    picture = Image.open(io.BytesIO(layouts.jpeg(1, SIZE, SIZE)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture, "PNG", exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.filterwarnings("ignore")
def test_folders_and_the_datasets_library_give_the_same_upright_pixels(
    orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import ImageOps

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    items = [layouts.Item("a.png", turned(orientation), 0), layouts.Item("b.png", saved(clear_red(), "PNG"), 0)]
    items.append(layouts.Item("c.png", saved(Image.fromarray(RAMP), "PNG"), 1))
    layouts.folders(tmp_path / "d", ["x", "y"], train=items, test=items)
    ours, theirs = (data.load(f"{way}:{tmp_path / 'd'}", "test") for way in ("folder", "hf"))
    assert torch.equal(ours.x, theirs.x) and torch.equal(ours.y, theirs.y)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(turned(orientation))))
    assert np.array_equal(ours.x[0].numpy(), np.asarray(upright))


def test_training_and_test_pictures_are_turned_alike_and_official_ones_are_not(tmp_path: Path) -> None:
    """The published results on the official datasets are on pixels as they are stored."""
    from catchup_bench.training import stream

    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture = Image.open(io.BytesIO(layouts.jpeg(1, 256, 256)))
    item = [layouts.Item("a.png", saved(picture, "PNG", exif=exif), 0)]
    layouts.folders(tmp_path / "imagenet", ["n01"], train=item, val=item)
    stored = np.asarray(picture)
    for name, expected in ((f"folder:{tmp_path / 'imagenet'}", stored[::-1, ::-1]), ("imagenet", stored)):
        test, train = data.load(name, "test", tmp_path), data.load(name, "train", tmp_path)
        assert np.array_equal(test.x[0].numpy(), expected[16:240, 16:240])
        loader = stream.StreamingLoader(
            train, 1, workers=0, seed=0, pad=0, flip=False, drop_last=False, device=torch.device("cpu"), crop="window"
        )
        ((x, _),) = loader.cropped(0)
        windows = np.lib.stride_tricks.sliding_window_view(expected, (224, 224, 3))[:, :, 0]
        assert (windows == x[0].numpy()).all((2, 3, 4)).any()


def test_a_strip_is_not_enlarged_without_bound(tmp_path: Path) -> None:
    strip = layouts.Item("strip.png", saved(Image.new("RGB", (80_000, 8)), "PNG"), 0)
    layouts.folders(tmp_path, ["x"], train=[strip], test=[strip])
    with pytest.raises(UsageError, match=r"strip\.png: its 80000×8 pixels are too narrow to be shown at 224×224"):
        data.load(f"folder:{tmp_path}", "test")
