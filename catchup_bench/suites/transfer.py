"""Transfer: does a network err on examples that were made on other networks?"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import batches
from ..errors import UsageError
from ..runs.build import build
from ..runs.checkpoint import load_weights, num_classes, read_weights
from ..runs.folder import RunFolder, read_run
from ..runs.make import method_spec
from ..runs.run import Run
from ..seeds import per_image
from ..system.files import file_digest
from ..system.hardware import to_device
from . import ConditionResult, Context, Suite, balanced, fetch
from ._gradient_masking import check_eps, check_step, uniform
from .pgd import From


@dataclass(frozen=True, kw_only=True)
class Transfer(Suite):
    """Top-1 on examples that are made on the network of each of ``sources``: methods, whose runs have the same dataset,
    network, recipe and seed, the methods' own options, and lie beside the evaluated one. A source that is the method
    itself, with its own options, is this very run: then the examples are made with its own gradient.

    Examples are targeted: projected gradient descent in the l∞ ball of ``eps``/255, ``steps`` steps of ``step``/255
    from a uniform start, towards a class that is drawn for each image among the others. A row of the matrix of methods
    and sources that is low everywhere but at its own gradient is what robustness to that gradient alone looks like; one
    that only its own gradient cannot break is masked. ``images`` above 0 takes that many test images. Beside the bits
    stand ``target``, the share of images taken for the class they were made for, and ``source_error``, in percent.
    """

    about = "examples made on the runs of other methods (targeted PGD), a column of the transfer matrix for each"
    cost = "21 forward, 20 backward of the source's network, 1 forward per source"

    sources: tuple[str, ...] = ("baseline",)
    eps: float = 4.0
    step: float = 1.0
    steps: int = 20
    images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_eps((self.eps,))
        check_step(self.step)
        for field, least in (("steps", 1), ("images", 0)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} = {getattr(self, field)} is not allowed: it takes {least} or more")
        if not self.sources or len(set(self.sources)) < len(self.sources) or any("/" in s for s in self.sources):
            raise ValueError(f"sources = {self.sources} is not allowed: it takes names of methods, each once")

    def conditions(self) -> list[str]:
        return [self.condition(source) for source in self.sources]

    def condition(self, source: str) -> str:
        marks = (
            (f"e{self.eps:g}", self.eps != 4),
            (f"step{self.step:g}", self.step != 1),
            (f"s{self.steps}", self.steps != 20),
            (f"n{self.images}", self.images != 0),
            (f"seed{self.seed}", self.seed != 0),
        )
        return f"transfer-{source}" + "".join(f"-{mark}" for mark, on in marks if on)

    def source(self, condition: str) -> str:
        return next(source for source in self.sources if self.condition(source) == condition)

    def passes(self, condition: str) -> float:
        return 2 * self.steps + 2

    def protocol(self, condition: str) -> dict[str, Any]:
        options = {key: getattr(self, key) for key in ("eps", "step", "steps", "images", "seed")}
        return {"version": self.version, "source": self.source(condition), **options}

    @classmethod
    def options_of(cls, protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
        shared = {key: value for key, value in protocols[0].items() if key not in ("version", "source")}
        return {"sources": tuple(protocol["source"] for protocol in protocols), **shared}

    def runs_needed(self, run: Run) -> list[Run]:
        return [other for other in (source_of(run, source) for source in self.sources) if other.folder != run.folder]

    def images_digest(self, context: Context, condition: str) -> str:
        """Return the SHA-256 of the digests of the test images and of the source's weights: both make the examples."""
        _, folder = source_run(context, self.source(condition))
        weights = file_digest(RunFolder(folder).weights)
        return hashlib.sha256(f"{context.images.digest()} {weights}".encode()).hexdigest()

    def run(self, context: Context, conditions: Sequence[str]) -> Iterator[tuple[str, ConditionResult]]:
        images = balanced(context, self.images, "transfer.images")
        where = replace(context, images=images)
        stated = {"index": images.index.tolist()} if self.images else {}
        for condition in conditions:
            net = source_network(context, self.source(condition))
            done = [self.attack(where, net, *batch) for batch in batches(images, context.batch_size, context.device)]
            right, fooled, source_right = (fetch(part) for part in zip(*done, strict=True))
            shares = {
                "target": 100 * float(fooled.double().mean()),
                "source_error": 100 * (1 - float(source_right.double().mean())),
            }
            yield condition, ConditionResult(right, {**shares, **stated})

    def attack(
        self, context: Context, net: nn.Module, x: Tensor, y: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return whether the network is right, whether it names the target, and whether the source is right."""
        from torchattacks import PGD

        own: Tensor = context.forward(x)
        target = targets(y, own.shape[1], index, context.key, self.seed)
        attack = PGD(net, eps=self.eps / 255, alpha=self.step / 255, steps=self.steps, random_start=True)
        attack.set_mode_targeted_by_label(quiet=True)
        with From(self.eps / 255 * uniform(x, index, "transfer-v1", context.key, self.seed, 0)):
            example = attack(x, target)
        said = context.forward(example).argmax(1)
        with torch.inference_mode():
            told = net(example).argmax(1)
        return said == y, said == target, told == y

    def summary(self) -> dict[str, list[str]]:
        return {f"transfer from {source}": [self.condition(source)] for source in self.sources}


def targets(y: Tensor, classes: int, index: Tensor, key: str, seed: int) -> Tensor:
    """Return for each image a class other than its own, uniform, which belongs to the image."""
    drawn = per_image(lambda gen, n: gen.random(n), index.tolist(), "transfer-v1/target", key, seed)
    away = 1 + (torch.from_numpy(drawn) * (classes - 1)).long()
    return (y + to_device(away, y.device)) % classes


def source_of(run: Run, source: str) -> Run:
    """Return the run of method ``source`` that is like ``run``, which may be ``run`` itself; with the method's own
    options, whatever those of ``run`` are. A method of a file outside the project is its own source."""
    if source == run.method.name and run.method.file:
        return run
    return run.model_copy(update={"method": method_spec(source, run.dataset.name, {})})


def source_run(context: Context, source: str) -> tuple[Run, Path]:
    """Return the run of method ``source`` that is like the evaluated one, and its folder. Raises :class:`UsageError`
    when there is none, or when it is not trained to its end."""
    if context.folder is None:
        raise UsageError("transfer needs a run of ours, beside which those of its sources lie; this is a checkpoint")
    run = source_of(read_run(context.folder), source)
    folder = context.folder.parent / run.folder
    if not RunFolder(folder).finished:
        raise UsageError(f"transfer from {source}: {folder} is not there or not finished: train it first")
    return run, folder


def source_network(context: Context, source: str) -> nn.Module:
    """Return the network of method ``source``, frozen and in eval mode."""
    run, folder = source_run(context, source)
    tensors, _ = read_weights(RunFolder(folder).weights)
    net, _ = build(run, context.device, num_classes(tensors))
    load_weights(net, tensors, RunFolder(folder).weights)
    return net.eval().requires_grad_(False)
