"""Input mixup, CutMix and Manifold Mixup against timm, torchvision and plain references; the box's statistics."""

import importlib
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from catchup_bench import registry
from catchup_bench.method import beta, box, inside, mix_targets, one_hot, permutation
from catchup_bench.models import MODELS

blend = importlib.import_module("catchup_bench.methods.inputmixup").blend

paste = importlib.import_module("catchup_bench.methods.cutmix").paste

NAMES = ["baseline", "inputmixup", "cutmix", "manifold", "catchup", "randomchannelmix", "snapmix", "moex"]

NAMES += ["recursivemix", "alignmixup", "stochdepth", "labelsmoothing", "cutout", "dropblock", "shakedrop"]


def make(name: str, **options: Any) -> Any:
    return registry.method_class(name)(**options)


def small_net() -> Any:
    torch.manual_seed(0)
    return MODELS["preactresnet10"].build(num_classes=5, width=8, variant="B")


def batch(n: int = 6, size: int = 16) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, size, size, generator=gen), torch.randint(5, (n,), generator=gen)


@pytest.fixture(scope="module")
def timm_mixup() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm scripts an interface at import
        return importlib.import_module("timm.data.mixup")


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_blend_is_timms(lam: float, timm_mixup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = timm_mixup.Mixup(mixup_alpha=1.0, label_smoothing=0.0, num_classes=5)
    monkeypatch.setattr(np.random, "beta", lambda *_: lam)
    (x, y), flip, weight = batch(), torch.arange(6).flip(0), torch.tensor(lam, dtype=torch.float64)
    theirs, target = mixer(x.clone(), y)
    assert torch.allclose(blend(x, flip, weight), theirs, atol=1e-6, rtol=0)
    assert torch.allclose(mix_targets(one_hot(y, 5), flip, weight), target, atol=1e-6, rtol=0)


def test_blend_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.transforms import v2

    mixer = v2.MixUp(num_classes=5)
    monkeypatch.setattr(mixer, "make_params", lambda flat: {"lam": 0.3})
    (x, y), roll, weight = batch(), torch.arange(6).roll(1), torch.tensor(0.3)
    theirs, target = mixer(x, y)
    assert torch.allclose(blend(x, roll, weight), theirs, atol=1e-6, rtol=0)
    assert torch.allclose(mix_targets(one_hot(y, 5), roll, weight), target, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_paste_is_timms(seed: int, timm_mixup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm draws λ and the centre on the host: it is given ours."""
    (x, y), flip, gen = batch(), torch.arange(6).flip(0), torch.Generator().manual_seed(seed)
    lam = beta(1.0, gen)
    state = gen.get_state()
    ours, share = paste(x, flip, lam, gen)
    gen.set_state(state)
    centre = (torch.rand(2, generator=gen, dtype=torch.float64) * 16).int().tolist()
    mixer = timm_mixup.Mixup(mixup_alpha=0.0, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=5)
    monkeypatch.setattr(np.random, "beta", lambda *_: float(lam))
    monkeypatch.setattr(np.random, "randint", lambda *a, **k: centre.pop(0))
    theirs, target = mixer(x.clone(), y)
    assert torch.equal(ours, theirs)
    assert torch.allclose(mix_targets(one_hot(y, 5), flip, share), target, atol=1e-6, rtol=0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 40), st.integers(1, 40))
def test_paste_matches_reference(seed: int, n: int, height: int, width: int) -> None:
    """Image i holds the number i, so a pixel says where it came from; positions are kept by a gradient on top."""
    ramp = torch.arange(height * width).view(height, width) / (height * width)
    x = (torch.arange(n).view(n, 1, 1, 1) + ramp).expand(n, 3, height, width)
    gen = torch.Generator().manual_seed(seed)
    perm, lam = permutation(n, gen), beta(1.0, gen)
    state = gen.get_state()
    out, share = paste(x, perm, lam, gen)
    gen.set_state(state)
    centre = torch.rand(2, generator=gen, dtype=torch.float64)
    y, z = int(centre[0] * height), int(centre[1] * width)
    tall, wide = (int(size * np.sqrt(1 - float(lam))) // 2 for size in (height, width))
    for i in range(n):
        expected = x[i].clone()
        rows, cols = slice(max(y - tall, 0), y + tall), slice(max(z - wide, 0), z + wide)
        expected[:, rows, cols] = x[perm[i]][:, rows, cols]
        assert torch.equal(out[i], expected)
        if perm[i] != i:
            assert float(share) * height * width == pytest.approx(int((out[i, 0] == x[i, 0]).sum()))


@pytest.mark.parametrize(
    ("alpha", "size", "mean"),
    [(1.0, 32, 0.7007), (1.0, 64, 0.6899), (1.0, 224, 0.6821), (0.2, 32, 0.7237), (5.0, 32, 0.6885)],
)
def test_mean_corrected_lam(alpha: float, size: int, mean: float) -> None:
    """Figures from 10⁶ independent draws of the released box rule."""
    n, rng = 200_000, np.random.default_rng(0)
    side = torch.from_numpy(np.sqrt(1 - rng.beta(alpha, alpha, (n, 1))))
    lengths = [inside(torch.from_numpy(rng.random((n, 1))), side, size).sum(1) / size for _ in range(2)]
    area = lengths[0] * lengths[1]
    assert 1 - area.mean() == pytest.approx(mean, abs=0.002)
    if (alpha, size) == (1.0, 32):
        assert (area == 0).double().mean() == pytest.approx(0.0038, abs=0.0005)


def test_box_is_inside_along_both_axes() -> None:
    lam = torch.tensor(0.4)
    mask = box(lam, 20, 32, torch.Generator().manual_seed(0))
    centre = torch.rand(2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, cols = inside(centre[0], (1 - lam.double()).sqrt(), 20), inside(centre[1], (1 - lam.double()).sqrt(), 32)
    assert torch.equal(mask, rows[:, None] & cols[None, :])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_beta_has_its_mean_and_variance(alpha: float) -> None:
    gen = torch.Generator().manual_seed(0)
    lam = torch.stack([beta(alpha, gen) for _ in range(5000)])
    assert lam.mean() == pytest.approx(0.5, abs=0.02)
    assert lam.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_permutation_is_uniform() -> None:
    gen = torch.Generator().manual_seed(0)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(3000):
        key = tuple(permutation(3, gen).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6 and min(counts.values()) > 400


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_manifold_loss_matches_reference(layer: int) -> None:
    net, (x, y) = small_net(), batch()
    loss = make("manifold").bind(net).loss(net, x, y, layer, torch.Generator().manual_seed(3))
    gen = torch.Generator().manual_seed(3)
    perm, lam = permutation(6, gen).tolist(), float(beta(2.0, gen))
    h = x if layer == 0 else net(x, stop=layer)
    mixed = torch.stack([lam * h[i] + (1 - lam) * h[perm[i]] for i in range(6)])
    log_p = net(mixed, start=layer).log_softmax(1)
    rows = [-lam * log_p[i, y[i]] - (1 - lam) * log_p[i, y[perm[i]]] for i in range(6)]
    assert torch.allclose(loss, torch.stack(rows).mean(), atol=1e-5, rtol=0)


def test_manifold_at_the_input_is_inputmixup_bit_for_bit() -> None:
    net, (x, y) = small_net(), batch()
    losses = [
        make(name, alpha=0.5).bind(net).loss(net, x, y, 0, torch.Generator().manual_seed(3))
        for name in ("manifold", "inputmixup")
    ]
    assert torch.equal(losses[0], losses[1])


def test_manifold_places_are_uniform() -> None:
    method, rng = make("manifold"), np.random.default_rng(0)
    counts = np.bincount([method.plan(rng) for _ in range(3000)], minlength=4)
    assert counts[1] == 0 and np.allclose(counts[[0, 2, 3]] / 3000, 1 / 3, atol=0.03)


def test_blend_gives_gradient_to_both_partners() -> None:
    h = torch.randn(2, 3, 4, 4, requires_grad=True)
    blend(h, torch.tensor([1, 0]), torch.tensor(0.3))[0].sum().backward()
    assert h.grad is not None
    assert torch.allclose(h.grad[0], torch.tensor(0.3)) and torch.allclose(h.grad[1], torch.tensor(0.7))


@pytest.mark.parametrize("name", ["inputmixup", "cutmix", "manifold"])
def test_prob_0_is_the_baseline_bit_for_bit(name: str) -> None:
    net, (x, y) = small_net(), batch()
    method = make(name, prob=0.0).bind(net)
    plan = method.plan(np.random.default_rng(0))
    ours = method.loss(net, x, y, plan, torch.Generator())
    assert plan is None and torch.equal(ours, make("baseline").loss(net, x, y, None, torch.Generator()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_and_format_are_kept_and_lam_1_is_the_identity(dtype: torch.dtype) -> None:
    h, perm = torch.randn(4, 8, 5, 5).to(dtype, memory_format=torch.channels_last), torch.tensor([1, 2, 3, 0])
    one, gen = torch.ones((), dtype=torch.float64), torch.Generator()
    for out in (blend(h, perm, one), paste(h, perm, one, gen)[0]):
        assert torch.equal(out, h) and out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)
    low = blend(h, perm, one * 0.3)
    assert torch.equal(low, blend(h.float().contiguous(), perm, one * 0.3).to(dtype))


def test_randomchannelmix_keeps_every_channel_equally_often() -> None:
    method = make("randomchannelmix")
    h = torch.stack([torch.zeros(10, 2, 2), torch.ones(10, 2, 2)])
    kept = torch.zeros(10)
    for seed in range(1500):
        gen = torch.Generator().manual_seed(seed)
        out, lam = method.mix_features(h, torch.tensor([1, 0]), gen)
        assert int((out[0] == 0).all((1, 2)).sum()) == int(lam * 10)
        kept += (out[0] == 0).all((1, 2))
    assert torch.allclose(kept / kept.sum(), torch.tensor(0.1), atol=0.01)


def test_baseline_is_cross_entropy() -> None:
    net, (x, y) = small_net(), batch()
    loss = make("baseline").loss(net, x, y, None, torch.Generator())
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(net(x), y), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_loss_reads_nothing_back_from_the_device(name: str) -> None:
    """Fake tensors have shapes and no values: whatever asks for a value, or for a shape that depends on one, fails."""
    with FakeTensorMode():
        net = small_net()
        method = make(name).bind(net)
        method.start_epoch(net)
        rng, gen = np.random.default_rng(0), torch.Generator()
        for plan in {method.plan(rng) for _ in range(40)}:
            for _ in range(2):
                x, y = torch.empty(3, 3, 16, 16), torch.zeros(3, dtype=torch.int64)
                method.loss(net, x, y, plan, gen).backward()
