"""Draw what records and metrics hold: curves, heat maps, landscapes and histograms of one run or several."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import corruptions
from ..leaderboard.curves import LEFT, Curve, curves, logarithmic
from ..leaderboard.svg import FOOT, MUTED, WIDTH, blank, canvas, fit
from ..records.record import Outcome
from ..suites.dynamics import BINS
from ..suites.frequency import heat_map
from ..suites.landscape import steps
from ..suites.reliance import STEPS
from .runs import ReportedRun

Array = npt.NDArray[Any]
Runs = Sequence[ReportedRun]

COLOURS = "viridis"
"""Colour map of everything: even in lightness, and told apart without seeing colours."""


ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "autoattack": "AutoAttack"}
"""Suites with an ε in their protocol, and what they are called."""


class Drawn(NamedTuple):
    """A figure of matplotlib, its caption, and whether it needs the whole width of the page."""

    figure: Any
    caption: str
    wide: bool = False


def training(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the loss, the clean error and the learning rate by epoch (Figure 4)."""
    for key, name, caption, log in (
        ("loss", "loss of training, nats", "Loss as it is optimised, of mixed labels where a method mixes them", True),
        ("test_error", "clean error, %", "Top-1 error on the clean test images", False),
        ("lr", "learning rate", "Learning rate at the end of each epoch", False),
    ):
        lines = []
        for number, run in enumerate(runs):
            points = [(m["epoch"], m[key]) for m in run.metrics if key in m]
            if points:
                epochs, values = zip(*points, strict=True)
                smooth = key != "lr" and len(values) > 20
                shown = running_median(values) if smooth else values
                lines.append(Curve(run.label, epochs, shown, number, faint=values if smooth else None))
        if lines:
            positive = log and all(value > 0 for line in lines for value in (line.faint or line.y))
            scale = logarithmic if positive else None
            note = "; thick: the median of five" if any(line.faint for line in lines) else ""
            yield Drawn(curves(mpl, lines, "epoch", name, scale), caption + note)


