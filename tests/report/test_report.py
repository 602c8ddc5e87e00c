"""The page of runs: whole, closed to untrusted text, and plain about what is missing."""

import json
import re
import shlex
import shutil
import sys
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catchup_bench import corruptions
from catchup_bench.leaderboard.svg import drawing
from catchup_bench.plugins import parse_settings
from catchup_bench.records.outcomes import collect_record
from catchup_bench.records.record import Outcome, Record, write_record
from catchup_bench.report import pictures, stored
from catchup_bench.report.page import Section, default_file, numbers, parts, report_page, section
from catchup_bench.report.runs import read_reported
from catchup_bench.runs.folder import read_run
from catchup_bench.runs.make import make_run, train_command
from catchup_bench.suites import make_suites, suite_class

from ..conftest import Cli
from ..leaderboard.test_html_page import HOSTILE, Parsed

SUITES = ["clean", "calibration", "reliance", "occlusion", "frequency", "landscape"]
MADE_UP = {"corruption": {"source": "generated"}, "fgsm": {"eps": (1.0, 4.0)}}
SMALL = [
    "landscape.points=5",
    "landscape.probes=2",
    "landscape.images=20",
    "frequency.radius=1",
    "occlusion.share=20,80",
]


@pytest.fixture(scope="module")
def run(only_trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own of the run, evaluated by most suites; corruptions and FGSM are made up."""
    from typer.testing import CliRunner

    from catchup_bench.cli import app

    folder = tmp_path_factory.mktemp("report") / "runs" / only_trained_run.name
    shutil.copytree(only_trained_run, folder)
    words = [word for suite in SUITES for word in ("--suite", suite)]
    words += [word for setting in SMALL for word in ("--set", setting)]
    assert CliRunner().invoke(app, ["evaluate", str(folder), *words]).exit_code == 0
    clean = json.loads((folder / "outcomes" / "clean.json").read_text())
    rng = np.random.default_rng(0)
    for name, suite in make_suites(MADE_UP, MADE_UP).items():
        for condition in suite.conditions():
            outcome = Outcome.of(rng.random(50) > 0.3, name, suite.protocol(condition))
            content = clean | {"outcome": outcome.model_dump(mode="json")}
            (folder / "outcomes" / f"{condition}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def written(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the run, as the command writes it; the raw maps lie beside it."""
    from typer.testing import CliRunner

    from catchup_bench.cli import app

    path = tmp_path_factory.mktemp("page") / "page.html"
    result = CliRunner().invoke(app, ["report", str(run), "--out", str(path), "--json"])
    assert json.loads(result.stdout) == {"written": [str(path), str(path.with_suffix(".npz"))]}
    return path


def page_of(*names: object, runs: Path = Path("runs")) -> str:
    return report_page(read_reported(map(str, names), runs), pictures.Workshop(None))


def part_of(part: str, *names: object, runs: Path = Path("runs")) -> Section:
    """One section of a page."""
    with drawing() as mpl:
        return section(mpl, part, parts(pictures.Workshop(None))[part], read_reported(map(str, names), runs))


def lines(made: Section) -> str:
    return "\n".join(f"{what}; {command}" for what, command in made.missing)


def sections(page: str) -> dict[str, str]:
    return dict(re.findall(r'<section id="(\w+)".*?>(.*?)</section>', page, re.DOTALL))


def hostile_record(run: Path, path: Path, **changes: Any) -> Record:
    """Write the run's record to ``path`` with a name that would be markup in every field that takes one."""
    whole = collect_record(run)
    assert whole.run is not None
    named = whole.run.model_copy(update={"dataset": whole.run.dataset.model_copy(update={"name": HOSTILE})})
    training = whole.training | {"device": HOSTILE}
    record = whole.model_copy(update={"run": named, "digest": named.digest, "training": training, **changes})
    write_record(record, path)
    return record


def test_the_page_is_whole_and_needs_nothing_else(written: Path) -> None:
    page = written.read_text(encoding="utf-8")
    parsed = Parsed(page)
    targets = [v for name, v in parsed.attributes if name in ("href", "src", "xlink:href", "action")]
    assert targets and all(v.startswith(("#", "data:image/png")) for v in targets)
    assert not re.search(r"url\((?!#)", page) and "@import" not in page and parsed.tags["script"] == 0
    ids = [v for name, v in parsed.attributes if name == "id"]
    assert len(set(ids)) == len(ids) and {v[1:] for v in targets if v.startswith("#") and len(v) > 1} <= set(ids)
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page and "var(--ink)" in page
    assert "$" not in page.replace("$schema", "")
    counts = {name: text.count('<svg class="plot"') for name, text in sections(page).items()}
    assert counts["training"] == 3 and counts["corruptions"] == 1 and counts["landscape"] == 4, counts
    for name in ("attacks", "calibration", "reliance", "occlusion", "frequency", "filters", "cam", "wrong", "mixing"):
        assert counts[name] >= 1, name
    assert "dcterms" not in page


def test_the_same_run_gives_the_same_page(run: Path, written: Path) -> None:
    assert page_of(run) == written.read_text(encoding="utf-8")


def test_a_page_lies_in_the_folder_of_its_run_or_beside_its_record(run: Path, tmp_path: Path) -> None:
    record = tmp_path / "seed0.json"
    write_record(collect_record(run), record)
    one, two = (read_reported([str(name)], tmp_path) for name in (run, record))
    assert default_file(str(run), one) == run / "report.html"
    assert default_file(str(record), two) == tmp_path / "seed0.html"
    assert default_file(str(run), [*one, *two]) == Path("report.html")


def test_what_is_missing_names_the_command_that_makes_it(run: Path, trained_run: Path, written: Path) -> None:
    text = unescape(sections(written.read_text(encoding="utf-8"))["dynamics"])
    commands = re.search(r"<code>(.*?)</code>", text).group(1).split(" && ")  # type: ignore[union-attr]
    assert commands[0] == f"rm -r {run}" and commands[2] == f"catchup-bench evaluate {run} --suite dynamics"
    words = shlex.split(commands[1])
    given = {a: b for a, b in zip(words[2::2], words[3::2], strict=True) if a != "--set"}
    sets = [b for a, b in zip(words[2::2], words[3::2], strict=True) if a == "--set"]
    again = make_run(
        given["--method"],
        given["--dataset"],
        model=given["--model"],
        width=int(given["--width"]),
        variant=given["--variant"],
        fraction=float(given["--fraction"]),
        seed=int(given["--seed"]),
        settings=parse_settings(sets),
    )
    assert again.digest == read_run(run).digest and again.recipe.snapshots == (0.2, 0.4, 0.6, 0.8)
    for name, suite in (("corruptions", "corruption"), ("reliance", "reliance"), ("landscape", "landscape")):
        bare = part_of(name, trained_run)
        assert bare.missing == [("catchup s0: not there", f"catchup-bench evaluate {trained_run} --suite {suite}")]
        assert not bare.figures
    assert numbers(read_reported([str(trained_run)], Path())) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"catchup": {"layers": (0, 3), "input_mix": "none"}},
        {"recipe": {"milestones": (0.1, 0.7), "schedule": "step", "nesterov": False}},
        {},
    ],
)
def test_the_command_of_a_run_gives_the_run(settings: dict[str, dict[str, Any]]) -> None:
    run = make_run("catchup", width=8, fraction=0.5, seed=3, settings=settings)
    words = shlex.split(train_command(run))
    sets = [b for a, b in zip(words[2::2], words[3::2], strict=True) if a == "--set"]
    again = make_run("catchup", width=8, fraction=0.5, seed=3, settings=parse_settings(sets))
    assert again == run


