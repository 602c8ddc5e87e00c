"""The page of the leaderboards: whole, closed to untrusted markup, and the same for the same records."""

import dataclasses
import json
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from html import escape
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import matplotlib
import pytest
from typer.testing import CliRunner

from catchup_bench import boards
from catchup_bench.cli import app
from catchup_bench.errors import UsageError
from catchup_bench.leaderboard import plots, svg
from catchup_bench.leaderboard.html_page import html_page, write_html
from catchup_bench.leaderboard.markdown import board_page
from catchup_bench.leaderboard.pages import write_pages
from catchup_bench.leaderboard.table import Table
from tests.boards.test_board import TOML, made_up, make
from tests.support.made_up import write_records

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PRINTED = TOML.replace('about = "mean of the others"', 'about = "mean of the others"\npaper = "T1.mce"')

HOSTILE = """</title><script>alert(1)</script><img src=x onerror=y> "' & $x^$ --> ]]>"""

VOID = {"meta", "br"}


class Parsed(HTMLParser):
    """Tags must match; collects what is asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, name: str) -> list[str]:
        return [value for n, value in self.attributes if n == name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = made_up(tmp_path, PRINTED)
    costs = {"methods": {"baseline": {"ratio": 1.0}, "catchup": {"ratio": 1.25}, "catchup-no-input": {"ratio": 3}}}
    (root / "leaderboards/results/tiny/preactresnet10-w4/cost.json").write_text(json.dumps(costs))
    return root


def hostile(root: Path) -> dict[str, Table]:
    made = make(root)
    columns = tuple(c.model_copy(update={"name": f"{c.name} {HOSTILE}", "about": HOSTILE}) for c in made.board.columns)
    words = dict.fromkeys(("title", "question", "differs"), HOSTILE)
    board = made.board.model_copy(update={**words, "columns": columns, "rank": columns[-1].name})
    rows = [dataclasses.replace(r, values={f"{k} {HOSTILE}": v for k, v in r.values.items()}) for r in made.rows]
    rankings = {f"{name} {HOSTILE}": ranking for name, ranking in made.rankings.items()}
    return {"tiny": Table(board, rows, rankings, {"device": [HOSTILE]})}


def test_the_same_records_give_the_same_bytes(root: Path) -> None:
    page = html_page({"tiny": make(root)})
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        assert html_page({"tiny": make(root)}) == page


def test_every_number_of_the_markdown_page_is_there(root: Path) -> None:
    made = make(root)
    number = re.compile(r"\d+(?:\.\d+)?")
    wanted = Counter(number.findall(board_page("tiny", made)))
    assert wanted.total() > 40 and "43.76" in wanted, "the paper's too"
    assert wanted <= Counter(number.findall("\n".join(Parsed(html_page({"tiny": made})).text)))


def test_the_page_is_well_formed(root: Path) -> None:
    made = make(root)
    parsed = Parsed(html_page({"tiny": made, "other-quick": made}))
    ids = parsed.all("id")
    assert len(set(ids)) == len(ids) and parsed.tags["svg"] == 4 and parsed.tags["section"] == 2
    inner = {v[1:] for v in parsed.all("href") if len(v) > 1 and v[0] == "#"} | set(parsed.all("aria-labelledby"))
    inner |= set(re.findall(r"url\(#(.*?)\)", " ".join(parsed.all("clip-path"))))
    assert inner <= set(ids) and len(inner) > 8
    assert parsed.tags["button"] == 0, "headers are buttons only where a script can make them work"


def test_nothing_is_loaded_from_elsewhere(root: Path) -> None:
    page = html_page({"tiny": make(root)})
    parsed = Parsed(page)
    assert parsed.all("src") == [] and parsed.tags["link"] == 0
    assert "://" not in page and "@import" not in page and not re.search(r"url\((?!#)", page)
    assert parsed.all("content")[0].startswith("default-src 'none'")


def test_colours_and_fonts_are_the_pages_own(root: Path) -> None:
    drawn = "".join(f(make(root), "x") for f in (plots.intervals, plots.against_cost))
    assert "var(--base)" in drawn and "var(--best)" in drawn and "DejaVu" not in drawn
    assert not re.search(r"#0[1-5]0[1-5]0[1-5]", drawn) and "metadata" not in drawn


def test_untrusted_words_stay_words(root: Path) -> None:
    plain, parsed = Parsed(html_page({"tiny": make(root)})), Parsed(html_page(hostile(root)))
    assert parsed.tags["script"] == 1 and parsed.tags["img"] == 0
    assert parsed.tags - plain.tags <= Counter(["p", "strong", "dt", "dd"] * 10), "only what the words belong to"
    assert "".join(parsed.text).count(HOSTILE) > 8
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]


def test_links_lead_to_the_records_from_wherever_the_page_is(tmp_path: Path) -> None:
    demo = boards.load("demo")
    write_records(tmp_path, demo)
    write_pages(tmp_path, demo)
    records = len(demo.methods) * len(demo.seeds)
    for out in (None, tmp_path / "elsewhere" / "deep" / "page.html"):
        written = write_html(tmp_path, out)
        links = [unquote(v) for v in Parsed(written.read_text(encoding="utf-8")).all("href") if not v.startswith("#")]
        assert len(links) == records + 2 and all((written.parent / link).exists() for link in links)


def test_a_board_without_runs_or_costs_has_a_page(root: Path) -> None:
    for path in root.rglob("*.json"):
        if path.name == "cost.json" or "seed1" in path.name or "catchup" in path.parent.name:
            path.unlink()
    one = make(root)
    assert Parsed(html_page({"tiny": one})).tags["svg"] == 1, "one method of one seed: no interval, no costs"
    next(root.rglob("seed0.json")).unlink()
    parsed = Parsed(html_page({"tiny": make(root)}))
    assert parsed.tags["svg"] == 0 and "".join(parsed.text).count("not run") == 3


def test_without_matplotlib_the_command_to_get_it_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(root)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'catchup-bench\[html\]'"):
        html_page({"tiny": made})


def test_the_command_says_that_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "leaderboards").mkdir()
    done = CliRunner().invoke(app, ["leaderboard", "html", "--root", str(tmp_path)])
    assert done.exit_code == 3 and "no records" in done.output
    assert list(tmp_path.rglob("*.html")) == []


def test_the_command_says_where_the_page_is(tmp_path: Path) -> None:
    write_records(tmp_path, boards.load("demo"))
    done = CliRunner().invoke(app, ["leaderboard", "html", "--root", str(tmp_path), "--json"])
    page = tmp_path / "leaderboards" / "index.html"
    assert json.loads(done.stdout) == {"written": [str(page)]}
    assert "Demo" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("slowest", [1.2, 1.9, 3.0, 14.0])
def test_labels_stand_in_the_figure_with_lines_to_their_points(
    root: Path, monkeypatch: pytest.MonkeyPatch, slowest: float
) -> None:
    """In the plot as it is drawn, whose limits matplotlib would otherwise choose after the labels were placed."""
    costs = {"baseline": 1.0, "catchup": 1.1, "catchup-no-input": slowest}
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "svg", lambda figure, *_: drawn.append(figure) or "")
    made = make(root)
    rows = [dataclasses.replace(row, cost=costs[row.label]) for row in made.rows]
    plots.against_cost(dataclasses.replace(made, rows=rows), "x")
    figure = drawn[0]
    figure.canvas.draw()
    axes = figure.axes[0]
    dots = {row.label: (row.cost, float(row.values[made.board.rank].mean)) for row in rows}
    assert {text.get_text() for text in axes.texts} == set(dots)
    leaders = {tuple(line.get_xydata()[0]): line.get_xydata()[-1] for line in axes.lines if len(line.get_xydata()) == 3}
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    for text, box in zip(axes.texts, boxes, strict=True):
        point = dots[text.get_text()]
        end = next(end for start, end in leaders.items() if start == pytest.approx(point))
        assert end[1] == pytest.approx(text.get_position()[1])
        assert axes.get_window_extent().contains(*axes.transData.transform(point)), "and nothing is drawn from 0"
        assert axes.bbox.x1 < box.x0 < box.x1 <= figure.bbox.x1 and 0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert axes.get_xlim()[0] > 0.8


@pytest.mark.parametrize("seed", range(8))
def test_a_column_is_free_of_itself_in_its_frame_and_near_to_what_is_wanted(seed: int) -> None:
    rng = random.Random(seed)
    wanted = sorted(400 * rng.random() for _ in range(16))
    middles = svg.column(wanted, 14, 0, 400)
    assert all(low + 14 <= high + 1e-9 for low, high in pairwise(middles))
    assert middles[0] >= 7 and middles[-1] <= 393
    assert svg.column([30, 50, 70, 90], 14, 0, 400) == [30, 50, 70, 90]
    assert svg.column([50, 50, 50], 14, 0, 400) == [36, 50, 64]


def in_browser(page: str, folder: Path, width: int, script: str) -> object:
    """What ``script`` returns of ``page``, its window, when that is ``width`` px wide: a frame, as a window of its own
    has a least width. Its policy would keep the frame's script out."""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page)
    run = f"document.body.textContent = JSON.stringify(((page) => {{ {script} }})(frames[0]))"
    frame = f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{escape(free)}"></iframe>'
    (folder / "page.html").write_text(
        f'<meta charset="utf-8">{frame}<script>onload = () => {{ {run} }}</script>', encoding="utf-8"
    )
    text, errors = browse(folder / "page.html")
    assert "CONSOLE" not in errors
    return json.loads("".join(Parsed(text).text[-1:]))


