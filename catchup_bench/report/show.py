"""Write the picture of how a method mixes a batch to a file."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..evaluation.evaluate import find_run
from ..leaderboard.svg import drawing
from ..plugins import parse_settings
from ..runs.build import build
from ..runs.checkpoint import load_weights, num_classes, read_weights
from ..runs.folder import RunFolder, read_run
from ..runs.make import make_run, method_spec
from ..system.files import write_atomic
from . import mixing
from .pictures import CPU, training_batch

KINDS = (".png", ".svg")


def draw_method(
    method: str,
    run: str | None,
    dataset: str,
    seed: int,
    settings: Sequence[str],
    out: Path | None,
    runs: Path,
    data_dir: Path | None,
) -> Path:
    """Draw what ``method`` mixes of a fixed batch, with the weights of ``run`` or untrained ones; return the path.

    Raises :class:`UsageError` for a file that is neither PNG nor SVG, and as :func:`make_run`.
    """
    stem = Path(method).stem
    path = out or Path(f"{stem}.png")
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"--out {path}: it takes a file that ends in {' or '.join(KINDS)}")
    parsed = parse_settings(settings)
    made = make_run(method, dataset, seed=seed, settings=parsed)
    weights = None
    if run is not None:
        folder = find_run(runs, run)
        if not RunFolder(folder).finished:
            raise UsageError(f"{folder} is not trained to its end: repeat its train command to finish it")
        trained = read_run(folder)
        name = trained.dataset.name
        made = trained.model_copy(update={"method": method_spec(method, name, parsed.get(stem, {})), "seed": seed})
        weights = RunFolder(folder).weights
    with drawing() as mpl:
        x, y = training_batch(made, data_dir)
        tensors = None if weights is None else read_weights(weights)[0]
        net, bound = build(made, CPU, None if tensors is None else num_classes(tensors))
        if tensors is not None and weights is not None:
            load_weights(net, tensors, weights)
        figure = mixing.figure(mpl, x, mixing.mix(net, bound, x, y, seed))
        form = path.suffix.lower().removeprefix(".")
        facts = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
        write_atomic(path, lambda p: figure.savefig(p, format=form, dpi=100, facecolor="white", metadata=facts))
    return path