def test_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "runs" / "other"
    shutil.copytree(run, other)
    stated = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(stated | {"seed": 5}))
    both = read_reported([str(run), str(other)], Path())
    assert [r.label for r in both] == ["catchup s0", "catchup s5"]
    assert all(len(texts) == 2 for _, texts in numbers(both))
    assert len(part_of("corruptions", run, other).figures) == 2, "a heat map each"
    for part in ("calibration", "cam"):
        (figure,) = part_of(part, run, other).figures
        assert figure.image.count("catchup s5") == 1, "one plot of both"
    (figure,) = part_of("wrong", run, other).figures
    assert "every run gets wrong" in figure.caption


def test_a_hostile_name_is_text(run: Path, tmp_path: Path) -> None:
    hostile_record(run, tmp_path / "record.json")
    page = page_of(tmp_path / "record.json")
    parsed = Parsed(page)
    assert parsed.tags["script"] == parsed.tags["img"] == 0
    assert HOSTILE in "".join(parsed.text) and escape(HOSTILE, quote=False)[:20] in page
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    held = sections(page)
    assert "unknown dataset" in held["wrong"] and "not there" in held["filters"]
    assert held["reliance"].count("<svg") >= 2, "what the record holds is drawn"


@pytest.mark.parametrize(
    ("suite", "key", "value", "part"),
    [
        ("reliance", "right", {"top": [1], "bottom": [2]}, "reliance"),
        ("landscape", "grid", "AAAA", "landscape"),
        ("landscape", "extent", HOSTILE, "landscape"),
        ("calibration", "points", [{"n": HOSTILE}], "calibration"),
        ("frequency", "wrong", {}, "frequency"),
        ("frequency", "waves", [[99, 99]], "frequency"),
    ],
)
def test_damaged_values_are_said_and_the_rest_is_drawn(
    run: Path, tmp_path: Path, suite: str, key: str, value: Any, part: str
) -> None:
    whole = collect_record(run)
    outcomes = {
        c: o.model_copy(update={"values": o.values | {key: value}}) if o.suite == suite else o
        for c, o in whole.outcomes.items()
    }
    hostile_record(run, tmp_path / "record.json", outcomes=outcomes)
    made = part_of(part, tmp_path / "record.json")
    assert re.search(r"left out|cannot be drawn", lines(made)) and "\n" not in lines(made)
    assert part_of("occlusion", tmp_path / "record.json").figures and numbers(
        read_reported([str(tmp_path / "record.json")], tmp_path)
    )


