"""Draw a table as SVG for a page: intervals, and error against cost."""

import math

from markupsafe import Markup

from . import statistics
from .svg import (
    BASE,
    BEST,
    FOOT,
    GAP,
    MARGIN,
    MUTED,
    ROW,
    canvas,
    drawing,
    fit,
    label_points,
    short,
    sizes,
    svg,
)
from .table import Row, Table, best_tier
from .wording import column_header


def intervals(t: Table, prefix: str) -> Markup:
    """Draw the ranking column of every method that has it, best first, with its 95 % t interval over seeds, and a
    dashed line at the baseline. Returns an empty string where there is nothing to draw."""
    rows = [row for row in t.rows if t.board.rank in row.values]
    if not rows:
        return Markup()
    with drawing() as matplotlib:
        figure, axes = canvas(matplotlib, len(rows) * ROW + FOOT + MARGIN)
        labels = [short(row.label) for row in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        for at, row in enumerate(rows):
            value, colour = row.values[t.board.rank], colour_of(t, row)
            mean = float(value.mean)
            if (span := statistics.interval(value)) is not None:
                axes.plot([float(end) for end in span], [at, at], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([mean], [at], marker_of(row), color=colour, markersize=6)
            if row.label == "baseline":
                axes.axvline(mean, color=BASE, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
        axes.grid(axis="x")
        axes.set_xlabel(f"{ranking_column(t)}, %")
        left = max(width for width, _ in sizes(figure, labels)) + 2 * MARGIN
        fit(axes, left, FOOT)
        return svg(figure, f"{prefix}-intervals", f"{t.board.title}: {t.board.rank} with its 95 % interval, best first")


def against_cost(t: Table, prefix: str) -> Markup:
    """Draw the ranking column against the relative time of a step. Returns an empty string where fewer than two methods
    have both."""
    rows = [r for r in t.rows if t.board.rank in r.values and r.cost and math.isfinite(r.cost) and r.cost > 0]
    if len(rows) < 2:
        return Markup()
    with drawing() as matplotlib:
        figure, axes = canvas(matplotlib, max(300, len(rows) * ROW + FOOT + MARGIN))
        costs, means = [float(r.cost or 0) for r in rows], [float(r.values[t.board.rank].mean) for r in rows]
        for row, x, y in zip(rows, costs, means, strict=True):
            axes.plot([x], [y], marker_of(row), color=colour_of(t, row), markersize=7)
        if max(costs) > 2 * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"×{x:g}"))
        axes.margins(0.08)
        axes.grid()
        axes.set_xlabel("time of a training step, relative to the baseline's")
        axes.set_ylabel(f"{ranking_column(t)}, %")
        labels = [short(r.label) for r in rows]
        extents = sizes(figure, labels)
        fit(axes, FOOT + MARGIN, FOOT, max(width for width, _ in extents) + 4 * GAP)
        # matplotlib scales late, and again for every line: labels need the limits as they will be
        axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
        label_points(axes, labels, list(zip(costs, means, strict=True)), max(height for _, height in extents))
        return svg(figure, f"{prefix}-cost", f"{t.board.title}: {t.board.rank} against the cost of training")


def ranking_column(t: Table) -> str:
    """Return the header of the ranking column."""
    return column_header(t.board.column(t.board.rank))


def colour_of(t: Table, row: Row) -> str:
    """Return the colour of a method: the baseline's, the first tier's, or that of the others."""
    if row.label == "baseline":
        return BASE
    return BEST if row in best_tier(t) else MUTED


def marker_of(row: Row) -> str:
    """Return the marker of a method: another shape, as colour alone says nothing to some readers."""
    return "D" if row.label == "baseline" else "o"