def running_median(values: Sequence[float], width: int = 5) -> list[float]:
    """Return the median of up to ``width`` values centred at each."""
    half = width // 2
    return [float(np.median(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]


def corruption_grid(outcomes: dict[str, Outcome]) -> Array:
    """Return the errors in percent, 19×5 by type and severity, of the protocol that has most; NaN where there is none.

    Published arrays and generated ones never stand in one grid.
    """
    grids: dict[str, Array] = {}
    for condition, outcome in outcomes.items():
        name, _, rest = condition.partition("-")
        severity = rest[:1]
        if name in corruptions.NAMES and severity in "12345" and severity:
            kept = {k: v for k, v in outcome.protocol.items() if k != "frost"}
            grid = grids.setdefault(repr(sorted(kept.items())), np.full((len(corruptions.NAMES), 5), np.nan))
            grid[corruptions.NAMES.index(name), int(severity) - 1] = outcome.error
    if not grids:
        raise ValueError("no condition of it is known here")
    return max(grids.values(), key=lambda grid: int(np.isfinite(grid).sum()))


def corruption(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the error under every corruption at every severity, in the same colours for all runs."""
    for run in runs:
        grid = corruption_grid(run.of_suite("corruption"))
        figure, axes = canvas(mpl, 19 * len(grid) + FOOT + 10)
        picture = axes.imshow(grid, vmin=0, vmax=100, cmap=COLOURS, aspect="auto", interpolation="none")
        axes.set_yticks(range(len(grid)), [name.replace("_", " ") for name in corruptions.NAMES])
        axes.set_xticks(range(5), list("12345"))
        axes.set_xlabel("severity")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for (i, j), error in np.ndenumerate(grid):
            if np.isfinite(error):
                ink = "#000000" if picture.norm(error) > 0.6 else "#ffffff"
                axes.text(j, i, f"{error:.1f}", ha="center", va="center", color=ink, fontsize=11)
        fit(axes, 130, FOOT)
        mean = f", mean {np.nanmean(grid):.2f} %" if np.isfinite(grid).all() else ""
        yield Drawn(figure, f"{run.label}: top-1 error in percent{mean}")


def attacks(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the error against ε, a plot for every attack and its protocol."""
    titles: dict[str, str] = {}
    lines: dict[str, list[Curve]] = {}
    for number, run in enumerate(runs):
        points: dict[str, dict[float, float]] = {}
        for condition, outcome in run.outcomes.items():
            if outcome.suite in ATTACKS and "eps" in outcome.protocol:
                rest = {k: v for k, v in outcome.protocol.items() if k not in ("eps", "version")}
                key = f"{outcome.suite} {sorted(rest.items())}"
                titles[key] = ATTACKS[outcome.suite] + re.sub(r"^[a-z]+-[0-9.e+]+-?", " ", condition).rstrip()
                points.setdefault(key, {})[float(outcome.protocol["eps"])] = outcome.error
        for key, by_eps in points.items():
            if "clean" in run.outcomes and all(o.n == run.outcomes["clean"].n for o in run.of_suite("fgsm").values()):
                by_eps.setdefault(0.0, run.outcomes["clean"].error)
            eps = sorted(by_eps)
            lines.setdefault(key, []).append(Curve(run.label, eps, [by_eps[e] for e in eps], number, "o"))
    for key, of_attack in lines.items():
        ticks = sorted({float(e) for line in of_attack for e in line.x})

        def scale(axes: Any, ticks: list[float] = ticks) -> None:
            axes.set_xscale("symlog", linthresh=min((t for t in ticks if t > 0), default=1.0), base=2)
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
            axes.set_ylim(-3, 103)

        yield Drawn(curves(mpl, of_attack, "ε, in 1/255", "error, %", scale), f"Error under {titles[key]} against ε")


def calibration(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw accuracy against confidence, a point for each bin that holds an image."""
    lines = []
    for number, run in enumerate(runs):
        points = next(iter(run.of_suite("calibration").values())).values["points"]
        x, y = [100 * p["confidence"] for p in points], [100 * p["accuracy"] for p in points]
        lines.append(Curve(run.label, x, y, number, "o"))

    def diagonal(axes: Any) -> None:
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set(xlim=(0, 102), ylim=(0, 102))

    yield Drawn(
        curves(mpl, lines, "mean confidence of a bin, %", "accuracy, %", diagonal),
        "Reliability diagram; on the dashed line, confidence says how often the network is right",
    )


def reliance(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the accuracy as the highest or the lowest features are dropped (Figures 1c, 5 and 6)."""
    shares = [100 * i / STEPS for i in range(STEPS + 1)]
    for order in ("value", "magnitude"):
        chosen = [
            (number, run.label, outcome)
            for number, run in enumerate(runs)
            for outcome in run.of_suite("reliance").values()
            if outcome.protocol["by"] == order and (order == "value" or outcome.values["min_feature"] < 0)
        ]
        for end, word in (("top", "highest"), ("bottom", "lowest")):
            lines = [
                Curve(label, shares, [100 * right / o.n for right in o.values["right"][end]], number)
                for number, label, o in chosen
            ]
            if lines:
                figure = curves(mpl, lines, f"features set to 0, the {word} {order}s first, %", "accuracy, %")
                yield Drawn(figure, f"Accuracy without the features of {word} {order}")


def landscape(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the loss on planes, as contours and as a surface, and along the first eigenvector (Figures 3 and 7)."""
    from ..suites._values import unpack

    for kind, name in (("eigen", "the top two eigenvectors of the Hessian"), ("random", "two random directions")):
        planes = [
            (number, run.label, outcome, unpack(outcome.values["grid"]).reshape(2 * (outcome.protocol["points"],)))
            for number, run in enumerate(runs)
            for outcome in run.of_suite("landscape").values()
            if outcome.protocol["kind"] == kind
        ]
        if not planes:
            continue
        everywhere = np.concatenate([grid.ravel() for *_, grid in planes])
        levels = np.geomspace(max(everywhere.min(), 1e-6), max(everywhere.max(), 2e-6), 13)
        for _, label, outcome, grid in planes:
            drawn = plane(mpl, steps_of(outcome), grid, levels)
            yield Drawn(drawn, f"{label}: loss in nats along {name}", wide=True)
        for of in ("training", "test") if kind == "eigen" else ():
            lines = []
            for number, label, outcome, grid in planes:
                losses = grid[:, len(grid) // 2] if of == "training" else unpack(outcome.values["test_curve"])
                lines.append(Curve(label, steps_of(outcome).tolist(), losses.tolist(), number))
            along_first = curves(mpl, lines, "step along the unit eigenvector", "loss, nats", logarithmic)
            yield Drawn(along_first, f"Loss on {of} images along the first eigenvector")


def steps_of(outcome: Outcome) -> Array:
    """Return how far the points of a plane are from its centre."""
    return steps(int(outcome.protocol["points"]), float(outcome.values["extent"])).numpy()


def plane(mpl: Any, along: Array, grid: Array, levels: Array) -> Any:
    """Return contours and, beside them, the surface of the logarithm of a loss whose rows go along the first
    direction."""
    figure = blank(mpl, 2 * WIDTH, 330)
    axes = figure.add_axes((0.08, 0.15, 0.36, 0.8), facecolor="none")
    shown = np.clip(grid.astype(np.float64), levels[0], levels[-1])
    lines = axes.contour(along, along, shown.T, levels=levels, cmap=COLOURS, norm=mpl.colors.LogNorm(), linewidths=1.2)
    axes.clabel(lines, levels[1::2], fontsize=9, fmt=lambda level: f"{level:.2g}")
    axes.plot([0], [0], "+", color=MUTED, markersize=10)
    axes.set(xlabel="first direction", ylabel="second direction")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(5))
    axes.tick_params(labelcolor=MUTED)
    solid = figure.add_axes((0.5, 0.02, 0.47, 0.96), projection="3d", facecolor="none")
    x, y = np.meshgrid(along, along, indexing="ij")
    solid.plot_surface(x, y, np.log10(shown), cmap=COLOURS, rcount=41, ccount=41, linewidth=0, rasterized=True)
    solid.set(xlabel="first", ylabel="second", zlabel="log₁₀ loss")
    for axis in (solid.xaxis, solid.yaxis, solid.zaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axis.set_pane_color((0, 0, 0, 0))
        axis.label.set_color(MUTED)
        axis._axinfo["grid"]["color"] = "#7f7f7f55"
    solid.tick_params(labelcolor=MUTED, labelsize=9)
    return figure


def dynamics(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the joint histograms of activation and gradient norms at the epochs that were kept (Figure 1b)."""
    from ..suites._values import unpack_counts

    stored = []
    for run in runs:
        values = next(iter(run.of_suite("dynamics").values())).values
        epochs = {
            int(epoch): unpack_counts(of_epoch["histogram"], BINS**2).reshape(BINS, BINS)
            for epoch, of_epoch in values["epochs"].items()
        }
        stored.append((run.label, values, dict(sorted(epochs.items()))))
    used = np.sum([counts for _, _, epochs in stored for counts in epochs.values()], axis=0)
    spans = [np.flatnonzero(used.sum(axis)) for axis in (1, 0)]
    (left, right), (bottom, top) = ((int(s[0]), int(s[-1]) + 1) for s in spans)
    for label, values, epochs in stored:
        lows, highs = zip(*(map(float, values["ranges"][kind]) for kind in ("activation", "gradient")), strict=True)
        ends = [np.linspace(low, high, BINS + 1) for low, high in zip(lows, highs, strict=True)]
        extent = (ends[0][left], ends[0][right], ends[1][bottom], ends[1][top])
        columns = min(4, len(epochs))
        rows = -(-len(epochs) // columns)
        figure = blank(mpl, 210 * columns + 60, 210 * rows + 50)
        for i, (epoch, counts) in enumerate(epochs.items()):
            axes = figure.add_subplot(rows, columns, i + 1, facecolor="none")
            part = np.log10(np.maximum(counts[left:right, bottom:top], 0.5)).T
            masked = np.ma.masked_less(part, 0)
            axes.imshow(
                masked, origin="lower", extent=extent, aspect="auto", cmap=COLOURS, vmin=0, interpolation="none"
            )
            gini = values["epochs"][str(epoch)]["gini"]
            axes.set_title(f"epoch {epoch}, Gini {float(gini):.3f}", fontsize=11)
            axes.tick_params(labelcolor=MUTED, labelsize=10)
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
            if i % columns == 0:
                axes.set_ylabel("log₁₀ gradient norm")
            if i // columns == rows - 1:
                axes.set_xlabel("log₁₀ activation norm")
        figure.subplots_adjust(left=0.09, right=0.98, top=1 - 24 / (210 * rows + 50), bottom=50 / (210 * rows + 50))
        yield Drawn(figure, f"{label}: images and filters by the norms of a map and of its gradient", wide=True)


def occlusion(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the accuracy as patches are covered."""
    lines = []
    for number, run in enumerate(runs):
        points = {o.protocol["share"]: 100 - o.error for o in run.of_suite("occlusion").values()}
        if "clean" in run.outcomes:
            points.setdefault(0.0, 100 - run.outcomes["clean"].error)
        lines.append(Curve(run.label, sorted(points), [points[share] for share in sorted(points)], number, "o"))
    yield Drawn(
        curves(mpl, lines, "image covered by random patches, %", "accuracy, %"), "Accuracy under random patch drop"
    )


def frequency(mpl: Any, runs: Runs) -> Iterator[Drawn]:
    """Draw the Fourier heat map of errors."""
    for run in runs:
        outcomes = run.of_suite("frequency")
        first = next(iter(outcomes.values())).protocol
        alike = {c: o for c, o in outcomes.items() if o.protocol | {"ring": 0} == first | {"ring": 0}}
        errors = heat_map(alike)
        radius = len(errors) // 2
        figure, axes = canvas(mpl, 340)
        span = (-radius - 0.5, radius + 0.5) * 2
        picture = axes.imshow(errors, extent=span, origin="lower", cmap=COLOURS, vmin=0, vmax=100, interpolation="none")
        axes.set(xlabel="periods from left to right", ylabel="periods from top to bottom")
        axes.tick_params(labelcolor=MUTED)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(7, integer=True))
        fit(axes, LEFT, FOOT, 70)
        bar = figure.colorbar(picture, cax=figure.add_axes((0.87, 0.16, 0.03, 0.78)))
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelcolor=MUTED)
        yield Drawn(figure, f"{run.label}: error in percent under a plane wave of each frequency")


def has(*suites: str) -> Callable[[ReportedRun], bool]:
    """Return whether a run has an outcome of one of ``suites``."""
    return lambda run: any(run.of_suite(suite) for suite in suites)
