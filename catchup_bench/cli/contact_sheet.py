"""Draw all corruptions of one picture on one sheet."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from .. import corruptions
from ..data.decode import open_picture
from ..errors import UsageError
from ..system.files import write_atomic

GAP, LABEL, LINE = 2, 118, 14

BLOCKS = 2


def write(out: Path, picture: Path | None = None, size: int = 64) -> None:
    """Write a PNG file: a row for each of the 19 corruptions, a column for each severity, in two blocks.

    ``picture`` is cropped to its central square and shrunk to ``size``; None takes scikit-learn's china.jpg. Frost is
    the procedural stand-in, and labelled so. 256 colours, so that the file stays small.
    """
    from PIL import Image, ImageDraw

    x = _square(picture or _china(), size)
    rows = -(-len(corruptions.NAMES) // BLOCKS)
    step, block = size + GAP, LABEL + 5 * (size + GAP) + GAP
    sheet = Image.new("RGB", (BLOCKS * block, LINE + rows * step), "white")
    draw = ImageDraw.Draw(sheet)
    for k, name in enumerate(corruptions.NAMES):
        left, top = k // rows * block, LINE + k % rows * step
        words = f"{name}\n(procedural)" if name == "frost" else name
        draw.multiline_text((left + GAP, top + size // 2 - LINE // 2), words, fill="black")
        for i, severity in enumerate(corruptions.SEVERITIES):
            at = left + LABEL + i * step
            draw.text((at + size // 2, 0), str(severity), fill="black")
            corrupted = corruptions.corrupt(x, name, severity, indices=[0], dataset="contact-sheet")
            sheet.paste(Image.fromarray(corrupted[0].numpy()), (at, top))
    small = sheet.quantize(256, dither=Image.Dither.NONE)
    write_atomic(out, lambda p: small.save(p, "PNG", optimize=True))


def _china() -> Path:
    """Return the path of scikit-learn's china.jpg. Raises :class:`UsageError` without scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UsageError("the picture comes with scikit-learn, which is not installed: give one with --picture")
    return Path(spec.origin).parent / "datasets" / "images" / "china.jpg"


def _square(path: Path, size: int) -> torch.Tensor:
    """Return the central square of a picture, shrunk to ``size``: uint8 (1, size, size, 3)."""
    from PIL import Image, ImageOps

    return torch.from_numpy(
        np.array(ImageOps.fit(open_picture(path, upright=True), (size, size), Image.Resampling.LANCZOS))
    )[None]
