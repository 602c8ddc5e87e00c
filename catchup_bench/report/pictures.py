"""Draw what a network does with images: maps of filters, class activation maps, what it gets wrong, mixed batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import data
from ..data import Files, Images
from ..data.batches import batches
from ..data.decode import decoded
from ..errors import UsageError
from ..evaluation.evaluate import evaluation_mode
from ..evaluation.evaluated_model import trained_model
from ..leaderboard.svg import MUTED, WIDTH, blank, short
from ..models import StagedNet
from ..runs.build import build
from ..runs.checkpoint import num_classes
from ..runs.run import Run
from ..suites._fixed_images import stratified
from ..suites._linear_head import linear_head, output_and_logits, pooled_maps
from ..suites.localization import normalised
from . import mixing
from .runs import ReportedRun
from .stored import COLOURS, Drawn

Array = npt.NDArray[Any]

CPU = torch.device("cpu")

SHOWN, FILTERS, STAGE, WRONG, BATCH = 4, 4, 3, 12, 8
"""Images with maps; filters of either kind; the stage of their maps (the third of residual blocks); examples that are
wrong; images of a mixed batch."""

LEAST, LARGEST = 48, 96
"""Pixels of an image on the page."""


@dataclass
class Workshop:
    """Networks and images of the page's runs, each read once. ``arrays`` collects the raw maps by name."""

    data_dir: Path | None
    arrays: dict[str, Array] = field(default_factory=dict)
    _nets: dict[str, StagedNet] = field(default_factory=dict)
    _images: dict[str, Images] = field(default_factory=dict)

    def net(self, run: ReportedRun) -> StagedNet:
        """Return the network of a finished run."""
        if run.label not in self._nets:
            assert run.folder is not None
            net = trained_model(run.folder, CPU).net
            assert isinstance(net, StagedNet)
            self._nets[run.label] = net.eval()
        return self._nets[run.label]

    def tested(self, dataset: str) -> Images:
        if dataset not in self._images:
            self._images[dataset] = data.load(dataset, "test", self.data_dir)
        return self._images[dataset]

    def shown(self, dataset: str, count: int) -> tuple[Tensor, Tensor, list[str]]:
        """Return ``count`` fixed test images, N×3×H×W in [0,1], their labels and the names of these."""
        images = self.tested(dataset)
        rows = stratified(images.y, images.index, min(count, len(images)), f"{dataset}/report")
        x, y, _ = next(batches(images.take(rows), count, CPU))
        return x, y, [self.class_name(dataset, int(label)) for label in y]

    def class_name(self, dataset: str, label: int) -> str:
        names_of = data.get(dataset).class_names
        if names_of is None:
            return str(label)
        names = names_of(self.data_dir or data.default_folder())
        return names[label] if label < len(names) else str(label)


def dataset_of(run: ReportedRun) -> str:
    """Return the dataset of a run. Raises :class:`UsageError` where none is stated."""
    if run.source is None:
        raise UsageError("nothing says which dataset it is of")
    return run.source.dataset.name


def filters(mpl: Any, run: ReportedRun, shop: Workshop) -> Iterator[Drawn]:
    """Draw, for the same images, the saliency and the maps of largest and least norm behind a stage (Figure 1a)."""
    net, (x, y, names) = shop.net(run), shop.shown(dataset_of(run), SHOWN)
    stage = min(STAGE, len(net.stages) - 1)
    with evaluation_mode(net):
        saliency = saliency_of(net, x, y)
        with torch.no_grad():
            maps = net(x, stop=stage + 1)
    order = maps.flatten(2).norm(dim=2).argsort(dim=1, descending=True, stable=True)
    chosen = torch.cat([order[:, :FILTERS], order[:, -FILTERS:]], 1)
    shop.arrays |= {f"{run.label}/saliency": saliency.numpy(), f"{run.label}/maps": maps.numpy()}
    shop.arrays[f"{run.label}/shown filters"] = chosen.numpy()
    rows, dead = [], {}
    for i, image in enumerate(x):
        row = [rgb(image), coloured(mpl, saliency[i], x.shape[2:])]
        for j, c in enumerate(chosen[i].tolist()):
            row.append(coloured(mpl, maps[i, c], x.shape[2:]))
            if not bool(maps[i, c].abs().amax() > 0):
                dead[i, j + 2] = "dead"
        rows.append(row)
    strongest, weakest = ([f"{word} {k}" for k in range(1, FILTERS + 1)] for word in ("strong", "weak"))
    drawn = sheet(mpl, rows, names, ["image", "saliency", *strongest, *weakest], dead)
    yield Drawn(drawn, f"{run.label}: the maps of largest and of least norm behind stage {stage}, of each image", True)


