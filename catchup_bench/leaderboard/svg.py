"""Draw for a page: matplotlib as SVG in colours that stand for the page's own, so that they follow its theme; the same
input gives the same bytes."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup, escape

from ..errors import UsageError

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


SERIES = ("#2f7ed8", "#d9622b", "#2a9d6f", "#b8559a", "#9a7d0a", "#7467c9", "#c23b3b", "#6f7b87")
"""Colours of several curves in one plot, each with a contrast of 3 or more to the page, light or dark."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
"""With :data:`SERIES` they tell 32 curves apart."""


def style(i: int) -> dict[str, Any]:
    """Return colour and dashes of curve ``i``."""
    return {"color": SERIES[i % len(SERIES)], "linestyle": DASHES[i // len(SERIES) % len(DASHES)]}


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


def short(label: str) -> str:
    """Return ``label``, cut to :data:`LONGEST` letters."""
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def blank(matplotlib: Any, width: float, height: float) -> Any:
    """Return an empty figure of ``width`` by ``height`` px."""
    return matplotlib.figure.Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")


def canvas(matplotlib: Any, height: float) -> tuple[Any, Any]:
    """Return a figure of :data:`WIDTH` by ``height`` px with axes in it, at 72 dpi: its points are pixels."""
    figure = blank(matplotlib, WIDTH, height)
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
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    return SVG.format(width=width, height=height, name=name, title=title, body=Markup(body.strip()))