def test_a_record_is_read_with_its_run_where_that_is_there(run: Path, tmp_path: Path) -> None:
    record = collect_record(run)
    write_record(record, tmp_path / "seed0.json")
    alone, whole = (part_of("mixing", tmp_path / "seed0.json", runs=r) for r in (tmp_path, run.parent))
    assert not alone.figures and "catchup-bench train --method catchup" in lines(alone)
    assert whole.figures and part_of("training", tmp_path / "seed0.json", runs=run.parent).figures


def test_the_heat_map_has_the_errors_of_one_protocol() -> None:
    rng = np.random.default_rng(0)
    bits = {(n, s): rng.random(40) > 0.5 for n in corruptions.NAMES for s in range(1, 6)}
    outcomes = {f"{n}-{s}": Outcome.of(b, "corruption", {"source": "generated"}) for (n, s), b in bits.items()}
    other = Outcome.of(np.ones(40, bool), "corruption", {"source": "official"})
    grid = stored.corruption_grid({"fog-1-official": other, **outcomes})
    assert np.allclose(grid, [[100 * (~bits[n, s]).mean() for s in range(1, 6)] for n in corruptions.NAMES])


def test_strong_and_weak_filters_are_those_of_most_and_least_norm(written: Path) -> None:
    with np.load(written.with_suffix(".npz"), allow_pickle=False) as arrays:
        maps, chosen = arrays["catchup s0_maps"], arrays["catchup s0_shown filters"]
        assert arrays["catchup s0_saliency"].shape[0] == len(maps) == pictures.SHOWN
    norms = np.linalg.norm(maps.reshape(*maps.shape[:2], -1), axis=2)
    for row, own in zip(chosen, norms, strict=True):
        taken = np.sort(own)
        np.testing.assert_allclose(np.sort(own[row[: pictures.FILTERS]]), taken[-pictures.FILTERS :], rtol=1e-6)
        np.testing.assert_allclose(np.sort(own[row[pictures.FILTERS :]]), taken[: pictures.FILTERS], rtol=1e-6)


