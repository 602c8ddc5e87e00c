"""Draw a table as SVG for a page: intervals, and error against cost. matplotlib draws in colours that stand for the
page's own, so that they follow its theme; the same table gives the same bytes."""

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup, escape

from ..errors import UsageError
from . import statistics
from .table import Row, Table, best_tier
from .wording import column_header

WIDTH, ROW, MARGIN, FOOT = 420, 19, 10, 44
"""Pixels: of a plot, of one of its rows, around the axes, and below them for ticks and their label."""

INK, MUTED, LINE, BEST, BASE = "#010101", "#020202", "#030303", "#040404", "#050505"

THEME = {INK: "ink", MUTED: "muted", LINE: "line", BEST: "best", BASE: "base"}
"""What is drawn in → the variable of the page's style sheet that it becomes."""

LONGEST = 22
"""Letters of a label that are shown."""

SVG = Markup(
    '<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-title">'
    '<title id="{name}-title">{title}</title>{body}'
)
"""Escapes what is put into it."""

GAP = 8
"""Pixels between what is drawn and a label."""


@contextmanager
def drawing() -> Iterator[Any]:
    """Yield matplotlib with the settings of every plot, whatever its user has set.

    Raises :class:`UsageError` without matplotlib.
    """
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError:
        raise UsageError("the page's plots need matplotlib: pip install 'catchup-bench[html]'") from None
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that the measuring font lacks: the browser has it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "catchup-bench",
                "font.size": 12,
                "text.parse_math": False,
                "axes.edgecolor": LINE,
                "axes.labelcolor": MUTED,
                "text.color": INK,
                "xtick.color": LINE,
                "ytick.color": LINE,
                "xtick.labelcolor": MUTED,
                "ytick.labelcolor": INK,
                "grid.color": LINE,
                "grid.linewidth": 0.6,
                "axes.axisbelow": True,
            }
        )
        yield matplotlib


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


def short(label: str) -> str:
    """Return ``label``, cut to :data:`LONGEST` letters."""
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def canvas(matplotlib: Any, height: float) -> tuple[Any, Any]:
    """Return a figure of :data:`WIDTH` by ``height`` px, at 72 dpi: its points are pixels."""
    figure = matplotlib.figure.Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def fit(axes: Any, left: float, foot: float, rest: float = MARGIN + 6) -> None:
    """Place the axes, with ``rest`` px on their right: at least half of the last tick's label."""
    width, height = (72 * inches for inches in axes.figure.get_size_inches())
    right = width - rest
    axes.set_position((left / width, foot / height, (right - left) / width, (height - foot - MARGIN) / height))


def sizes(figure: Any, labels: Sequence[str]) -> list[tuple[float, float]]:
    """Return width and height in px of each label, in the font that ships with matplotlib, which is a wide one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    extents = [figure.text(0, 0, label).get_window_extent(renderer) for label in labels]
    for text in list(figure.texts):
        text.remove()
    return [(extent.width, extent.height) for extent in extents]


def label_points(axes: Any, labels: list[str], points: list[tuple[float, float]], height: float) -> None:
    """Write the labels in a column on the right of the axes, each ``height`` px high and with a line to its point."""
    order = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0], labels[i]))
    dots = axes.transData.transform([points[i] for i in order])
    frame, back = axes.get_window_extent(), axes.transData.inverted()
    for i, dot, y in zip(order, dots, column(dots[:, 1], height, frame.y0, frame.y1), strict=True):
        ends = back.transform([dot, (frame.x1 + 2 * GAP, y), (frame.x1 + 3 * GAP, y)])
        axes.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.6, zorder=1, clip_on=False)
        at = back.transform((frame.x1 + 3.5 * GAP, y))
        axes.text(at[0], at[1], labels[i], va="center_baseline")


def column(wanted: Sequence[float], height: float, low: float, high: float) -> list[float]:
    """Return the middles of boxes ``height`` high, one above the other between ``low`` and ``high``, as near as can be
    to the ``wanted`` ones, which rise."""
    from scipy.optimize import isotonic_regression

    steps = [k * height for k in range(len(wanted))]
    free = isotonic_regression([y - step for y, step in zip(wanted, steps, strict=True)]).x
    least, most = low + height / 2, high - height / 2 - steps[-1]
    return [min(max(float(y), least), most) + step for y, step in zip(free, steps, strict=True)]


def svg(figure: Any, name: str, title: str) -> Markup:
    """Return the figure as an element of a page: ids of its own, a title for those who do not see it, the page's
    colours and fonts, nothing that names another address."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = out.getvalue()
    body = body[body.index(">", body.index("<svg")) + 1 :]
    for unwanted in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        body = re.sub(unwanted, "", body, flags=re.DOTALL)
    own = escape(name)
    for reference, kept in ((r'\bid="', 'id="'), (r'xlink:href="#', 'href="#'), (r"url\(#", "url(#")):
        body = re.sub(reference, f"{kept}{own}-".replace("\\", r"\\"), body)
    body = re.sub(r"(fill|stroke): (#(?:0[1-5]){3})\b", lambda m: f"{m[1]}: var(--{THEME[m[2]]})", body)
    body = re.sub(r"font(-\w+)?: [^;\"]*;? ?", "", body)
    height = round(figure.get_figheight() * 72)
    return SVG.format(width=WIDTH, height=height, name=name, title=title, body=Markup(body.strip()))
