"""What a training step of every method asks of a device: gradients in half precision, gathers instead of scatters, and
no more operations than it needs."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from catchup_bench import registry
from catchup_bench.method import partners, permutation
from catchup_bench.verification.method import BoundMethod

METHODS = registry.methods()


@pytest.mark.parametrize("name", METHODS)
def test_no_weight_that_was_cast_without_gradient_is_used_with_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch before 2.11 trains none of the weights that a pass without gradients has left in autocast's cache."""
    bound = BoundMethod(registry.method_class(name))
    cached = set[nn.Module]()
    clear = torch.clear_autocast_cache
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: (cached.clear(), clear()))

    def watch(layer: nn.Module, *_: Any) -> None:
        if torch.is_autocast_enabled("cpu") and torch.is_autocast_cache_enabled():
            if not torch.is_grad_enabled():
                cached.add(layer)
            assert not torch.is_grad_enabled() or layer not in cached, "its cast has no gradient"

    for layer in bound.net.modules():
        # casts of weights that need no gradient are not cached
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.requires_grad:
            layer.register_forward_pre_hook(watch)
    for plan in bound.plans():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            bound.loss(plan)
        cached.clear()  # autocast empties its cache at its end


def graph_of(loss: Tensor) -> Iterator[str]:
    """Names of the operations behind a loss."""
    seen, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node.name()
            todo += [after for after, _ in node.next_functions]


@pytest.mark.parametrize("name", METHODS)
def test_no_gradient_is_scattered(name: str) -> None:
    """The gradient of an index is scattered, for which CUDA sorts the index and adds in no fixed order."""
    bound = BoundMethod(registry.method_class(name))
    for plan in bound.plans():
        assert not {"IndexBackward0", "IndexSelectBackward0", "GatherBackward0"} & set(graph_of(bound.loss(plan)))


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_gradient_of_partners_is_that_of_indexing(n: int, memory: torch.memory_format) -> None:
    gen = torch.Generator().manual_seed(n)
    h, back = (torch.randn(n, 3, 4, 4, generator=gen).contiguous(memory_format=memory) for _ in range(2))
    perm = permutation(n, gen)
    plain, ours = h.clone().requires_grad_(), h.clone().requires_grad_()
    plain[perm].backward(back)
    taken = partners(ours, perm)
    taken.backward(back)
    assert torch.equal(taken, h[perm]) and torch.equal(ours.grad, plain.grad)  # type: ignore[arg-type]
    assert torch.equal(partners(h, perm), h[perm]) and partners(h, perm).grad_fn is None


def test_nothing_is_kept_for_a_gradient_that_images_do_not_need() -> None:
    for name in ("inputmixup", "manifold", "alignmixup"):
        bound = BoundMethod(registry.method_class(name))
        assert 0 in bound.plans()
        assert "PartnersBackward" not in set(graph_of(bound.loss(0)))


VIEWS = {"view", "expand", "transpose", "slice", "select", "unsqueeze", "squeeze", "permute", "as_strided", "alias"}

VIEWS |= {"detach", "empty", "empty_strided", "lift_fresh", "_reshape_alias", "unbind", "resize_"}


def operations(act: Any) -> int:
    """How many operations are dispatched that compute something: what a GPU would launch, as far as a CPU can tell."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as seen:
        act()
    leaves = [e for e in seen.events() if not any(child.name.startswith("aten::") for child in e.cpu_children)]
    return sum(e.name.removeprefix("aten::") not in VIEWS for e in leaves if e.name.startswith("aten::"))


@pytest.mark.parametrize(
    ("name", "options", "plan", "most"),
    [
        ("comixup", {"niter": 2}, 4, 4900),
        *(("puzzlemix", {}, b, most) for b, most in ((2, 450), (4, 500), (8, 2500), (16, 3800))),
    ],
)
def test_batches_are_mixed_in_few_operations(name: str, options: Any, plan: int, most: int) -> None:
    """Of a batch of 28, whose last partition is short; a limit is a little above what is needed."""
    gen = torch.Generator().manual_seed(0)
    x, saliency = torch.rand(28, 3, 32, 32, generator=gen), torch.rand(28, 32, 32, generator=gen)
    method = registry.method_class(name)(**options)
    found = operations(lambda: method.mix(x, torch.eye(28), saliency, plan, gen))
    assert most / 2 < found <= most


def test_a_plan_is_transported_in_few_operations() -> None:
    align = importlib.import_module("catchup_bench.methods.alignmixup")
    found = operations(lambda: align.transport(torch.rand(4, 9, 9), 0.1, 100, 0.1))
    assert 400 < found <= 850
