"""Random patch drop: what is covered, by how much, and that it belongs to the image."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench.data import Images
from catchup_bench.errors import UsageError
from catchup_bench.suites import Context, Suite, suite_class

from ..conftest import Cli, as_json

Occlusion = suite_class("occlusion")


class Watches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return torch.zeros(len(x), 3)


def shown(suite: Suite, size: int = 16, n: int = 6, batch_size: int = 4) -> dict[str, Tensor]:
    """What the network is shown of white images, by condition."""
    net = Watches()
    x = torch.full((n, size, size, 3), 255, dtype=torch.uint8)
    context = Context(
        net=net,
        images=Images(x, torch.zeros(n, dtype=torch.int64), torch.arange(n)),
        dataset="some",
        mean=(0.1, 0.2, 0.3),
        device=torch.device("cpu"),
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )
    found = {}
    for condition, _ in suite.run(context, suite.conditions()):
        found[condition] = torch.cat(net.seen)
        net.seen.clear()
    return found


def covered(x: Tensor) -> Tensor:
    return x[:, 0] != 1


@given(st.integers(1, 16), st.lists(st.integers(0, 100), min_size=1, max_size=3, unique=True))
def test_whole_patches_are_covered_and_as_many_as_the_share_says(grid: int, shares: list[int]) -> None:
    suite = Occlusion(grid=grid, share=tuple(map(float, shares)))
    for share, x in zip(shares, shown(suite).values(), strict=True):
        edges = [-(-i * 16 // grid) for i in range(grid + 1)]
        cells = [
            covered(x)[:, a:b, c:d].float().mean((1, 2))
            for a, b in itertools.pairwise(edges)
            for c, d in itertools.pairwise(edges)
        ]
        part = torch.stack(cells, 1)
        assert ((part == 0) | (part == 1)).all()
        assert part.sum(1).tolist() == [(2 * grid**2 * share + 100) // 200] * 6


def test_a_larger_share_covers_what_a_smaller_one_does_and_images_differ() -> None:
    masks = [covered(x) for x in shown(Occlusion()).values()]
    for small, large in itertools.pairwise(masks):
        assert (large | ~small).all() and not torch.equal(small, large)
    assert len({m.numpy().tobytes() for m in masks[4]}) == 6
    assert masks[4].float().mean((1, 2)).tolist() == [0.5] * 6


def test_the_fill_is_the_mean_colour_or_black() -> None:
    for fill, colour in (("mean", [0.1, 0.2, 0.3]), ("black", [0.0] * 3)):
        x = shown(Occlusion(fill=fill, share=(100.0,))).popitem()[1]
        assert x[0, :, 5, 5].tolist() == pytest.approx(colour)


def test_what_is_covered_does_not_depend_on_the_batch_and_does_on_the_seed() -> None:
    one, other, again = (shown(Occlusion(), batch_size=b) for b in (1, 5, 6))
    assert all(torch.equal(one[c], other[c]) and torch.equal(one[c], again[c]) for c in one)
    seed = shown(Occlusion(seed=1))
    assert not one.keys() & seed.keys() and not torch.equal(one["occlusion-50"], seed["occlusion-50-seed1"])


def test_patches_cover_all_images_evenly() -> None:
    ranks = Occlusion().ranks("some", torch.arange(1500))
    assert (ranks.flatten(1).sort(1).values == torch.arange(64)).all()
    first = (ranks == 0).float().sum(0)
    assert abs(first - 1500 / 64).max() < 5 * (1500 / 64) ** 0.5


@pytest.mark.parametrize("options", [{"share": (101.0,)}, {"share": ()}, {"grid": 0}, {"fill": "grey"}])
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is not allowed: it takes"):
        Occlusion(**options)


def test_a_grid_finer_than_the_image_is_refused() -> None:
    with pytest.raises(UsageError, match=r"occlusion.grid = 17: the images of some have only 16 px"):
        shown(Occlusion(grid=17))


def test_digits_from_the_command_line(cli: Cli) -> None:
    assert cli("train", "--method", "baseline", "--epochs", 2, "--width", 4).exit_code == 0
    words = ("evaluate", "--suite", "occlusion", "--set", "occlusion.share=[0, 50, 100]")
    (found,) = as_json(cli(*words, "--suite", "clean", "--json")).values()
    assert found["occlusion-0"]["error"] == found["clean"]["error"]
    assert found["occlusion-50"]["error"] > found["clean"]["error"]
    assert 85 < found["occlusion-100"]["error"] < 95  # one class for all
    assert "occlusion, mean" in cli(*words).stdout
