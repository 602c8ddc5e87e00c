"""The sheet of all corruptions."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from catchup_bench import corruptions
from catchup_bench.cli import contact_sheet
from tests.conftest import Cli, as_json

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "corruptions.png"


def test_each_cell_is_its_corruption(cli: Cli, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    cli("data", "contact-sheet", "sheet.png", "--picture", "picture.png", "--size", 20)
    sheet = np.array(Image.open(tmp_path / "sheet.png").convert("RGB"))
    side = 20 + contact_sheet.GAP
    left, top = contact_sheet.LABEL + 3 * side, contact_sheet.LINE + 3 * side
    x = torch.from_numpy(pixels)[None]
    expected = corruptions.corrupt(x, corruptions.NAMES[3], 4, indices=[0], dataset="contact-sheet")[0].numpy()
    difference = sheet[top : top + 20, left : left + 20].astype(int) - expected
    assert np.abs(difference).mean() < 12  # 256 colours for all cells


def test_the_committed_sheet_is_what_the_command_draws(cli: Cli, tmp_path: Path) -> None:
    assert as_json(cli("data", "contact-sheet", "sheet.png", "--json")) == {"file": "sheet.png"}
    drawn, kept = (np.array(Image.open(p).convert("RGB")).astype(int) for p in (tmp_path / "sheet.png", PICTURE))
    left, top = contact_sheet.LABEL, contact_sheet.LINE  # labels depend on Pillow's font
    assert drawn.shape == kept.shape and np.abs(drawn - kept)[top:, left : left + 5 * 66].mean() < 3
    assert PICTURE.stat().st_size < 400_000


def test_what_is_no_picture_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "absent.png"):
        result = cli("data", "contact-sheet", "sheet.png", "--picture", name)
        assert result.exit_code == 2 and f"cannot read the image {name}" in result.stderr
        assert result.stderr.count(name) == 1
        assert len(result.stderr.strip().splitlines()) == 1 and not (tmp_path / "sheet.png").exists()
