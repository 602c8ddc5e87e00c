"""Write the page of runs: one file that needs nothing else, from what is stored; records and labels are untrusted, so
the template escapes every string and the page's own policy lets nothing run or load."""

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from .. import corruptions
from ..errors import BenchError
from ..leaderboard.html_page import asset as style_sheet
from ..leaderboard.svg import drawing, svg
from ..records.results_folder import report_file
from ..runs.run import Run
from ..suites import GROUPS, suite_class, suite_names
from ..system.files import write_bytes, write_text
from . import pictures, stored
from .runs import ReportedRun
from .stored import Drawn
from .summary import summarise

DAMAGED = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, StopIteration, zlib.error)
"""What drawing values raises that are not of the kind that its suite stores."""

FIRST = [*GROUPS["robustness"], "pgd", "autoattack"]
"""Suites whose numbers come first."""

SNAPSHOTS = "recipe.snapshots=[0.2, 0.4, 0.6, 0.8]"


class Figure(NamedTuple):
    """An image of the page, empty where there is but a caption to say."""

    image: Markup
    caption: str
    wide: bool


@dataclass
class Section:
    """A heading, what is drawn below it, and what is missing: a line and the command that makes it, for each run."""

    name: str
    title: str
    about: str
    figures: list[Figure] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)


class Part(NamedTuple):
    """A section before it is drawn. ``needs`` says whether a run has what it shows, ``command`` what makes it,
    ``draw`` draws those runs that have it."""

    title: str
    about: str
    needs: Callable[[ReportedRun], bool]
    command: Callable[[ReportedRun], str]
    draw: Callable[[Any, Sequence[ReportedRun]], Iterator[Drawn]]


def parts(shop: pictures.Workshop) -> dict[str, Part]:
    """Return the sections of the page by the name that leads to them."""

    def of_suite(suite: str, title: str, draw: Any, about: str) -> Part:
        return Part(title, about, stored.has(suite), lambda run: run.evaluation_command(suite), draw)

    def of_weights(title: str, draw: Any, about: str) -> Part:
        """Return a part that is drawn run by run, each with its weights."""

        def each(mpl: Any, runs: Sequence[ReportedRun]) -> Iterator[Drawn]:
            for run in runs:
                yield from draw(mpl, run, shop)

        return Part(title, about, lambda run: run.trained, ReportedRun.training_command, each)

    return {
        "training": Part("Training", "", lambda run: bool(run.metrics), ReportedRun.training_command, stored.training),
        "corruptions": of_suite("corruption", "Corruptions", stored.corruption, "19 corruptions at five severities."),
        "attacks": Part(
            "Attacks",
            "Pixels lie in [0,1]. FGSM alone is no guarantee of robustness.",
            stored.has("fgsm", "pgd", "autoattack"),
            lambda run: f"{run.evaluation_command('fgsm')} --set fgsm.eps=0.5,1,2,4,8,16",
            stored.attacks,
        ),
        "calibration": of_suite("calibration", "Calibration", stored.calibration, ""),
        "reliance": of_suite(
            "reliance",
            "Feature reliance",
            stored.reliance,
            "An image's own features, of those that enter the last layer, are set to 0 one after the other. The higher "
            "the curve without the highest, the more features the network relies on.",
        ),
        "landscape": of_suite(
            "landscape",
            "Loss landscape",
            stored.landscape,
            "Steps along the eigenvectors change with the scale of weights that a normalisation follows, filter-"
            "normalised random directions do not.",
        ),
        "dynamics": Part(
            "Activations and gradients",
            "Each filter of each training image by the norm of its map and of the gradient of the loss there.",
            stored.has("dynamics"),
            dynamics_command,
            stored.dynamics,
        ),
        "occlusion": of_suite("occlusion", "Occlusion", stored.occlusion, ""),
        "frequency": of_suite("frequency", "Frequencies", stored.frequency, ""),
        "filters": of_weights(
            "Filters", pictures.filters, "Every map in its own range of colours; a map without differences is black."
        ),
        "cam": Part(
            "Where it looks",
            "",
            lambda run: run.trained,
            ReportedRun.training_command,
            lambda mpl, runs: pictures.activation_maps(mpl, runs, shop),
        ),
        "wrong": Part(
            "What none gets right",
            "",
            lambda run: "clean" in run.outcomes and run.source is not None,
            lambda run: run.evaluation_command("clean"),
            lambda mpl, runs: pictures.wrong(mpl, runs, shop),
        ),
        "mixing": of_weights(
            "Mixed batches", pictures.mixed_batch, "A step of every kind that the method makes, with the run's weights."
        ),
    }


def dynamics_command(run: ReportedRun) -> str:
    """Return what measures norms: training with snapshots first, where none were kept."""
    command = run.evaluation_command("dynamics")
    if not isinstance(run.source, Run) or (run.folder is not None and stored_snapshots(run.folder)):
        return command
    return f"rm -r {run.where} && {run.training_command(SNAPSHOTS)} && {command}"


def stored_snapshots(folder: Path) -> bool:
    from ..runs.folder import RunFolder

    return bool(RunFolder(folder).snapshots)


def default_file(first: str, runs: Sequence[ReportedRun]) -> Path:
    """Return where a page belongs: of one run in its folder, or beside its record where that was given as ``first``; of
    several here."""
    if len(runs) > 1 or (not Path(first).is_file() and runs[0].folder is None):
        return Path("report.html")
    return report_file(Path(first)) if Path(first).is_file() else (runs[0].folder or Path()) / "report.html"


