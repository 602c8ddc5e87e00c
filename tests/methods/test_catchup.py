"""Catch-up Mix: the properties that follow from Algorithm 1, and a plain per-sample computation of it."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench import registry
from catchup_bench.method import beta, one_hot
from catchup_bench.verification.method import make_batch, make_net

catchup = importlib.import_module("catchup_bench.methods.catchup")

CatchUpMix = registry.method_class("catchup")

RandomChannelMix = registry.method_class("randomchannelmix")

lams = st.floats(0, 1)

seeds = st.integers(0, 10_000)


def features(seed: int, b: int = 6, c: int = 12) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(b, c, 3, 4, generator=gen, dtype=torch.float64), torch.randperm(b, generator=gen)


def mask_of(h: Tensor, perm: Tensor, lam: float) -> Tensor:
    return catchup.keep_lowest(catchup.relative_importance(h, perm), torch.tensor(lam, dtype=torch.float64))


def mixed(h: Tensor, perm: Tensor, lam: float) -> Tensor:
    return catchup.mix_channels(h, perm, mask_of(h, perm, lam))


def slow_mix(h: np.ndarray, perm: list[int], lam: float) -> np.ndarray:
    """Algorithm 1, sample by sample and channel by channel, in float64."""
    out = np.empty_like(h)
    for i in range(len(h)):
        own = [np.sqrt((h[i, c] ** 2).sum()) for c in range(h.shape[1])]
        other = [np.sqrt((h[perm[i], c] ** 2).sum()) for c in range(h.shape[1])]
        rfi = [a / sum(own) - b / sum(other) for a, b in zip(own, other, strict=True)]
        kept = sorted(range(len(rfi)), key=lambda c: (rfi[c], c))[: int(np.floor(lam * len(rfi)))]
        for c in range(h.shape[1]):
            out[i, c] = h[i, c] if c in kept else h[perm[i], c]
    return out


@given(seeds, lams)
def test_equals_algorithm_1_exactly(seed: int, lam: float) -> None:
    h, perm = features(seed)
    assert np.array_equal(mixed(h, perm, lam).numpy(), slow_mix(h.numpy(), perm.tolist(), lam))


@given(seeds, lams)
def test_p1_exactly_floor_lam_c_channels_are_kept(seed: int, lam: float) -> None:
    h, perm = features(seed)
    assert mask_of(h, perm, lam).sum(1).tolist() == [int(np.floor(lam * 12))] * 6


def test_p2_ends_of_lam() -> None:
    h, perm = features(0)
    assert torch.equal(mixed(h, perm, 1.0), h)
    assert torch.equal(mixed(h, perm, 0.999 / 12), h[perm])


@given(seeds, lams)
def test_p3_kept_are_the_relatively_weak(seed: int, lam: float) -> None:
    h, perm = features(seed)
    score, mask = catchup.relative_importance(h, perm), mask_of(h, perm, lam)
    for row, keep in zip(score, mask, strict=True):
        assert not keep.any() or keep.all() or row[keep].max() <= row[~keep].min()


@given(seeds, lams, lams)
def test_p4_masks_are_nested_in_lam(seed: int, a: float, b: float) -> None:
    h, perm = features(seed)
    assert not (mask_of(h, perm, min(a, b)) & ~mask_of(h, perm, max(a, b))).any()


@given(seeds, st.integers(0, 12))
def test_p5_swapping_the_pair_with_the_complement_changes_nothing(seed: int, n: int) -> None:
    h, _ = features(seed, b=2)
    swap = torch.tensor([1, 0])
    forward, backward = mixed(h, swap, n / 12), mixed(h, swap, (12 - n) / 12)
    assert torch.equal(forward[0], backward[1]) and torch.equal(forward[1], backward[0])


@given(seeds, lams, st.floats(0.01, 100))
def test_p6_scale_and_position_do_not_matter(seed: int, lam: float, scale: float) -> None:
    h, perm = features(seed)
    factors = torch.linspace(1, scale, 6, dtype=torch.float64).view(-1, 1, 1, 1)
    assert torch.equal(mask_of(h * factors, perm, lam), mask_of(h, perm, lam))
    assert torch.equal(mask_of(h.flip(2, 3), perm, lam), mask_of(h, perm, lam))


@given(seeds, lams)
def test_p7_every_map_is_whole(seed: int, lam: float) -> None:
    h, perm = features(seed)
    out = mixed(h, perm, lam)
    own, other = (out == h).all((2, 3)), (out == h[perm]).all((2, 3))
    assert (own | other).all()


def test_p8_layers_are_uniform() -> None:
    method = CatchUpMix().bind(make_net())
    rng = np.random.default_rng(0)
    counts = np.bincount([method.plan(rng) for _ in range(6000)], minlength=6)
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5  # χ², 5 d.f., p = 0.001


@given(seeds, lams)
def test_p9_gradient(seed: int, lam: float) -> None:
    h, perm = features(seed)
    h.requires_grad_(True)
    g = torch.randn(h.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mask = mask_of(h, perm, lam)[:, :, None, None]
    (catchup.mix_channels(h, perm, mask[:, :, 0, 0]) * g).sum().backward()
    back = perm.argsort()
    assert torch.equal(h.grad, mask * g + (~mask[back]) * g[back])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_p11_half_precision_and_memory_format_keep_the_mask(dtype: torch.dtype) -> None:
    h, perm = (features(3)[0] * 300).to(dtype), features(3)[1]
    assert torch.equal(mask_of(h, perm, 0.4), mask_of(h.float(), perm, 0.4))
    assert torch.equal(mask_of(h.contiguous(memory_format=torch.channels_last), perm, 0.4), mask_of(h, perm, 0.4))


def test_dead_channels_and_own_partner_keep_the_count() -> None:
    h = torch.zeros(3, 8, 2, 2)
    perm = torch.tensor([0, 2, 1])
    assert mask_of(h, perm, 0.5).tolist() == [[True] * 4 + [False] * 4] * 3
    assert torch.equal(mixed(h, perm, 0.5), h)


def test_label_takes_lam_itself() -> None:
    net, (x, y) = make_net(), make_batch(8)
    method = CatchUpMix(layers=(3,)).bind(net)
    gen = torch.Generator().manual_seed(5)
    loss = method.loss(net, x, y, 3, torch.Generator().manual_seed(5))
    perm = torch.rand(8, generator=gen, dtype=torch.float64).argsort()
    lam = beta(10.0, gen)
    h = net(x, stop=3)
    logits = net(catchup.mix_channels(h, perm, mask_of(h, perm, float(lam))), start=3)
    target = float(lam) * one_hot(y, 10) + (1 - float(lam)) * one_hot(y, 10)[perm]
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_random_channels_are_included_equally_often() -> None:
    method = RandomChannelMix(layers=(2,))
    gen = torch.Generator().manual_seed(0)
    h = torch.arange(2 * 16.0).view(2, 16, 1, 1).expand(2, 16, 2, 2)
    perm = torch.tensor([1, 0])
    kept, expected = torch.zeros(16), 0.0
    for _ in range(2000):
        out, lam = method.mix_features(h, perm, gen)
        kept += (out[0] == h[0]).all((1, 2))
        expected += float((lam * 16).floor()) / 16
    assert (kept / 2000 - expected / 2000).abs().max() < 0.05


def test_random_channel_mix_leaves_the_input_alone() -> None:
    method = RandomChannelMix().bind(make_net())
    rng = np.random.default_rng(0)
    assert {method.plan(rng) for _ in range(200)} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"input_mix": "paste"}, {"channels": "best"}, {"layers": (9,)}])
def test_bad_options_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(bad)))):
        CatchUpMix(**bad).bind(make_net())


def test_ablations_are_other_runs() -> None:
    from catchup_bench.runs.make import make_run

    drop = make_run("catchup", settings={"catchup": {"layers": [0, 1, 2, 4, 5]}})
    assert drop.method.options["layers"] == (0, 1, 2, 4, 5)
    assert drop.digest != make_run("catchup").digest
