"""IPMix against a loop over images with Pillow, and the rules of its patches."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import pillow_ops
from tests.support.method_support import Draws, batch, cross_entropy, make, module, one_hot, seeded, small_net

ipmix = module("ipmix")
METHOD, OFFICIAL = make("ipmix"), make("ipmix", official=True)


def images(n: int, size: int, seed: int) -> Tensor:
    return torch.randint(256, (n, 3, size, size), generator=seeded(seed), dtype=torch.uint8)


def slow_put(u: Tensor, picture: Tensor, d: dict[str, Any], wrap: bool) -> Tensor:
    """One uint8 image with its patch, from the definition; sums and products in float32 as a byte may depend on it."""
    out, size = u.clone(), u.shape[1]
    p = [size // 8, size // 4, size // 2, size][int(d["p"] * 4)]
    left, top = int(d["left"] * (size - p + 1)), int(d["top"] * (size - p + 1))
    wide = tall = p
    if d["square"] >= 0.5:
        wide, tall = 2 + int(d["wide"] * (p - 1)), 2 + int(d["tall"] * (p - 1))
    way = int(d["way"] * 4)
    c, q = d["u"] ** (1 / 3), d["v"] ** (1 / 3)
    a, b = (c, 1 - q) if d["coin"] < 0.5 else (2 - c, q - 1)
    a, b = torch.tensor(a).float(), torch.tensor(b).float()
    for i in range(top, top + tall):
        for j in range(left, left + wide):
            for k in range(3):
                m, s = u[k, i, j].float() / 255, picture[k, i, j].float() / 255
                if way == 0:
                    value = (a * (2 * m - 1) + b * (2 * s - 1) + 1) / 2
                elif way == 1:
                    value = (2 * m) ** a * max(2 * s, torch.tensor(1e-37)) ** b / 2
                else:
                    stays = d["noise"][k if way == 3 else 0, i, j] < d["share"]
                    out[k, i, j] = u[k, i, j] if stays else picture[k, i, j]
                    continue
                if wrap:
                    out[k, i, j] = int((value * 255).clamp(-(2**62), 2**62)) % 256
                else:
                    out[k, i, j] = int(min(max(value, torch.tensor(0.0)), torch.tensor(1.0)) * 255)
    return out


def patch_draws(draws: Draws, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """The numbers of a patch for each image, in the order of a step."""
    n = shape[0]
    names = ("p", "left", "top", "square", "wide", "tall", "way", "coin", "u", "v", "share")
    columns = {name: draws.uniform(n).tolist() for name in names}
    noise = draws.uniform(*shape)
    return [{"noise": noise[i], **{name: columns[name][i] for name in names}} for i in range(n)]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("size", [16, 32])
def test_patches_match_the_definition_on_every_byte(size: int, wrap: bool) -> None:
    u, pictures = images(14, size, 0), images(14, size, 1)
    out = ipmix.put(u, pictures, ipmix.draw_patch(u, 3.0, seeded(2)), wrap)
    draws = patch_draws(Draws(2), tuple(u.shape))
    for i in range(14):
        expected = slow_put(u[i], pictures[i], draws[i], wrap)
        # a power may differ in its last bit between a whole image and a single number
        off = (out[i].int() - expected.int()).abs()
        assert (off.minimum(256 - off) <= 1).all() and (off > 0).double().mean() < 0.002


def slow_views(x: Tensor, picture: Tensor, count: int, seed: int) -> Tensor:
    """Views (count×B×3×H×W, float64) in a loop over images, with Pillow for the operations."""
    draws, u, n = Draws(seed), (x * 255).round().to(torch.uint8), len(x)
    total, shape = 3 * count * n, (3 * count * n, *x.shape[1:])
    depth, coin, steps = draws.uniform(total), draws.uniform(total), []
    for _ in range(3):
        ops = [draws.uniform(total).tolist() for _ in range(3)]
        steps.append((ops, patch_draws(draws, shape)))
    e = -torch.log1p(-draws.uniform(3, count, n))
    weights, share = e / e.sum(0), draws.uniform(count, n)
    out = torch.zeros(count, *x.shape, dtype=torch.float64)
    for view in range(count):
        for i in range(n):
            for chain in range(3):
                k, part = (view * 3 + chain) * n + i, u[i]
                for (kind, level, direction), patches in steps[: int(depth[k] * 4)]:
                    if coin[k] < 0.5:
                        sign = -1 if direction[k] < 0.5 else 1
                        part = pillow_ops.apply(part, 5 + int(kind[k] * 10), 0.1 + 2.9 * level[k], sign)
                    else:
                        part = slow_put(part, picture[i], patches[k], False)
                out[view, i] += weights[chain, view, i] * part.double() / 255
            out[view, i] = (1 - share[view, i]) * x[i].double() + share[view, i] * out[view, i]
    return out


def test_views_and_loss_match_a_loop_over_images() -> None:
    (x, y), picture = batch(3), images(3, 16, 5)
    out = torch.stack(METHOD.views(x, picture, 2, seeded(4)))
    expected = slow_views(x, picture, 2, 4)
    off = (out.double() - expected).abs()
    assert off.max() < 1 / 255 + 1e-6 and (off > 1e-6).double().mean() < 0.005  # a byte cut off on the other side
    net, fixed = small_net(), small_net()
    method = make("ipmix", pictures=4).bind(net)
    loss = method.loss(net, x, y, None, seeded(6))
    gen = seeded(6)
    views = method.views(x, net.extra.crops(x, gen), 2, gen)
    p = fixed(torch.cat((x, *views))).double().log_softmax(1).chunk(3)
    mean = (sum(q.exp() for q in p) / 3).log()
    jsd = sum((q.exp() * (q - mean)).sum(1).mean() for q in p) / 3
    ce = cross_entropy(p[0], one_hot(y)).mean()
    assert loss.item() == pytest.approx((ce + 12 * jsd).item(), abs=2e-5)


def test_outside_the_patch_bytes_are_unchanged() -> None:
    u, pictures = images(200, 32, 0), images(200, 32, 1)
    patch = ipmix.draw_patch(u, 3.0, seeded(0))
    out = ipmix.put(u, pictures, patch, True)
    outside = ~patch.mask.expand_as(u)
    assert torch.equal(out[outside], u[outside])


def test_half_of_the_patches_are_squares_of_four_sizes() -> None:
    patch = ipmix.draw_patch(images(4000, 32, 0), 3.0, seeded(0))
    tall, wide = patch.mask.any(3).sum((1, 2)), patch.mask.any(2).sum((1, 2))
    assert int(tall.min()) == int(wide.min()) == 2 and int(tall.max()) == int(wide.max()) == 32
    assert torch.equal(patch.mask.sum((1, 2, 3)), tall * wide)
    square = (tall == wide) & ((wide == 4) | (wide == 8) | (wide == 16) | (wide == 32))
    assert square.double().mean().item() == pytest.approx(
        0.5 + 0.5 * (1 / 9 + 2 / 49 + 3 / 225 + 4 / 961) / 4, abs=0.03
    )


def test_exchanged_shares_have_mean_one_half_and_vary() -> None:
    patch = ipmix.draw_patch(images(2000, 16, 0), 3.0, seeded(0))
    share = patch.elements.double().mean((1, 2, 3))
    assert share.mean().item() == pytest.approx(0.5, abs=0.03) and share.std() > 0.25
    assert torch.equal(patch.pixels, patch.elements[:, :1])


def test_depth_0_is_the_image_itself() -> None:
    x, picture = batch(4)[0], images(4, 16, 1)
    views = make("ipmix", depth=0).views(x, picture, 2, seeded(0))
    assert all(torch.allclose(v, x, atol=2e-7, rtol=0) for v in views)


@pytest.mark.parametrize(("value", "wrapped", "clipped"), [(-0.1, 231, 0), (1.2, 50, 255)])
def test_values_out_of_range_wrap_around_or_are_clipped(value: float, wrapped: int, clipped: int) -> None:
    """As measured on the released code."""
    u = torch.full((1, 3, 1, 1), 255 if value > 0 else 0, dtype=torch.uint8)
    a = torch.tensor([(2 * value - 1) * (1 if value > 0 else -1)])
    ones = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    patch = ipmix.Patch(ones, torch.tensor([0]), a, torch.zeros(1), ones, ones)
    assert ipmix.put(u, u, patch, True).unique().tolist() == [wrapped]
    assert ipmix.put(u, u, patch, False).unique().tolist() == [clipped]


def test_released_wrapping_is_an_option() -> None:
    u, pictures = images(100, 16, 0), images(100, 16, 1)
    a, b = (m.chains(u, pictures, 3, seeded(0)) for m in (METHOD, OFFICIAL))
    assert not torch.equal(a, b)
