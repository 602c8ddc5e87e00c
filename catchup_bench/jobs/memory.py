"""How much of a GPU's memory a run takes, estimated without one, and how many runs fit side by side."""

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import data
from ..evaluation.evaluate import choose_batch_size
from ..runs.build import build_net
from ..runs.run import Run
from ..system.hardware import autocast

CONTEXT = 600 * 2**20
"""Bytes of a process on the device before its first tensor: the driver's context and the libraries' kernels."""

SPARE, SHARE = 1.5, 0.9
"""What temporary tensors and workspaces take beyond what is kept for the backward pass; the part of free memory that is
filled."""


def estimate(run: Run, resident: int) -> int:
    """Estimate the bytes that training ``run``, or evaluating it with gradients of the images, takes at most.

    Of weights, gradients and momenta and the copies that a captured step is compared with; of what the backward pass
    keeps, counted on the CPU for a few images; and of the ``resident`` bytes of the images that stay on the device.
    """
    size = data.get(run.dataset.name).size
    net = build_net(run.model, run.dataset.name, torch.device("cpu"))
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    several = choose_batch_size(data.Images(torch.empty(1, size, size, 3), torch.empty(1), torch.empty(1)))
    single = kept(net, size, "fp32")
    training = run.recipe.batch_size * (single if run.recipe.precision == "fp32" else kept(net, size, "bf16"))
    return int(CONTEXT + 6 * weights + SPARE * max(training, several * single) + resident)


def resident_bytes(run: Run, data_dir: Path | None) -> int:
    """Return the bytes of the training images that stay on the device, with their margins; none of those that are
    streamed."""
    images = data.load(run.dataset.name, "train", data_dir, run.dataset.fraction, run.seed)
    if isinstance(images, data.Files):
        return 0
    height, width = images.x.shape[1:3]
    margin = 2 * run.recipe.pad
    return images.x.nbytes * (height + margin) * (width + margin) // (height * width)


def kept(net: torch.nn.Module, size: int, precision: str) -> float:
    """Return the bytes per image that a training pass keeps for its backward pass; each storage counts once."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage
        return t

    totals = []
    for n in (2, 4):  # the difference leaves out what does not depend on the batch, such as weights that were cast
        storages.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), autocast(precision, torch.device("cpu")):
            F.cross_entropy(net(torch.zeros(n, 3, size, size)).float(), torch.zeros(n, dtype=torch.long))
        totals.append(sum(storage.nbytes() for storage in storages.values()))
    return (totals[1] - totals[0]) / 2


def side_by_side(runs: Iterable[Run], free: int, cores: int, data_dir: Path | None = None) -> int:
    """Return how many of ``runs`` fit into ``free`` bytes at once: at least 1, at most one for each of the
    ``cores``."""
    different = {
        (run.model, run.dataset, run.recipe.batch_size, run.recipe.pad, run.recipe.precision): run for run in runs
    }
    most = max((estimate(run, resident_bytes(run, data_dir)) for run in different.values()), default=CONTEXT)
    return max(1, min(cores, int(SHARE * free / most)))
