"""ResizeMix against torch's resizing into a box, image by image."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catchup_bench.method import permutation
from tests.support.method_support import Draws, batch, make, module, seeded

resizemix = module("resizemix")


def slow(x: Tensor, perm: Tensor, seed: int, alpha: float, scope: tuple[float, float]) -> tuple[Tensor, float]:
    """The mixed images and λ, from the definition."""
    draws, (height, width) = Draws(seed), x.shape[2:]
    scale, other = draws.beta(alpha), float(draws.uniform())
    if not scope[0] <= scale <= scope[1]:
        scale = scope[0] + (scope[1] - scope[0]) * other
    centre = draws.uniform(2)
    row, col = int(centre[0] * height), int(centre[1] * width)
    tall, wide = int(height * scale) // 2, int(width * scale) // 2
    t, b, l, r = max(row - tall, 0), min(row + tall, height), max(col - wide, 0), min(col + wide, width)  # noqa: E741
    out = x.clone()
    if b > t and r > l:
        out[:, :, t:b, l:r] = F.interpolate(x[perm], size=(b - t, r - l), mode="nearest")
    return out, 1 - (b - t) * (r - l) / (height * width)


@settings(max_examples=120)
@given(
    st.integers(0, 2**31),
    st.sampled_from([(32, 32), (16, 16), (64, 48), (9, 21)]),
    st.sampled_from([0.2, 1.0, 3.0]),
    st.sampled_from([(0.1, 0.8), (0.0, 1.0), (0.5, 0.5)]),
)
def test_images_are_bit_equal_to_resizing_and_pasting(
    seed: int, size: tuple[int, int], alpha: float, scope: tuple[float, float]
) -> None:
    x, perm = torch.rand(4, 3, *size, generator=seeded(seed)), permutation(4, seeded(seed + 1))
    out, lam = make("resizemix", alpha=alpha, scope=scope).mix_images(x, perm, seeded(seed))
    expected, share = slow(x, perm, seed, alpha, scope)
    assert torch.equal(out, expected)
    assert lam.item() == pytest.approx(share, abs=1e-12)


def scales(alpha: float, n: int = 20_000) -> Tensor:
    gen, method = seeded(0), make("resizemix", alpha=alpha)
    return torch.stack([method.draw_scale(gen) for _ in range(n)])


def test_the_scale_is_uniform_on_its_scope_at_alpha_1() -> None:
    counts = torch.histc(scales(1.0), 7, 0.1, 0.8)
    assert (counts.sum(), (counts / 20_000 - 1 / 7).abs().max() < 0.012) == (20_000, True)


def test_scales_outside_the_scope_become_uniform_ones() -> None:
    tau = scales(0.2)
    assert tau.min() >= 0.1 and tau.max() <= 0.8
    outside = 0.5853 + 0.1  # of Beta(0.2, 0.2): mass below 0.1 and above 0.8, less a margin
    assert torch.histc(tau, 7, 0.1, 0.8).min() / 20_000 > (outside - 0.15) / 7


def test_mean_share_at_32_pixels_as_measured_on_openmixups_rule() -> None:
    gen, method, lams = seeded(0), make("resizemix"), []
    x, perm = torch.zeros(1, 1, 32, 32), torch.zeros(1, dtype=torch.long)
    for _ in range(6000):
        lams.append(method.mix_images(x, perm, gen)[1])
    assert torch.stack(lams).mean().item() == pytest.approx(0.842, abs=0.006)
    assert max(lams) < 1  # never an empty box


def test_a_partner_of_one_colour_is_cutmix_with_the_same_box() -> None:
    x = torch.cat((batch(1, 32)[0], torch.ones(1, 3, 32, 32)))
    out, lam = make("resizemix").mix_images(x, torch.tensor([1, 0]), seeded(5))
    assert (out[0] != x[0]).any(0).double().mean().item() == pytest.approx(1 - lam.item(), abs=0.004)
    assert set((out[0] - x[0])[out[0] != x[0]].add(x[0][out[0] != x[0]]).unique().tolist()) == {1.0}