def saliency_of(net: StagedNet, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the loss with respect to the pixels, N×H×W: its root mean square over colours, averaged
    over 7×7 pixels."""
    pixels = x.clone().requires_grad_()
    loss = F.cross_entropy(net(pixels), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, pixels)
    strength = gradient.square().mean(1, keepdim=True).sqrt()
    return F.avg_pool2d(strength, 7, 1, 3, count_include_pad=False)[:, 0]


def activation_maps(mpl: Any, runs: Sequence[ReportedRun], shop: Workshop) -> Iterator[Drawn]:
    """Draw class activation maps of the true class on the same images, a line for each run of a dataset."""
    for dataset in dict.fromkeys(map(dataset_of, runs)):
        x, y, names = shop.shown(dataset, 2 * SHOWN)
        rows, labels = [[rgb(image) for image in x]], ["image"]
        for run in runs:
            if dataset_of(run) == dataset:
                maps = class_maps(shop.net(run), x, y)
                shop.arrays[f"{run.label}/class activation maps"] = maps.numpy()
                rows.append([overlaid(mpl, image, m) for image, m in zip(x, maps, strict=True)])
                labels.append(run.label)
        yield Drawn(sheet(mpl, rows, labels, names), f"Class activation maps of the true class on {dataset}", True)


@torch.inference_mode()
def class_maps(net: StagedNet, x: Tensor, y: Tensor) -> Tensor:
    """Return the class activation maps, N×h×w. Raises :class:`UsageError` for a network without a linear head behind
    averaged maps."""
    with evaluation_mode(net):
        head = linear_head(net, x)
        features, _ = output_and_logits(net, pooled_maps(net, head, x), x)
        return torch.einsum("bchw,bc->bhw", features, head.weight[y])


def wrong(mpl: Any, runs: Sequence[ReportedRun], shop: Workshop) -> Iterator[Drawn]:
    """Draw test images that every run of a dataset gets wrong, with what the networks take them for."""
    for dataset in dict.fromkeys(map(dataset_of, runs)):
        of_dataset = [run for run in runs if dataset_of(run) == dataset]
        images = shop.tested(dataset)
        for run in of_dataset:
            if run.test_sha256 != images.digest():
                raise UsageError(f"{run.label} was evaluated on other images of {dataset} than those there now")
        missed = np.logical_and.reduce([~run.outcomes["clean"].array() for run in of_dataset])
        count = int(missed.sum())
        who = "every run gets" if len(of_dataset) > 1 else f"{of_dataset[0].label} gets"
        if not count:
            yield Drawn(None, f"No image of the {len(images)} of {dataset} that {who} wrong")
            continue
        part = images.take(torch.from_numpy(np.flatnonzero(missed)[:WRONG]))
        x, y, index = next(batches(part, WRONG, CPU))
        texts = [f"{shop.class_name(dataset, int(label))} (#{int(i)})" for label, i in zip(y, index, strict=True)]
        rows, labels = [[rgb(image) for image in x]], ["image"]
        notes = {"true class (#)": texts}
        for run in of_dataset:
            if run.trained:
                with torch.inference_mode(), evaluation_mode(shop.net(run)):
                    taken = shop.net(run)(x).argmax(1)
                notes[run.label] = [shop.class_name(dataset, int(label)) for label in taken]
        yield Drawn(
            sheet(mpl, rows, labels, [""] * len(x), under=notes),
            f"{min(count, WRONG)} of the {count} images of {dataset} that {who} wrong, and what each takes them for",
            True,
        )


def mixed_batch(mpl: Any, run: ReportedRun, shop: Workshop) -> Iterator[Drawn]:
    """Draw a batch of training images as the run's method mixes it, with the run's weights."""
    assert isinstance(run.source, Run)
    x, y = training_batch(run.source, shop.data_dir)
    trained = shop.net(run)
    net, method = build(run.source, CPU, num_classes(dict(trained.state_dict())))
    net.load_state_dict(trained.state_dict(), strict=False)
    mixed = mixing.mix(net, method, x, y, run.source.seed)
    yield Drawn(mixing.figure(mpl, x, mixed), f"{run.label}: a batch as its method gives it to the network", True)


def training_batch(run: Run, data_dir: Path | None, count: int = BATCH) -> tuple[Tensor, Tensor]:
    """Return fixed training images of a run's dataset without augmentation, N×3×H×W in [0,1], and their labels."""
    images = data.load(run.dataset.name, "train", data_dir)
    part = images.take(stratified(images.y, images.index, min(count, len(images)), f"{run.dataset.name}/report"))
    whole = decoded(part) if isinstance(part, Files) else part
    x, y, _ = next(batches(whole, count, CPU))
    return x, y


def rgb(image: Tensor) -> Array:
    """Return 3×H×W in [0,1] as the array H×W×3, enlarged by whole pixels or shrunk to the size on the page."""
    size = max(image.shape[1:])
    if size > LARGEST:
        scale = LARGEST / size
        image = F.interpolate(image[None], scale_factor=scale, mode="area")[0]
    elif size < LEAST:
        image = image.repeat_interleave(-(-LEAST // size), 1).repeat_interleave(-(-LEAST // size), 2)
    return image.permute(1, 2, 0).numpy()


def coloured(mpl: Any, values: Tensor, size: Sequence[int]) -> Array:
    """Return h×w values, scaled to 0..1 and bilinearly to ``size``, in colours; black where all are the same."""
    enlarged = F.interpolate(values[None, None].float(), tuple(size), mode="bilinear", align_corners=False)[0]
    scaled = normalised(enlarged)[0]
    if not bool(scaled.amax() > 0):
        return rgb(torch.zeros(3, *size))
    return rgb(torch.from_numpy(mpl.colormaps[COLOURS](scaled.numpy())[..., :3]).permute(2, 0, 1).float())


def overlaid(mpl: Any, image: Tensor, values: Tensor) -> Array:
    """Return a map in colours over a grey image."""
    grey = rgb(image.mean(0, keepdim=True).expand(3, -1, -1).contiguous())
    return 0.45 * grey + 0.55 * coloured(mpl, values, image.shape[1:])


def sheet(
    mpl: Any,
    rows: Sequence[Sequence[Array]],
    names: Sequence[str],
    columns: Sequence[str],
    texts: dict[tuple[int, int], str] | None = None,
    under: dict[str, list[str]] | None = None,
) -> Any:
    """Return pictures in rows and columns with their names, ``texts`` over single ones, and lines of text ``under``
    them."""
    under = under or {}
    height, width = rows[0][0].shape[:2]
    gap = 4
    whole = np.ones((len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 4), np.float32)
    whole[..., 3] = 0
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            whole[top : top + height, left : left + width, :3] = cell
            whole[top : top + height, left : left + width, 3] = 1
    label = 150.0
    high = (2 * WIDTH - label) * whole.shape[0] / whole.shape[1]
    most = 110.0 * len(rows)
    wide = 1.0 if high <= most else most / high
    high, foot = min(high, most), 26.0 + 17.0 * len(under)
    figure = blank(mpl, 2 * WIDTH, high + 24 + foot)
    total = high + 24 + foot
    right = (2 * WIDTH - label) * wide
    axes = figure.add_axes((label / (2 * WIDTH), foot / total, right / (2 * WIDTH), high / total), facecolor="none")
    axes.imshow(whole.clip(0, 1), interpolation="none", aspect="auto")
    at_x = [j * (width + gap) + (width - 1) / 2 for j in range(len(rows[0]))]
    at_y = [i * (height + gap) + (height - 1) / 2 for i in range(len(rows))]
    axes.set_xticks(at_x, [short(column) for column in columns], fontsize=10)
    axes.set_yticks(at_y, [short(name) for name in names])
    for k, (name, line) in enumerate(under.items(), 1):
        for x, text in [(-8.0, short(name)), *zip(at_x, map(short, line), strict=True)]:
            down = -(22 + 17 * k)
            axes.annotate(
                text, (x, len(whole)), (0, down), textcoords="offset pixels", fontsize=10, va="bottom",
                ha="right" if x < 0 else "center", color=MUTED, annotation_clip=False,
            )  # fmt: skip
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (i, j), text in (texts or {}).items():
        axes.text(at_x[j], at_y[i], text, ha="center", va="center", color="#ffffff", fontsize=10)
    return figure