def browse(path: Path) -> tuple[str, str]:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1400,900"]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={path.parent / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    return done.stdout, done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_headers_sort_in_a_browser(root: Path, tmp_path: Path) -> None:
    page = html_page({"tiny": make(root)})
    (tmp_path / "whole.html").write_text(page, encoding="utf-8")
    text, errors = browse(tmp_path / "whole.html")
    assert "CONSOLE" not in errors and text.count("<button") == 10, "its own policy lets its script run"
    script = """
      const rows = () => Array.from(page.document.querySelectorAll("table.sortable tbody th"), (h) => h.textContent);
      const head = page.document.querySelectorAll("table.sortable thead th")[4];
      const found = [rows()];
      for (let i = 0; i < 2; i++) {
        head.querySelector("button").click();
        found.push([head.getAttribute("aria-sort"), ...rows()]);
      }
      return [...found, page.document.querySelectorAll("[aria-sort]").length];
    """
    published, once, twice, marked = in_browser(page, tmp_path, 1280, script)  # type: ignore[misc]
    assert published == ["catchup", "catchup-no-input", "baseline"] and marked == 1
    assert once == ["ascending", *published] and twice == ["descending", *published[::-1]]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(width: int, root: Path, tmp_path: Path) -> None:
    tables = {"tiny": make(root), **{f"h{k}": v for k, v in hostile(root).items()}}
    script = "return [page.innerWidth, page.document.documentElement.scrollWidth]"
    inner, scrolled = in_browser(html_page(tables), tmp_path, width, script)  # type: ignore[misc]
    assert inner == width and scrolled <= width
