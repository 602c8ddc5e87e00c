"""The contract of a method as checks that anyone can run on a file of their own: ``catchup-bench verify --method``."""

import inspect
import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..bounds import bounded_fields
from ..errors import UsageError
from ..method import Method
from ..method_files import ATTRIBUTES, Outline, outline
from ..models import MODELS, StagedNet
from ..models.branches import put_plain_branches

CLASSES, SIZE, MAX_PLANS = 10, 16, 64

READING = {
    "item", "tolist", "cpu", "numpy", "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "equal",
    "allclose", "is_nonzero", "bincount", "__bool__", "__int__", "__float__", "__index__", "__contains__", "__array__",
    "__format__", "__repr__",
}  # fmt: skip
"""Functions that read a tensor's values on the host."""

MAKING = {"tensor", "as_tensor", "asarray", "new_tensor", "from_numpy"}
"""Functions that make a tensor of numbers on the host."""

INDEXING = {"__getitem__", "__setitem__"}


@dataclass(frozen=True)
class Check:
    """One clause of the contract and whether it holds; ``detail`` says what was seen."""

    name: str
    ok: bool
    detail: str


class Broken(AssertionError):
    """A clause does not hold."""


def make_net(seed: int = 0) -> StagedNet:
    """Make a small network, initialised by ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MODELS["preactresnet10"].build(num_classes=CLASSES, width=8, variant="B")
    return net.to(memory_format=torch.channels_last)


def make_batch(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, SIZE, SIZE, generator=gen).contiguous(memory_format=torch.channels_last)
    return x, torch.randint(CLASSES, (n,), generator=gen)


class BoundMethod:
    """A method bound to a fresh network."""

    def __init__(self, make: Callable[[], Method]) -> None:
        self.net = make_net()
        torch.manual_seed(0)
        self.method = make().bind(self.net)
        self.net.train()
        self.initial = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.reset()

    def reset(self) -> None:
        """Restore the state before the first step: a saliency pass in eval mode depends on BatchNorm's statistics."""
        self.net.load_state_dict(self.initial, strict=False)
        self.method.start_epoch(self.net)

    def plans(self) -> list[Hashable]:
        """Return all plans seen in 500 draws, in a fixed order."""
        rng = np.random.default_rng(0)
        return list(dict.fromkeys(self.method.plan(rng) for _ in range(500)))

    def loss(self, plan: Any, n: int = 8, batch: tuple[Tensor, Tensor] | None = None) -> Tensor:
        torch.manual_seed(0)  # modules inside the network may draw from the default generator
        x, y = batch or make_batch(n)
        return self.method.loss(self.net, x, y, plan, torch.Generator().manual_seed(1))


def need(ok: bool, detail: str) -> None:
    if not ok:
        raise Broken(detail)


def plans_are_few(s: BoundMethod) -> str:
    plans = s.plans()
    need(len(plans) <= MAX_PLANS, f"{len(plans)} different plans in 500 draws: at most {MAX_PLANS} may exist")
    return f"{len(plans)} plans"


def loss_is_finite(s: BoundMethod) -> str:
    for plan in s.plans():
        loss = s.loss(plan)
        need(
            loss.shape == () and loss.dtype == torch.float32,
            f"plan {plan}: loss is {loss.dtype} of shape {tuple(loss.shape)}",
        )
        need(math.isfinite(loss.item()), f"plan {plan}: loss is {loss.item()}")
    return "a finite fp32 scalar for every plan"


def gradients_reach_every_stage(s: BoundMethod) -> str:
    for plan in s.plans():
        trained(s, plan)
    return "stem to head"


def trained(s: BoundMethod, plan: Any, half: bool = False) -> set[str]:
    """Take the gradients of one step, in bf16 autocast if ``half``; the names of the parameters that have one."""
    said = f"plan {plan}{', bf16' if half else ''}"
    s.net.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        loss = s.loss(plan)
    need(math.isfinite(loss.item()), f"{said}: loss is {loss.item()}")
    loss.backward()
    for name, part in [*((f"stage {i}", m) for i, m in enumerate(s.net.stages)), ("head", s.net.head)]:
        grads = [p.grad for p in part.parameters()]
        need(any(g is not None and bool(g.abs().sum() > 0) for g in grads), f"{said}: no gradient in {name}")
        need(all(g is None or bool(g.isfinite().all()) for g in grads), f"{said}: gradient not finite in {name}")
    return {name for name, p in s.net.named_parameters() if p.grad is not None}