def write_report(runs: Sequence[ReportedRun], out: Path, data_dir: Path | None = None) -> list[Path]:
    """Write the page of ``runs`` to ``out`` and, beside it, the raw maps as ``.npz`` where any were drawn; return both
    paths. Raises :class:`UsageError` without matplotlib."""
    shop = pictures.Workshop(data_dir)
    write_text(out, report_page(runs, shop))
    if not shop.arrays:
        return [out]
    buffer, beside = io.BytesIO(), out.with_suffix(".npz")
    np.savez_compressed(buffer, allow_pickle=False, **{k.replace("/", "_"): v for k, v in shop.arrays.items()})
    write_bytes(beside, buffer.getvalue())
    return [out, beside]


def report_page(runs: Sequence[ReportedRun], shop: pictures.Workshop) -> str:
    """Return the page of ``runs``."""
    with drawing() as mpl:
        sections = [section(mpl, name, part, runs) for name, part in parts(shop).items()]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True, loader=FunctionLoader(asset)
    )
    return environment.get_template("page.html").render(
        title=f"catchup-bench: {', '.join(run.label for run in runs)}",
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
        style=Markup(style_sheet("page.css")),
        runs=[(run.label, facts(run)) for run in runs],
        numbers=numbers(runs),
        labels=[run.label for run in runs],
        sections=sections,
    )


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def section(mpl: Any, name: str, part: Part, runs: Sequence[ReportedRun]) -> Section:
    """Return a part drawn for the runs that have what it shows, and what the others lack."""
    made = Section(name, part.title, part.about)
    able, lines = [], []
    for run in runs:
        if not part.needs(run):
            lines.append((f"{run.label}: not there", part.command(run)))
        elif problem := damage(run, part):
            lines.append((f"{run.label}: left out, {problem}", ""))
        else:
            able.append(run)
    try:
        for number, drawn in enumerate(part.draw(mpl, able) if able else ()):
            image = Markup()
            if drawn.figure is not None:
                image = svg(drawn.figure, f"{name}-{number}", drawn.caption)
            made.figures.append(Figure(image, drawn.caption, drawn.wide))
    except BenchError as err:  # of a network or data that the picture is not made for
        lines.append((str(err), ""))
    except DAMAGED as err:
        lines.append((f"what is stored cannot be drawn: {type(err).__name__} {err}", ""))
    made.missing = lines
    return made


def damage(run: ReportedRun, part: Part) -> str:
    """Return what contradicts itself in the outcomes that ``part`` shows; an empty string for nothing."""
    for condition, outcome in run.outcomes.items():
        alone = ReportedRun(run.label, run.source, None, (), {}, {condition: outcome})
        if part.needs(alone) and outcome.suite in suite_names():
            for problem in suite_class(outcome.suite).contradictions(outcome):
                return f"{condition}: {problem}"
    return ""


def facts(run: ReportedRun) -> list[tuple[str, str]]:
    """Return what a run is, by name."""
    shown = {}
    if isinstance(run.source, Run):
        of, recipe = run.source, run.source.recipe
        options = ", ".join(f"{k} = {v}" for k, v in of.method.options.items())
        share = f", {of.dataset.fraction:.0%} of its training images" if of.dataset.fraction < 1 else ""
        shown = {
            "method": f"{of.method.name} ({options})" if options else of.method.name,
            "dataset": f"{of.dataset.name}{share}",
            "network": f"{of.model.name} of width {of.model.width}, variant {of.model.variant}",
            "recipe": f"{recipe.epochs} epochs, batches of {recipe.batch_size}, learning rate {recipe.lr:g}, "
            f"{recipe.schedule} schedule, weight decay {recipe.weight_decay:g}",
            "seed": str(of.seed),
            "run": of.digest,
        }
    elif run.source is not None:
        shown = {"checkpoint": run.source.checkpoint, "dataset": run.source.dataset.name}
    for key in ("device", "precision", "engine", "threads"):
        if key in run.training:
            shown[key] = str(run.training[key])
    return [*shown.items(), ("from", str(run.folder) if run.folder is not None else "a record")]


def numbers(runs: Sequence[ReportedRun]) -> list[tuple[str, list[str]]]:
    """Return the lines of the table of numbers: a name and the text of each run."""
    columns = [numbers_of(run) for run in runs]
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "") for column in columns]) for name in names]


def numbers_of(run: ReportedRun) -> dict[str, str]:
    """Return errors and figures of a run's suites by name, those of single corruptions apart."""
    shown: dict[str, str] = {}
    held = {o.suite for o in run.outcomes.values()} & set(suite_names())
    for suite in sorted(held, key=lambda name: (name not in FIRST, FIRST.index(name) if name in FIRST else 0, name)):
        try:
            cls, outcomes = suite_class(suite), run.of_suite(suite)
            made = cls(**cls.options_of([o.protocol for o in outcomes.values()]))
            rows = summarise(outcomes, {suite: made})
        except (BenchError, *DAMAGED) as err:
            shown[suite] = f"damaged: {type(err).__name__}"
            continue
        single = {*corruptions.NAMES, *(f"severity {s}" for s in corruptions.SEVERITIES)}
        shown |= {name: text for name, text in rows.items() if suite != "corruption" or name not in single}
    return shown
