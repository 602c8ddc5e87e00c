"""Files of weights are told apart by what they are."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from catchup_bench.runs.checkpoint import CARD, read_file
from catchup_bench.runs.make import make_run


@pytest.mark.parametrize("length", [1152, 1408])
def test_a_header_whose_length_begins_like_a_pickle_is_a_header(tmp_path: Path, length: int) -> None:
    path, tensors, run = tmp_path / "last.safetensors", {"x": torch.arange(3.0)}, make_run("baseline", "digits")
    card = f'{{"run": {run.model_dump_json()}, "epoch": 1}}'
    contents = (save(tensors, {CARD: card, "pad": "-" * n}) for n in range(1500))
    path.write_bytes(next(c for c in contents if int.from_bytes(c[:8], "little") == length))
    assert path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")
    found, of_run = read_file(path)
    assert torch.equal(found[""]["x"], tensors["x"]) and of_run == run
