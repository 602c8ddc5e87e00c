"""How passes are made on a GPU, with clocks and networks that stand in for one: the fastest way that keeps the bits."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from catchup_bench.engines import pass_settings
from catchup_bench.engines.graph_passes import Forward
from catchup_bench.engines.pass_settings import (
    FIXED,
    PLAIN,
    PassSetting,
    applied,
    choose_passes,
    setting_for,
    worth_capturing,
)
from catchup_bench.evaluation.evaluate import evaluate
from catchup_bench.evaluation.evaluated_model import trained_model
from catchup_bench.suites import make_suites
from catchup_bench.verification.method import make_net

from ..support.backends import Rerun

X = torch.rand(100, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Kernels(nn.Module):
    """A network whose last bits depend on the layout, on cuDNN's search and, in ``shapes``, on the size of the
    batch."""

    def __init__(self, shapes: tuple[str, ...] = (), found: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.shapes, self.found = shapes, found
        self.seen: list[tuple[str, bool, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        layout = "channels_last" if x.is_contiguous(memory_format=torch.channels_last) else "contiguous"
        search = torch.backends.cudnn.benchmark
        self.seen.append((layout, search, len(x)))
        off = 1e-7 * (layout == "contiguous") + 1e-6 * (search and layout in self.found)
        off += 1e-5 * len(x) * (layout in self.shapes)
        return x.double().mean((2, 3)) + off


def clock(net: Kernels, times: dict[tuple[str, bool], float]) -> Callable[[Callable[[], object]], float]:
    def seconds(act: Callable[[], object]) -> float:
        act()
        return times[net.seen[-1][:2]]

    return seconds


FAST_CONTIGUOUS = {
    ("channels_last", False): 5.0, ("channels_last", True): 4.0, ("contiguous", False): 2.0, ("contiguous", True): 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("net", "chosen"),
    [
        (Kernels(), PassSetting("contiguous", True)),
        (Kernels(found=("contiguous",)), PassSetting("contiguous", False)),
        (Kernels(shapes=("contiguous",)), PassSetting("channels_last", True)),
        (Kernels(shapes=("contiguous",), found=("channels_last",)), PLAIN),
        (Kernels(shapes=("contiguous", "channels_last")), PassSetting("contiguous", fixed=True)),
    ],
)
def test_the_fastest_setting_that_keeps_the_bits_is_chosen(net: Kernels, chosen: PassSetting) -> None:
    setting = choose_passes(net, X, clock(net, FAST_CONTIGUOUS))
    assert setting == chosen and "forward" not in vars(net) and not torch.backends.cudnn.benchmark
    with applied(net, setting):
        whole = net(X)
        for size in (50, 33, 7, 1):
            assert torch.equal(torch.cat([net(part) for part in X.split(size)]), whole)
    assert setting.facts().get("pass_of") == (FIXED if setting.fixed else None)


def test_a_setting_that_is_hardly_faster_is_not_taken() -> None:
    net = Kernels()
    assert choose_passes(net, X, clock(net, {key: 1 - 0.01 * i for i, key in enumerate(FAST_CONTIGUOUS)})) == PLAIN


def test_a_batch_that_does_not_fit_is_halved_and_a_choice_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_settings, "CHOSEN", {})
    net, sizes = Kernels(), list[int]()

    def seconds(act: Callable[[], object]) -> float:
        act()
        sizes.append(net.seen[-1][2])
        if sizes[-1] > 30:
            raise torch.OutOfMemoryError
        return 1.0

    assert setting_for(net, X) == PLAIN and sizes == [], "a CPU has no choice"
    assert setting_for(net, X, seconds) == PLAIN and max(sizes) == 100 and min(sizes) == 25
    tried = len(sizes)
    assert setting_for(net, X, seconds) == PLAIN and len(sizes) == tried


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_an_evaluation_is_the_same_however_passes_are_made(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, fixed: bool
) -> None:
    """Attacks go through the gradient of the network, features through its stages."""
    suites = make_suites(["clean", "fgsm", "reliance"], {})

    def outcomes(folder: str, setting: PassSetting | None) -> dict[str, str]:
        run = tmp_path / folder / trained_run.name
        shutil.copytree(trained_run, run, ignore=shutil.ignore_patterns("outcomes", "evaluation.json"))
        model = trained_model(run, torch.device("cpu"))
        if setting is not None:
            with applied(model.net, setting):
                found = evaluate(model, suites, device=torch.device("cpu"))
        else:
            found = evaluate(model, suites, device=torch.device("cpu"))
        return {condition: outcome.bits for condition, outcome in found.items()}

    assert outcomes("a", PassSetting(layout, fixed=fixed)) == outcomes("b", None)  # type: ignore[arg-type]


def test_stages_and_parts_of_passes_go_through_it() -> None:
    net = make_net().eval()
    x = torch.rand(70, 3, 16, 16)
    with torch.inference_mode():
        maps = net(x, stop=2)
        with applied(net, PassSetting("contiguous", fixed=True)):
            assert torch.allclose(net(x, stop=2), maps, atol=1e-5)
            assert torch.allclose(net(maps, start=2), net(x), atol=1e-5)


def test_captured_passes_are_let_go_where_eager_ones_are_faster() -> None:
    net = make_net().eval()
    forward = Forward(net, Rerun(), optional=True)
    x = torch.rand(4, 3, 16, 16)
    for times, worth in (([2.0, 1.0], True), ([1.0, 2.0], False)):
        given = iter(times)
        assert worth_capturing(forward, x, lambda act, given=given: (act(), next(given))[1]) is worth
