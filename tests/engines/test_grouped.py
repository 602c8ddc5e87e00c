"""What layers do for themselves in a step, done for all at once: the same bits in fewer operations."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from catchup_bench import data
from catchup_bench.engines.grouped import Grouped
from catchup_bench.training.loop import capture_steps, train_step, use_engine
from catchup_bench.training.loop import test_error as error_on_test_images
from catchup_bench.training.state import Training

from ..methods.test_steps import operations
from ..support.backends import Rerun
from .test_graph_steps import assert_same, small, start


def steps(one: Training, count: int = 3) -> list[Tensor]:
    gen = torch.Generator().manual_seed(0)
    x = torch.rand(9, 3, 16, 16, generator=gen).contiguous(memory_format=torch.channels_last)
    y = torch.arange(9)
    one.net.train()
    one.method.start_epoch(one.net)
    one.gen.manual_seed(0)
    torch.manual_seed(0)
    return [train_step(one, x, y, plan_of(one), one.gen, 0.1) for _ in range(count)]


def plan_of(one: Training) -> Any:
    return one.method.plan(np.random.default_rng(3))


def half(method: str, grouped: bool, **settings: Any) -> Training:
    one = start(small(method, **settings))
    one.precision = "bf16"
    one.grouped = Grouped(one.net, "bf16") if grouped else None
    return one


# one pass; two of which one has no gradient; a second network and several counts; gradients of images; a slow copy
@pytest.mark.parametrize("method", ["baseline", "snapmix", "sumix", "puzzlemix", "adautomix", "stochdepth", "mixupe"])
def test_grouped_steps_train_to_the_same_bits(method: str) -> None:
    plain, grouped = half(method, False), half(method, True)
    assert all(torch.equal(a, b) for a, b in zip(steps(plain), steps(grouped), strict=True))
    assert_same(plain, grouped)
    counters = [int(v) for k, v in grouped.net.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counters and max(counters) >= 3
    assert not any("forward" in vars(m) or "weight" in vars(m) for m in grouped.net.modules())


def test_a_step_takes_fewer_operations_for_every_layer() -> None:
    counts = []
    for grouped in (False, True):
        one = half("baseline", grouped)
        steps(one)
        counts.append(operations(lambda one=one: steps(one, 1)))
    net = one.net
    norms, layers = ([m for m in net.modules() if isinstance(m, kind)] for kind in (nn.BatchNorm2d, nn.Conv2d))
    # grouped copies and sums are taken apart again on a CPU, as many as there are: what is left out are the layers' own
    assert counts[0] >= counts[1] and len(norms) > 5 < len(layers)
    casts = one.grouped
    assert casts is not None and len(casts.layers) == len(layers) + 1 and len(casts.norms) == len(norms)


def act(net: nn.Module, x: Tensor, change: Callable[[], object] | None) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.clear_autocast_cache()
        first: Tensor = net(x)
        if change is not None:
            with torch.no_grad():
                change()
            torch.clear_autocast_cache()
        return (first.float() ** 2).sum() + net(x).float().sum()


@pytest.mark.parametrize("how", ["changed in place", "replaced", "frozen", "in fp32", "differentiated twice"])
def test_weights_that_a_step_changes_are_cast_anew(how: str) -> None:
    """A method may do with weights within a step what it likes."""

    def outcome(group: bool) -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
        x = torch.rand(5, 3, 4, 4, requires_grad=True)
        change = {
            "changed in place": lambda: net[0].weight.mul_(1.5),
            "replaced": lambda: setattr(net[3], "weight", nn.Parameter(torch.ones(2, 16))),
        }.get(how)
        if how == "frozen":
            net[0].requires_grad_(False)
        with Grouped(net, "bf16")() if group else nullcontext():
            loss = net(x).sum() + act(net, x, None) if how == "in fp32" else act(net, x, change)
        if how == "differentiated twice":
            (slope,) = torch.autograd.grad(loss, x, create_graph=True)
            loss = slope.square().sum()
        loss.backward()
        return [loss.detach(), *(p.grad for p in net.parameters() if p.grad is not None), *net.buffers()]

    plain, grouped = outcome(False), outcome(True)
    assert len(plain) == len(grouped) and torch.equal(plain[0], grouped[0])
    for a, b in zip(plain, grouped, strict=True):  # a cache that is emptied within a step adds gradients in fp32
        assert torch.equal(a, b) or (how in ("changed in place", "replaced") and (a - b).norm() <= a.norm() / 100)


def test_counters_that_matter_and_layers_of_their_own_are_left_alone() -> None:
    mean, own = nn.BatchNorm2d(3, momentum=None), nn.Conv2d(3, 3, 1)
    vars(own)["forward"] = lambda x: x
    net = nn.Sequential(own, mean, nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm2d(3))
    grouped = Grouped(net, "bf16")
    assert grouped.layers == [] and grouped.norms == [net[3]]
    with grouped(), pytest.raises(ZeroDivisionError):
        net(torch.rand(2, 3, 4, 4))
        net[3].eval()(torch.rand(2, 3, 4, 4))
        raise ZeroDivisionError
    assert int(net[3].num_batches_tracked) == int(mean.num_batches_tracked) == 1 and "forward" in vars(own)


def test_captured_steps_are_grouped_and_compiled_ones_are_not() -> None:
    one = start(small("baseline"))
    assert one.grouped is None, "on a CPU launches take no time"
    capture_steps(one, Rerun())
    assert one.grouped is not None
    for engine in ("compile", "compile+graphs"):
        if engine == "compile":
            use_engine(one, "compile")
        else:
            capture_steps(one, Rerun(), engine)
        assert one.grouped is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_looks_are_captured_once_and_see_what_was_trained_since(precision: str) -> None:
    one, backend = half("baseline", False), Rerun()
    one.precision = precision
    capture_steps(one, backend, "auto")
    images = data.load("digits", "test")
    images = data.Images(images.x[:50], images.y[:50], images.index[:50])
    assert one.looks is not None
    errors, eager = [], []
    for label in range(4):
        steps(one, 1)
        with torch.no_grad():
            one.net.head.linear.bias[label] += 1000 * (label + 1)
        errors.append(error_on_test_images(one.net, images, precision, 20, captured=one.looks))
        eager.append(error_on_test_images(one.net, images, precision, 20))
    assert errors == eager and len(set(errors)) > 1 and not one.looks.fallen
    assert len(one.looks.replays) == 2, "whole batches, and the last one"
