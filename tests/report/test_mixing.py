"""The picture of how a method mixes: whose pixels and channels a step gives to the network."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from catchup_bench import registry
from catchup_bench.report import mixing
from catchup_bench.report.mixing import BLENDED, OTHER, OWN
from catchup_bench.runs.build import build
from catchup_bench.runs.make import make_run

from ..conftest import Cli, as_json
from ..test_rooms import readme_method

CPU = torch.device("cpu")
N = 8


def batch() -> tuple[Tensor, Tensor]:
    x = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(N) % 10


def mixed(method: str, **options: object) -> list[mixing.Mixed]:
    run = make_run(method, width=4, settings={Path(method).stem: dict(options)} if options else {})
    net, bound = build(run, CPU)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    made = mixing.mix(net, bound, *batch(), seed=0)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()), "the network is left alone"
    return made


@given(st.integers(0, 2**31), st.booleans())
def test_kinds_say_whose_each_part_is(seed: int, by_pixel: bool) -> None:
    gen = torch.Generator().manual_seed(seed)
    own = torch.rand(4, 3, 5, 5, generator=gen)
    shape = (4, 5, 5) if by_pixel else (4, 3)
    wanted = torch.randint(0, 3, shape, generator=gen)
    chosen = wanted[:, None] if by_pixel else wanted[:, :, None, None]
    given_ = torch.where(chosen == OWN, own, torch.where(chosen == OTHER, own.roll(1, 0), own / 2 + 1))
    assert torch.equal(mixing.kinds(given_, own, by_pixel), wanted)


def test_the_baseline_mixes_nothing_and_input_mixup_everything() -> None:
    (plain,) = mixed("baseline")
    assert plain.stage == 0 and bool((plain.kinds == OWN).all()) and torch.equal(plain.images, batch()[0])
    (blended,) = mixed("inputmixup")
    paired = (blended.kinds == BLENDED).flatten(1).all(1)
    alone = (blended.kinds == OWN).flatten(1).all(1)  # paired with itself
    assert bool((paired | alone).all()) and bool(paired.any())


def test_cutmix_pastes_one_box() -> None:
    (pasted,) = mixed("cutmix")
    for kinds in pasted.kinds[(pasted.kinds == OTHER).flatten(1).any(1)]:
        rows, columns = np.nonzero((kinds == OTHER).numpy())
        box = kinds[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert bool((box == OTHER).all()) and BLENDED not in kinds


def test_catchup_keeps_as_many_channels_of_each_image_at_every_stage() -> None:
    """⌊λC⌋ with one λ for the batch; images that are paired with themselves keep all."""
    stages = [m for m in mixed("catchup") if m.stage > 0]
    assert [m.stage for m in stages] == [1, 2, 3, 4, 5]
    for m in stages:
        kept = (m.kinds == OWN).sum(1)
        channels = m.kinds.shape[1]
        assert BLENDED not in m.kinds and len(set(kept[kept < channels].tolist())) == 1


def test_a_methods_own_file_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(readme_method())
    (m,) = mixed(str(tmp_path / "mine.py"))
    assert m.stage == 0 and BLENDED in m.kinds


def test_every_method_can_be_shown() -> None:
    """What mixes says so, whatever way it takes through the network, and whatever else it passes."""
    unmixed = {"baseline", "labelsmoothing", "dropblock", "shakedrop", "stochdepth"}
    for name in registry.methods():
        made = mixed(name)
        assert made and all(len(m.kinds) == N for m in made), name
        assert all(bool((m.kinds == OWN).all()) for m in made) == (name in unmixed), name


def test_show_writes_a_picture(cli: Cli, tmp_path: Path) -> None:
    assert as_json(cli("show", "catchup", "--json")) == {"written": ["catchup.png"]}
    with Image.open(tmp_path / "catchup.png") as picture:
        assert min(picture.size) > 500
    again = (tmp_path / "catchup.png").read_bytes()
    cli("show", "catchup")
    assert (tmp_path / "catchup.png").read_bytes() == again
    cli("show", "catchup", "--out", "picture.svg", "--set", "catchup.layers=0,5")
    text = (tmp_path / "picture.svg").read_text()
    assert "stage 5" in text and "stage 1" not in text and "128 channels" in text


def test_show_takes_the_weights_of_a_run(cli: Cli, trained_run: Path) -> None:
    cli("show", "inputmixup", "--run", trained_run, "--out", "a.svg")
    result = cli("show", "manifold", "--run", trained_run, "--out", "b.svg")
    assert result.exit_code == 0 and "stage" in Path("b.svg").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["catchup", "--out", "picture.gif"], r"--out picture\.gif: it takes a file that ends in \.png or \.svg"),
        (["catchupp"], "did you mean catchup"),
        (["catchup", "--run", "nowhere"], "nowhere names no run in runs"),
        (["catchup", "--dataset", "digit"], "did you mean digits"),
        (["catchup", "--set", "cutmix.alpha=1"], r"this run has only catchup"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, tmp_path: Path, words: list[str], line: str) -> None:
    result = cli("show", *words)
    assert result.exit_code == 2 and re.search(line, result.stderr) and len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
