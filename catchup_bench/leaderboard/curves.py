"""Draw curves of several methods or runs in one plot, and those that the records of a board hold."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from .. import recipes
from . import statistics
from .svg import FOOT, MARGIN, MUTED, canvas, drawing, fit, label_points, short, sizes, style, svg
from .table import Table

LEFT, HEIGHT, LEAST = 58, 270, 13
"""Pixels on the left of curves' axes, of a plot of curves, and of a label at the least."""


class Curve(NamedTuple):
    """A line of a plot: its label, points, and number in the order of colours."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    number: int
    marker: str = ""
    faint: Sequence[float] | None = None
    """The values that ``y`` smooths, drawn behind it."""


def curves(mpl: Any, lines: Sequence[Curve], x: str, y: str, prepare: Callable[[Any], object] | None = None) -> Any:
    """Return a plot of ``lines`` over the axes ``x`` and ``y``, which ``prepare`` may scale; labels stand on the right
    of several."""
    height = max(HEIGHT, FOOT + MARGIN + LEAST * len(lines))
    figure, axes = canvas(mpl, height)
    axes.set(xlabel=x, ylabel=y)
    axes.tick_params(labelcolor=MUTED)
    axes.grid()
    axes.xaxis.get_major_locator().set_params(integer=x == "epoch", nbins=7)
    for line in lines:
        if line.faint is not None:
            axes.plot(line.x, line.faint, color=style(line.number)["color"], linewidth=0.8, alpha=0.35)
        axes.plot(line.x, line.y, marker=line.marker, markersize=4, linewidth=1.6, **style(line.number))
    if prepare is not None:
        prepare(axes)
    if len(lines) < 2:
        fit(axes, LEFT, FOOT)
        return figure
    labels = [short(line.label) for line in lines]
    extents = sizes(figure, labels)
    fit(axes, LEFT, FOOT, max(width for width, _ in extents) + 32)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    ends = [(float(line.x[-1]), float(line.y[-1])) for line in lines]
    label_points(axes, labels, ends, min(max(height for _, height in extents), (height - FOOT - MARGIN) / len(lines)))
    return figure


def logarithmic(axes: Any) -> None:
    """Scale the ordinate of ``axes`` by logarithms."""
    axes.set_yscale("log")
    plain_ticks(axes.yaxis, axes.get_ylim())


def plain_ticks(axis: Any, limits: tuple[float, float]) -> None:
    """Put plain numbers at the ticks of a logarithmic ``axis``: 1, 2 and 5 of each power of ten, where there are few
    powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = limits
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


class Plot(NamedTuple):
    """An image for a page, and its caption."""

    image: Markup
    caption: str


def of_board(t: Table, prefix: str) -> Iterator[Plot]:
    """Draw what a board's records hold as curves, all methods in one plot: the schedule, then means over seeds."""
    yield from of_schedule(t, prefix)
    for number, (kind, by_label) in enumerate(t.curves.items()):
        lines = []
        for i, row in enumerate(t.rows):
            if row.label in by_label:
                x, y = by_label[row.label]
                lines.append(Curve(row.label, x, y, i))
        with drawing() as mpl:
            if kind.share is None:
                positive = [value for line in lines for value in line.y if value > 0]
                floor = min(positive, default=1.0)
                raised = [line._replace(y=[max(value, floor) for value in line.y]) for line in lines]
                figure = curves(mpl, raised, "epoch", "clean error, %", logarithmic)
                caption = f"Clean error during training{kind.where}, mean over seeds"
            else:
                figure = curves(mpl, lines, f"features set to 0, {kind.share} first, %", "accuracy, %")
                caption = f"Accuracy without the features of {kind.share}{kind.where}, mean over seeds"
            yield Plot(svg(figure, f"{prefix}-curves-{number}", f"{t.board.title}: {caption}"), caption)


def of_schedule(t: Table, prefix: str) -> Iterator[Plot]:
    """Draw the columns of a board's schedule against the epochs, and against what they cost: epochs times the relative
    time of a step. Bars are 95 % t intervals over seeds."""
    columns = [t.board.column(name) for name in t.board.schedule]
    if not columns:
        return
    setups = {setup.name: setup for setup in t.board.setups}
    lengths = [setups[column.setup or t.board.setups[0].name] for column in columns]
    own = {entry.row: entry.overrides for entry in t.board.methods}
    epochs = {
        row.label: [recipes.load(s.recipe, {**s.overrides, **own.get(row.label, {})}).epochs for s in lengths]
        for row in t.rows
    }
    per_epoch = {
        "epochs": {row.label: 1.0 for row in t.rows},
        "cost of training, in epochs of the baseline": {row.label: row.cost for row in t.rows if row.cost},
    }
    for number, (words, cost) in enumerate(per_epoch.items()):
        points = {
            (i, row.label): [
                (e * cost[row.label], row.values[column.name])
                for e, column in zip(epochs[row.label], columns, strict=True)
                if column.name in row.values and row.label in cost
            ]
            for i, row in enumerate(t.rows)
        }
        lines = [
            Curve(label, [x for x, _ in of_row], [float(value.mean) for _, value in of_row], i, marker="o")
            for (i, label), of_row in points.items()
            if of_row
        ]
        if len(lines) < 2:
            continue
        spans = [(i, x, statistics.interval(value)) for (i, _), of_row in points.items() for x, value in of_row]
        bars = [(i, x, [float(end) for end in span]) for i, x, span in spans if span is not None]

        def prepare(axes: Any, bars: list[tuple[int, float, list[float]]] = bars) -> None:
            for i, x, ends in bars:
                axes.plot([x, x], ends, color=style(i)["color"], linewidth=1, alpha=0.6)
            axes.set_xscale("log")
            plain_ticks(axes.xaxis, axes.get_xlim())

        with drawing() as mpl:
            figure = curves(mpl, lines, words, f"{columns[0].metric}, %", prepare)
            caption = f"{columns[0].metric.capitalize()} by {words}, with its 95 % t interval over seeds"
            yield Plot(svg(figure, f"{prefix}-schedule-{number}", f"{t.board.title}: {caption}"), caption)