def test_a_running_median_is_centred() -> None:
    assert stored.running_median([5, 1, 9, 2, 7]) == [5, 3.5, 5, 4.5, 7]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["nothing"], "nothing names no run in runs: give a folder with a run.json"),
        (["{run}", "{run}"], "is given twice"),
        (["{text}"], "is not a valid"),
    ],
)
def test_bad_input_is_one_line(run: Path, cli: Cli, tmp_path: Path, names: list[str], line: str) -> None:
    (tmp_path / "text.json").write_text("no record")
    words = [name.format(run=run, text=tmp_path / "text.json") for name in names]
    result = cli("report", *words, "--out", "page.html")
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert re.search(line, result.stderr) or "text.json" in result.stderr
    assert not (tmp_path / "page.html").exists()


def test_too_many_runs_and_damaged_metrics_are_one_line(run: Path, cli: Cli, tmp_path: Path) -> None:
    for i in range(13):
        shutil.copytree(run, tmp_path / f"r{i}", ignore=shutil.ignore_patterns("*.safetensors", "outcomes"))
    result = cli("report", *[f"r{i}" for i in range(13)])
    assert result.exit_code == 2 and "13 runs: a report shows at most 12 side by side" in result.stderr
    (tmp_path / "r0" / "metrics.jsonl").write_text('{"epoch": 1, "loss": "<b>"}\n')
    result = cli("report", "r0")
    assert result.exit_code == 2 and "metrics.jsonl is damaged (TypeError)" in result.stderr


def test_without_matplotlib_the_extra_is_named(run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    for words in (("report", run), ("show", "catchup")):
        result = cli(*words)
        assert result.exit_code == 2 and "pip install 'catchup-bench[html]'" in result.stderr


def test_a_network_without_a_linear_head_is_a_line_and_the_rest_is_drawn(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = pictures.trained_model(run, pictures.CPU).net
    forward = type(net).forward
    monkeypatch.setattr(type(net), "forward", lambda self, *a, **k: 2 * forward(self, *a, **k))
    made = part_of("cam", run)
    assert not made.figures and lines(made).startswith("the network does not end in a linear layer")
    assert part_of("filters", run).figures


def test_every_suite_has_a_place_on_the_page(run: Path, written: Path) -> None:
    """Their numbers are in the table, so no suite is left out of a report."""
    text = unescape(sections(written.read_text(encoding="utf-8"))["numbers"])
    for name in SUITES:
        suite = suite_class(name)
        outcomes = {c: o for c, o in collect_record(run).outcomes.items() if o.suite == name}
        made = suite(**suite.options_of([o.protocol for o in outcomes.values()]))
        for row in [*made.summary(), *made.figures(outcomes)]:
            assert row in text, (name, row)


def test_a_record_keeps_the_looks_of_its_training_and_not_too_many(run: Path, tmp_path: Path) -> None:
    looks = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [[m["epoch"], pytest.approx(m["loss"], 1e-4), pytest.approx(m["test_error"], 1e-4)]
             for m in looks if "test_error" in m]  # fmt: skip
    assert collect_record(run).training["curve"] == curve
    other = shutil.copytree(run, tmp_path / "other")
    lines = [json.dumps({"epoch": i, "loss": 1.0, "test_error": 2.0}) + "\n" for i in range(1, 251)]
    (other / "metrics.jsonl").write_text("".join(lines))
    kept = [epoch for epoch, *_ in collect_record(other).training["curve"]]
    assert kept == list(range(1, 251, 3)), "evenly, at most 100"
