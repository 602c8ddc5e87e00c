"""The Python API: evaluate any network, train, corrupt images, use a method in a loop of one's own, read a board.

    import catchup_bench

    catchup_bench.evaluate(net, "cifar100").errors()
    catchup_bench.train("catchup", epochs=3)
    catchup_bench.corrupt(images, "fog", 3)
    catchup_bench.method("catchup").loss(net, x, y)
    catchup_bench.board("digits").table()

All of it is also on the command line, and both come to the same bits.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from . import corruptions, data, registry
from .boards import load as load_board
from .data.normalisation import parse_constants
from .errors import UsageError
from .evaluation.evaluate import evaluate as evaluate_model
from .evaluation.evaluated_model import EvaluatedModel, model_of_checkpoint, trained_model
from .evaluation.outputs import SelectedOutputs, choose_outputs, selection_facts
from .leaderboard.results import read_results
from .leaderboard.statistics import wilson
from .leaderboard.table import Table, compute_table
from .leaderboard.wording import against_difference
from .models.staging import NormalisedNet, count_outputs
from .plugins import complete_options
from .records.outcomes import collect_record
from .records.record import Outcome, Record
from .records.results_folder import board_folder, find_root
from .runs.checkpoint import state_digest
from .runs.folder import RunFolder, read_run
from .runs.make import make_run, model_spec
from .runs.run import Run
from .suites import Suite, make_suites, resolve_suites
from .system.hardware import choose_device
from .system.progress import Progress
from .training.loop import train as train_run
from .training.own_loop import LoopMethod

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = [
    "BoardResults", "Evaluation", "LoopMethod", "TrainedRun", "board", "corrupt", "evaluate", "load",
    "method", "train",
]  # fmt: skip

ROBUSTNESS = ("robustness",)

Settings = Mapping[str, Mapping[str, Any]]
"""Name of a suite, of the method or ``recipe`` → options."""

Pictures = TypeVar("Pictures", npt.NDArray[Any], Tensor)


@dataclass(frozen=True)
class Evaluation:
    """The ``outcomes`` of a network by condition, a bit per test image each, and the ``suites`` that they are of."""

    outcomes: dict[str, Outcome]
    suites: dict[str, Suite]

    def errors(self) -> "DataFrame":
        """Return a row per condition: its suite, the number of images ``n``, the top-1 ``error`` in percent, and the
        ends ``low`` and ``high`` of its 95 % Wilson interval."""
        from pandas import DataFrame

        rows = {
            c: (o.suite, o.n, o.error, *wilson(o.n - o.correct, o.n))
            for suite in self.suites.values()
            for c in suite.conditions()
            if (o := self.outcomes.get(c)) is not None
        }
        return DataFrame.from_dict(rows, orient="index", columns=["suite", "n", "error", "low", "high"])

    def means(self) -> "Series[float]":
        """Return the mean top-1 error in percent of every group of conditions that a suite sums up, such as ``noise``,
        ``severity 3`` and ``mean of 19 types`` of the corruptions."""
        from pandas import Series

        rows = {
            name: float(np.mean([self.outcomes[c].error for c in conditions]))
            for suite in self.suites.values()
            for name, conditions in suite.summary().items()
            if self.outcomes.keys() >= set(conditions)
        }
        return Series(rows, name="error", dtype=float)


def evaluate(
    net: nn.Module,
    dataset: str = "digits",
    suites: str | Iterable[str] = ROBUSTNESS,
    *,
    normalise: str = "none",
    classes: Path | str | None = None,
    settings: Settings | None = None,
    folder: Path | str | None = None,
    data_dir: Path | str | None = None,
    threads: int | None = None,
) -> Evaluation:
    """Evaluate ``net``, on the device where it is, on the test images of ``dataset``.

    ``net`` is any module that takes float images B×3×H×W in [0,1] and returns logits B×K; one that wants normalised
    images says so by ``normalise`` (``imagenet``, ``cifar10``, ``cifar100``, ``half``, ``dataset`` or
    ``MEAN,STD``), so that an ε of an attack stays in pixel units. ``suites`` are names of suites or groups,
    ``settings`` their options, as in ``{"fgsm": {"eps": 0.01}}``. ``classes`` is a file that says which outputs stand
    for which classes, where the network has others. With ``folder``, every outcome is stored there as soon as it is
    measured, and the same call resumes; the network is known there by the digest of its weights.

    Raises :class:`~catchup_bench.errors.UsageError` for an unknown name, data that is not there, outputs that are not
    the dataset's classes, and a folder of another network.

    >>> import torch, catchup_bench
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 10))
    >>> found = catchup_bench.evaluate(net, "digits", ["clean", "fgsm"])
    >>> found.errors()[["suite", "n"]]
            suite    n
    clean   clean  797
    fgsm-4   fgsm  797
    """
    where = path_or_none(data_dir)
    resolved = named_suites(suites, settings, dataset, where)
    entry = data.get(dataset)
    mean, std = parse_constants(normalise, entry)
    evaluated: nn.Module = net if normalise == "none" else NormalisedNet(net, mean, std)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    count = count_outputs(evaluated, entry.size)
    outputs, how = choose_outputs(count, entry, where, path_or_none(classes), count == 1000, type(net).__name__)
    if how:
        evaluated = SelectedOutputs(evaluated, outputs).to(device)
    stated = {"network": type(net).__name__, "normalisation": normalise} | selection_facts(outputs, how)
    checkpoint = {"sha256": state_digest(net, json.dumps(stated, sort_keys=True)), **stated}
    with tempfile.TemporaryDirectory() as temporary:
        model = EvaluatedModel(evaluated, dataset, Path(folder or temporary), checkpoint)
        found = evaluate_model(model, resolved, device=device, data_dir=where, threads=threads)
    return Evaluation(found, resolved)


def path_or_none(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def named_suites(
    suites: str | Iterable[str], settings: Settings | None, dataset: str, data_dir: Path | None
) -> dict[str, Suite]:
    """Return the suites called ``suites``, with ``settings`` as their options, as they are for ``dataset``."""
    names = [suites] if isinstance(suites, str) else suites
    made = make_suites(names, {name: dict(options) for name, options in (settings or {}).items()})
    return resolve_suites(made, dataset, data_dir)


@dataclass(frozen=True)
class TrainedRun:
    """A finished run in its ``folder``."""

    folder: Path

    @property
    def run(self) -> Run:
        """Return what the run is: its method, dataset, model, recipe and seed."""
        return read_run(self.folder)

    def metrics(self) -> "DataFrame":
        """Return a row per epoch: its mean loss, learning rate, seconds and, where it was looked at, test error in
        percent."""
        from pandas import DataFrame

        lines = RunFolder(self.folder).metrics.read_text(encoding="utf-8").splitlines()
        return DataFrame.from_records([json.loads(line) for line in lines]).set_index("epoch")

    def network(self, device: str = "auto") -> nn.Module:
        """Return the network with the weights of the last epoch, in eval mode; it takes images in [0,1]."""
        return trained_model(self.folder, choose_device(device)).net.eval()

    def evaluate(
        self,
        suites: str | Iterable[str] = ROBUSTNESS,
        *,
        settings: Settings | None = None,
        data_dir: Path | str | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> Evaluation:
        """Evaluate what is missing of ``suites``, store it in the folder, and return all that was asked for."""
        of_data = path_or_none(data_dir)
        resolved = named_suites(suites, settings, self.run.dataset.name, of_data)
        where = choose_device(device)
        model = trained_model(self.folder, where)
        return Evaluation(evaluate_model(model, resolved, device=where, data_dir=of_data, threads=threads), resolved)

    def record(self) -> Record:
        """Return the record of the run: its outcomes so far, and their provenance."""
        return collect_record(self.folder)


def train(
    method: str,
    dataset: str = "digits",
    *,
    model: str | None = None,
    width: int | None = None,
    variant: str | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    precision: str | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    settings: Settings | None = None,
    runs: Path | str = "runs",
    data_dir: Path | str | None = None,
    device: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> TrainedRun:
    """Train, or resume, the run that the arguments describe, as ``catchup-bench train`` does, in a folder under
    ``runs``; a run that is finished is returned as it is.

    ``settings`` are options as in ``{"catchup": {"alpha": 0.5}, "recipe": {"lr": 0.05}}``. ``progress`` receives what
    happens and may stop it.

    Raises :class:`~catchup_bench.errors.UsageError` for bad input, before anything is written, and
    :class:`~catchup_bench.errors.RunFailed` when the loss is no longer finite.

    >>> import tempfile, catchup_bench
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     trained = catchup_bench.train("catchup", epochs=1, width=4, fraction=0.1, runs=runs)
    ...     len(trained.metrics()), trained.run.method.options["alpha"]
    (1, 10.0)
    """
    overrides = {k: v for k, v in (("epochs", epochs), ("precision", precision)) if v is not None}
    given = {owner: dict(options) for owner, options in (settings or {}).items()}
    run = make_run(
        method, dataset, model=model, width=width, variant=variant, recipe_name=recipe, overrides=overrides,
        fraction=fraction, seed=seed, settings=given,
    )  # fmt: skip
    folder = train_run(
        run, Path(runs), device=choose_device(device), data_dir=path_or_none(data_dir), engine=engine, threads=threads,
        progress=progress,
    )  # fmt: skip
    return TrainedRun(folder)


def load(checkpoint: str, *, model: str | None = None, dataset: str | None = None, device: str = "auto") -> nn.Module:
    """Return the network of a ``checkpoint``, in eval mode, for images in [0,1]: a file of weights that was made here,
    ``hf://OWNER/NAME`` for those of a repository of the hub, or, with the names of their ``model`` and ``dataset``,
    weights that were made elsewhere. Weights are read as data, and no code that comes with them is run.

    Raises :class:`~catchup_bench.errors.UsageError` for what is not there, private or damaged, or does not fit.
    """
    spec = model_spec(model, None, None, data.get(dataset)) if model and dataset else None
    return model_of_checkpoint(checkpoint, spec, dataset, Path("runs"), None, choose_device(device)).net.eval()


def corrupt(
    images: Pictures,
    name: str,
    severity: int,
    *,
    indices: Iterable[int] | None = None,
    seed: int = 0,
    frost: Path | str | None = None,
) -> Pictures:
    """Return corrupted copies of ``images``, of the same kind, shape and device.

    ``images`` are an array or a tensor: uint8, H×W×3 or N×H×W×3; or, of tensors alone, floats in [0,1], 3×H×W or
    N×3×H×W, which are rounded to 256 levels first. ``name`` is one of the 19 of Hendrycks and Dietterich (ICLR 2019,
    arXiv 1903.12261), ``severity`` 1 to 5. Images whose shorter side is below 48 pixels get the published parameters
    of CIFAR-C, below 128 those of Tiny-ImageNet-C, larger ones those of ImageNet-C. ``frost`` is the folder of the
    published pictures for the corruption of that name; without it, procedural ones are used, and results differ.

    What is drawn at random for an image depends on the name, the severity, ``seed``, the image's size and its number
    in ``indices`` (by default its position here), and never on the images beside it, so results are the same in any
    batch.

    Raises :class:`~catchup_bench.errors.UsageError` for an unknown name or severity, and for images of another kind.

    >>> import numpy as np, catchup_bench
    >>> image = np.full((48, 64, 3), 128, dtype=np.uint8)
    >>> foggy = catchup_bench.corrupt(image, "fog", 3)
    >>> foggy.shape, foggy.dtype, bool((foggy == catchup_bench.corrupt(image, "fog", 3)).all())
    ((48, 64, 3), dtype('uint8'), True)
    """
    if not isinstance(images, np.ndarray | Tensor):
        raise UsageError(f"images must be an array or a tensor, not {type(images).__name__}")
    if frost is not None and name == "frost" and not Path(frost).is_dir():
        raise UsageError(
            f"no folder {frost}: catchup-bench data fetch frost downloads the pictures into the folder frost of the "
            "datasets, which catchup-bench data where frost shows"
        )
    given = torch.from_numpy(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
    floats = isinstance(images, Tensor) and given.is_floating_point()
    if given.ndim not in (3, 4):
        raise UsageError(f"images must have 3 axes, or 4 with a batch, not the shape {tuple(given.shape)}")
    batch = given[None] if given.ndim == 3 else given
    if floats:
        if batch.numel() and not bool(((batch >= 0) & (batch <= 1)).all()):
            raise UsageError("float images must lie in [0,1]: undo their normalisation first")
        batch = (batch * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    positions = list(range(len(batch)) if indices is None else indices)
    textures = corruptions.textures.load(frost) if frost is not None and name == "frost" else None
    made = corruptions.corrupt(batch, name, severity, indices=positions, dataset="", seed=seed, textures=textures)
    if floats:
        made = made.permute(0, 3, 1, 2).to(given.dtype).div(255)
    made = made[0] if given.ndim == 3 else made
    return made.numpy() if isinstance(images, np.ndarray) else made


def method(name: str, *, seed: int = 0, normalise: str = "none", **options: Any) -> LoopMethod:
    """Return the method called ``name``, or the one in the Python file at that path, for a loop of one's own, with
    ``options`` instead of its defaults.

    The loop's network takes what ``normalise`` makes of images in [0,1] (``imagenet``, ``cifar10``, ``cifar100``,
    ``half`` or ``MEAN,STD``): give ``loss`` images in [0,1] and the network gets them normalised. Methods that only
    mix also work on images that are normalised already. Methods that mix features need a network whose stages can be
    found: ResNet, ResNeXt, DenseNet and ConvNeXt of torchvision and timm, and what is built like them.

    Raises :class:`~catchup_bench.errors.UsageError` for an unknown name or option.

    >>> import torch, torchvision, catchup_bench
    >>> net = torchvision.models.resnet18(num_classes=10)
    >>> mixing = catchup_bench.method("catchup", alpha=1.0)
    >>> x, y = torch.rand(4, 3, 32, 32), torch.tensor([1, 2, 3, 4])
    >>> mixing.loss(net, x, y).backward()
    """
    cls = registry.method_class(name)
    owner = name.rsplit("/", 1)[-1].removesuffix(".py")
    mean, std = parse_constants(normalise, None)
    return LoopMethod(owner, cls(**complete_options(cls, None, options, owner)), seed, mean, std)


@dataclass(frozen=True)
class BoardResults:
    """A board as its records give it."""

    results: Table

    def table(self) -> "DataFrame":
        """Return a row per method, best first: ``tier``, ``rank_low`` and ``rank_high``, the ``difference`` to the
        baseline in percentage points with the ends ``low`` and ``high`` of its interval and the ``verdict``, the
        number of seeds ``n``, the relative ``cost`` of a training step, and per column of the board the mean over
        seeds, in percent; what was not measured is missing."""
        from pandas import DataFrame

        rows: dict[str, dict[str, Any]] = {}
        for row in self.results.rows:
            difference, low, high = against_difference(self.results, row) or (None, None, None)
            rank_low, rank_high = row.rank or (None, None)
            rows[row.label] = {
                "tier": row.tier,
                "rank_low": rank_low,
                "rank_high": rank_high,
                "difference": None if difference is None else float(difference),
                "low": None if low is None else float(low),
                "high": None if high is None else float(high),
                "verdict": row.against.verdict if row.against else None,
                "n": row.n,
                "cost": row.cost,
            } | {c.name: float(row.values[c.name].mean) for c in self.results.board.columns if c.name in row.values}
        return DataFrame.from_dict(rows, orient="index").rename_axis("method")


def board(name: str, *, recipe: str | None = None, root: Path | str | None = None) -> BoardResults:
    """Return the board called ``name``, or of a TOML file, from the records in ``root``/leaderboards, by default the
    nearest one upwards from here.

    Raises :class:`~catchup_bench.errors.UsageError` for an unknown board or where there are no leaderboards, and
    :class:`~catchup_bench.errors.VerificationFailed` for a record that contradicts itself.

    >>> import catchup_bench
    >>> table = catchup_bench.board("digits").table()  # doctest: +SKIP
    """
    made = load_board(name, recipe)
    folder = board_folder(find_root(None if root is None else Path(root)), made.name)
    return BoardResults(compute_table(made, read_results(made, folder)))