def target_weights_sum_to_one(s: BoundMethod) -> str:
    seen: list[Tensor] = []

    def spy(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(logits: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if target.is_floating_point():
                seen.append(target.detach())
            return original(logits, target, *args, **kwargs)

        return call

    with mock.patch.object(F, "cross_entropy", spy(F.cross_entropy)):
        for plan in s.plans():
            s.loss(plan)
    if not s.method.weights_sum_to_one:
        return "they need not, by the method's own account"
    for target in seen:
        need(bool((target.sum(1) - 1).abs().max() < 1e-5) and bool(target.min() >= -1e-6), "a target does not sum to 1")
    return f"{len(seen)} soft targets" if seen else "no soft targets: weights are the method's own"


def same_generator_same_loss(s: BoundMethod) -> str:
    for plan in s.plans():
        s.reset()
        first = s.loss(plan)
        s.reset()
        need(torch.equal(first, s.loss(plan)), f"plan {plan}: two calls with the same generator differ")
    return "bit-equal"


def any_batch_size(s: BoundMethod) -> str:
    for n in (1, 7):
        for plan in s.plans():
            s.reset()
            need(math.isfinite(s.loss(plan, n).item()), f"plan {plan}: loss of a batch of {n} is not finite")
    return "1 and 7 images"


def memory_format_is_free(s: BoundMethod) -> str:
    x, y = make_batch(8)
    for plan in s.plans():
        s.reset()
        last = s.loss(plan, batch=(x, y))
        s.reset()
        first = s.loss(plan, batch=(x.contiguous(), y))
        need(
            torch.allclose(last, first, atol=1e-4),
            f"plan {plan}: channels_last gives {last:.6f}, contiguous {first:.6f}",
        )
    return "channels_last and contiguous agree to 1e-4"


def inputs_are_untouched(s: BoundMethod) -> str:
    x, y = make_batch(8)
    kept = x.clone(), y.clone()
    for plan in s.plans():
        s.loss(plan, batch=(x, y))
        need(torch.equal(x, kept[0]) and torch.equal(y, kept[1]), f"plan {plan}: x or y was modified")
    return "x and y as they were"


def evaluation_is_untouched(s: BoundMethod) -> str:
    for plan in s.plans():
        s.loss(plan)
    need(s.net.training, "the network was left in eval mode")
    state = {k: v for k, v in s.net.state_dict().items() if not k.startswith("extra.")}
    plain, also = make_net(1), ""
    if s.method.level == "network":
        try:
            put_plain_branches(plain, s.net)
        except ValueError as err:
            raise Broken(str(err)) from None
        also = ", which has a factor or a BatchNorm on its branches" * (
            plain.state_dict().keys() != make_net().state_dict().keys()
        )
    need(state.keys() == plain.state_dict().keys(), "the network's state_dict has other keys than the plain network's")
    plain.load_state_dict(state)
    s.net.eval()
    for x in (make_batch(8)[0], make_batch(1, seed=1)[0], torch.zeros(2, 3, SIZE, SIZE)):
        with torch.inference_mode():
            need(torch.equal(s.net(x), plain.eval()(x)), "logits in eval mode differ from the plain network's")
    return f"logits and keys equal the plain network's{also}"


def half_precision_works(s: BoundMethod) -> str:
    for plan in s.plans():
        s.reset()
        single = trained(s, plan)
        s.reset()
        lost = sorted(single - trained(s, plan, half=True))
        need(
            not lost,
            f"plan {plan}, bf16: no gradient in {len(lost)} parameters that have one in fp32, such as {lost[:1]}; a "
            "pass without gradients belongs in catchup_bench.method.without_gradients",
        )
    return "bf16 autocast is finite and trains the parameters that fp32 does"


def refuse(name: str, args: Any, kwargs: Any) -> None:
    """Raise :class:`Broken` for a call that makes the host wait for a device: one that reads values of a tensor, or
    copies numbers into one. On a CPU nothing waits; so it is the function that counts, not what it does here."""
    if name in READING or (name == "where" and len(args) + len(kwargs) == 1):
        raise Broken(f"{name} reads a tensor's values on the host")
    if name in MAKING and copies_numbers(name, *args, **kwargs):
        raise Broken(f"torch.{name} copies numbers to the device: use torch.full, torch.arange or arithmetic")
    if name in INDEXING:
        for index in args[1] if isinstance(args[1], tuple) else (args[1],):
            if isinstance(index, Tensor) and index.dtype == torch.bool:
                raise Broken("a mask as an index is counted on the host: use torch.where")
            if isinstance(index, list | range | np.ndarray):
                raise Broken("a list as an index is copied to the device: use slices or torch.arange")
    if name == "__setitem__" and not isinstance(args[2], Tensor):
        raise Broken("t[i] = number copies the number to the device: use torch.where, fill_ or arithmetic")


class Refusing(TorchFunctionMode):
    """Every function of torch that is called, by whatever name it was imported, goes through :func:`refuse`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        refuse(getattr(func, "__name__", ""), args, kwargs or {})
        return func(*args, **(kwargs or {}))


@contextmanager
def nothing_may_wait() -> Iterator[None]:
    """Raise :class:`Broken` for what would make the host wait for a device. The mode does not see a backward pass, nor
    functions without a tensor among their arguments; what replaces the functions does."""

    def guard(owner: Any, name: str) -> Any:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            refuse(name, args, kwargs)
            return original(*args, **kwargs)

        return mock.patch.object(owner, name, call)

    names = (*READING, *MAKING, *INDEXING, "where")
    with ExitStack() as stack:
        for patch in [guard(owner, name) for owner in (Tensor, torch) for name in names if hasattr(owner, name)]:
            stack.enter_context(patch)
        stack.enter_context(Refusing())
        yield


def copies_numbers(name: str, data: Any, *args: Any, device: Any = None, **kwargs: Any) -> bool:
    """Return whether a call of :data:`MAKING` copies numbers to a device, or makes a tensor that only a copy could
    bring there. A single number stays on the host, from where arithmetic takes it along."""
    if name in ("as_tensor", "asarray") and isinstance(data, Tensor):
        return False
    return name == "new_tensor" or device is not None or not isinstance(data, int | float)


def nothing_waits_for_the_device(s: BoundMethod) -> str:
    for plan in s.plans():
        s.reset()
        for _ in range(2):  # methods with a history behave otherwise at the second step
            with nothing_may_wait():
                s.loss(plan).backward()
    return "no value of a tensor is read on the host, and no number copied into one"


CHECKS = (
    plans_are_few,
    loss_is_finite,
    gradients_reach_every_stage,
    target_weights_sum_to_one,
    same_generator_same_loss,
    any_batch_size,
    memory_format_is_free,
    inputs_are_untouched,
    evaluation_is_untouched,
    half_precision_works,
    nothing_waits_for_the_device,
)


def file_says_what_the_class_is(cls: type[Method]) -> Check:
    """Check that options, bounds and attributes are readable without running the file, as boards read them."""
    name = "options are readable"
    try:
        read = outline(Path(inspect.getfile(cls)))
    except UsageError as err:
        return Check(name, False, str(err))
    for what, of in SAID.items():
        if of(cls) != of(read):
            return Check(name, False, f"{what}: the file reads as {of(read)}, and once it is run it is {of(cls)}")
    return Check(name, True, f"{len(fields(read))} options and their bounds, without running the file")


SAID: dict[str, Callable[[Any], object]] = {
    "options": lambda cls: [(f.name, f.default) for f in fields(cls) if f.default is not MISSING],
    "bounds": lambda cls: {name: allowed for name, (_, allowed) in bounded_fields(cls).items()},
    "attributes": lambda cls: {name: getattr(cls, name, getattr(Outline, name, None)) for name in ATTRIBUTES},
}
"""What boards and pages take from a method's file."""


def run_check(check: Callable[[BoundMethod], str], make: Callable[[], Method]) -> Check:
    """Run one check on a freshly bound method; what the method raises is a failed check, not an error."""
    name = check.__name__.replace("_", " ")
    try:
        return Check(name, True, check(BoundMethod(make)))
    except Broken as err:
        return Check(name, False, str(err))
    except Exception as err:  # the method is untrusted
        return Check(name, False, f"{type(err).__name__}: {' '.join(str(err).split())[:200]}")


def check_contract(make: Callable[[], Method]) -> list[Check]:
    """Make all checks; ``make`` builds the unbound method, and its file is checked where it is the class.

    On one thread: on several, torch 2.15 corrupts memory in the backward pass of odd batches of so narrow a network.
    """
    torch.set_num_threads(1)
    of_file = [file_says_what_the_class_is(make)] if isinstance(make, type) else []
    return of_file + [run_check(check, make) for check in CHECKS]
