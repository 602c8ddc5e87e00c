"""Every method keeps the contract: each check on each method, and each check fails on a method that breaks it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from catchup_bench import registry
from catchup_bench.method import Method, Mixup, Network, one_hot, soft_loss
from catchup_bench.models import MODELS
from catchup_bench.verification import method
from catchup_bench.verification.method import (
    CHECKS,
    BoundMethod,
    check_contract,
    file_says_what_the_class_is,
    run_check,
)
from tests.support.method_settings import settings_of


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", registry.methods())
def test_method_keeps_the_contract(name: str, check: Callable[[BoundMethod], str]) -> None:
    result = run_check(check, registry.method_class(name))
    assert result.ok, result.detail


CHEAP = {
    "resnet18": (4, "stem7", 32),
    "resnet50": (4, "stem3", 16),
    "resnext50": (16, "stem7", 32),
    "wrn16-8": (2, "standard", 16),
    "densenet121": (2, "standard", 32),
    "mobilenetv2": (4, "standard", 32),
    "vgg11": (2, "standard", 32),
}
"""Width, variant and image size of networks in miniature; PyramidNet-200 is in test_regularizers."""


@pytest.mark.parametrize("network", CHEAP)
@pytest.mark.parametrize("name", registry.methods())
def test_method_works_on_every_network(name: str, network: str) -> None:
    """A finite loss and gradient for every plan, at any depth; what cannot work says so in one line."""
    width, variant, size = CHEAP[network]
    torch.manual_seed(0)
    net = MODELS[network].build(num_classes=4, width=width, variant=variant)
    method = registry.method_class(name)()
    settings = settings_of(name)
    if network in settings.refuses:
        with pytest.raises(ValueError, match=settings.refuses[network]):
            method.bind(net)
        return
    method = method.bind(net)
    rng, gen = np.random.default_rng(0), torch.Generator().manual_seed(0)
    plans = dict.fromkeys(method.plan(rng) for _ in range(200))
    if isinstance(method, Mixup) and method.layers[1:]:
        assert max(method.layers) == len(net.stages) or settings.skips_last_stage
    x, y = torch.rand(4, 3, size, size, generator=gen), torch.arange(4)
    method.start_epoch(net)
    for plan in plans:
        loss = method.loss(net, x, y, plan, gen)
        assert loss.shape == () and loss.isfinite()
    loss.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


def without_one_gradient(net: Network, x: Tensor) -> Tensor:
    """Logits; the last weight behaves as one that was cast in a pass without gradients."""
    last = list(net.parameters())[-1]
    last.requires_grad_(False)
    logits = net(x)
    last.requires_grad_(True)
    return logits


def with_first(x: Tensor, value: Any) -> Tensor:
    x = x.clone()
    x[0] = value
    return x


class Waiting(torch.autograd.Function):
    """Reads a value on the way back."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return h.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * float(grads[0].isfinite().all().item())


WAITS: dict[str, Callable[[Tensor], Tensor]] = {
    "number into an element": lambda x: with_first(x, 0.5),
    "number into a slice": lambda x: with_first(x, 1),
    "list into an element": lambda x: with_first(x, np.ones(x.shape[1:], np.float32)),
    "number to the device": lambda x: x * torch.tensor(0.5, device=x.device),
    "numbers to the device": lambda x: x * torch.as_tensor([0.5, 0.5, 0.5], device=x.device)[:, None, None],
    "numbers for the device": lambda x: x * torch.tensor([0.5, 0.5, 0.5]).to(x.device)[:, None, None],
    "new tensor": lambda x: x * x.new_tensor(0.5),
    "array": lambda x: x * torch.from_numpy(np.ones((3, 1, 1), np.float32)).to(x.device),
    "list index": lambda x: x[list(range(len(x)))],
    "mask index": lambda x: x[x.mean((1, 2, 3)) >= 0],
    "counted": lambda x: x * (torch.nonzero(x[0, 0]).shape[0] > 0),
    "places": lambda x: x * (torch.where(x[0, 0] > 0)[0].shape[0] > 0),
    "condition": lambda x: x if x.mean() > 0 else x + 1,
    "backward": lambda x: Waiting.apply(x.clone().requires_grad_()),
}


@dataclass(frozen=True, kw_only=True)
class Bad(Method):
    """A method that breaks one clause, chosen by ``how``."""

    title, paper, year, level = "Bad", "none", 2024, "input"
    how: str = ""

    def plan(self, rng: Any) -> Any:
        return float(rng.random()) if self.how == "plans" else None

    def loss(self, net: Network, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator) -> Tensor:
        target = one_hot(y, net.num_classes)
        if self.how == "vector":
            return target.sum(1)
        if self.how == "detached":
            return soft_loss(net(net(x, stop=2).detach(), start=2), target)
        if self.how == "weights":
            return soft_loss(net(x), 0.5 * target)
        if self.how == "unseeded":
            return soft_loss(net(x), target) * Bad.counter()
        if self.how == "one image":
            return soft_loss(net(x[1:]), target[1:])
        if self.how == "format":
            return soft_loss(net(x.as_strided(x.shape, x.contiguous().stride())), target)
        if self.how == "in place":
            x.mul_(0.5)
        if self.how == "eval":
            net.train(False)
        if self.how == "half":
            assert net(x).dtype == torch.float32
        if self.how == "host":
            return soft_loss(net(x), target) * float(x.max().item() >= 0)
        if self.how == "half detached" and torch.is_autocast_enabled("cpu"):
            return soft_loss(net(net(x, stop=2).detach(), start=2), target)
        if self.how == "half last" and torch.is_autocast_enabled("cpu"):
            return soft_loss(without_one_gradient(net, x), target)
        if self.how in WAITS:
            return soft_loss(net(WAITS[self.how](x)), target)
        return soft_loss(net(x), target)

    @staticmethod
    def counter() -> int:
        Bad.calls = getattr(Bad, "calls", 0) + 1  # type: ignore[attr-defined]
        return int(Bad.calls)  # type: ignore[attr-defined]


BREAKS = dict(
    zip(
        CHECKS,
        "plans vector detached weights unseeded,one image,format,in place,eval,half,host".replace(" ", ",", 4).split(
            ","
        ),
        strict=True,
    )
)


@pytest.mark.parametrize(("check", "how"), BREAKS.items(), ids=lambda v: getattr(v, "__name__", v))
def test_check_finds_the_method_that_breaks_it(check: Callable[[BoundMethod], str], how: str) -> None:
    assert not run_check(check, lambda: Bad(how=how)).ok


@pytest.mark.parametrize("how", WAITS)
def test_whatever_waits_for_a_device_is_found(how: str) -> None:
    found = run_check(method.nothing_waits_for_the_device, lambda: Bad(how=how))
    assert not found.ok and re.search("on the host|to the device", found.detail)


@pytest.mark.parametrize("work", ["fill", "zero", "arithmetic", "places", "numbers"])
def test_what_stays_on_the_device_is_let_through(work: str) -> None:
    """The other ways of writing the same: none of them waits."""
    x = torch.rand(4, 3, 2, 2)
    with method.nothing_may_wait():
        if work == "fill":
            x[:2].fill_(1)
        elif work == "zero":
            x[0].zero_()
            x[1:3] = x[:2].clone()
        elif work == "arithmetic":
            x = torch.where(x > 0.5, 0.25, x) * torch.tensor(0.5) + torch.full((), 2.0, device=x.device)
        elif work == "places":
            x = x[torch.rand(4).argsort(), ..., None][:, 0]
        else:
            x = torch.as_tensor(x, device=x.device) * torch.arange(2)
    assert x.isfinite().all()


def test_gradients_are_required_in_bf16_too() -> None:
    """A method that trains all weights in fp32 and not all in bf16, which a cache of casts without gradient does."""
    for how, said in (("half detached", "bf16: no gradient in stage 0"), ("half last", r"1 parameters .*head")):
        found = run_check(method.half_precision_works, lambda how=how: Bad(how=how))
        assert not found.ok and re.search(said, found.detail), found.detail
        assert run_check(method.gradients_reach_every_stage, lambda how=how: Bad(how=how)).ok


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_a_sound_method_passes(check: Callable[[BoundMethod], str]) -> None:
    assert run_check(check, Bad).ok


def test_conform_runs_all_checks() -> None:
    checks = check_contract(registry.method_class("baseline"))
    assert len(checks) == len(CHECKS) + 1 and all(c.ok for c in checks)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("alpha: float = 2 * 0.5", "option alpha: 2 \\* 0.5 is not a literal"),
        ("alpha: Annotated[float, Gt(LOW)] = 1.0", "option alpha: LOW is not a literal"),
        ('defaults = dict(digits={"alpha": 2.0})', "defaults: .* is not a literal"),
        ('locals().update(title="Other")', "attributes: the file reads as .*Mine"),
        ("if True:\n        alpha: float = 2.0", "options: the file reads as"),
    ],
)
def test_a_file_that_needs_to_be_run_breaks_the_contract(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(line=line))
    check = file_says_what_the_class_is(registry.method_class(str(path)))
    assert not check.ok and re.search(words, check.detail), check.detail


MINE = """
from dataclasses import dataclass
from typing import Annotated
from catchup_bench.method import Gt, Mixup

LOW = 0

@dataclass(frozen=True, kw_only=True)
class Mine(Mixup):
    title, paper, year, level = "Mine", "none", 2026, "input"
    {line}
"""
