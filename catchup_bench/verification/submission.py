"""Submit the record of a run, and its method, to a board."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import boards
from ..boards import FOLDER_NAME, Board, Entry, Setup, is_file_name
from ..boards.grid import job_digest
from ..errors import UsageError, VerificationFailed, pick
from ..records.outcomes import collect_record, lacking
from ..records.record import Record, as_json, read_record, record_bytes
from ..records.results_folder import board_folder, record_path
from ..runs.make import make_run
from ..runs.run import Run
from ..suites import make_suites, resolve_suites
from ..system.files import file_digest, write_together
from .rehearsal import rehearse


@dataclass(frozen=True)
class Submission:
    """A submitted record: the board, row and seed that it belongs to, and the files written."""

    board: str
    label: str
    seed: int
    files: list[Path]

    def commands(self, root: Path) -> list[str]:
        """Return the commands to run next."""
        branch = f"submit-{self.board}-{self.label}"
        paths = shlex.join(path.relative_to(root).as_posix() for path in self.files)
        return [
            f"git switch -c {branch}",
            f"git add {paths}",
            f"git commit -m 'Submit {self.label} to {self.board}, seed {self.seed}'",
            f"git push -u origin {branch}",
        ]


def submit(folder: Path, root: Path, wanted: str | None, label: str | None, data_dir: Path | None) -> Submission:
    """Check the run in ``folder`` as a maintainer would, in a copy of the checkout at ``root`` that has nothing else,
    then write its files and the pages that follow from them, all or none.

    Raises :class:`UsageError` when it fits no board, lacks a condition or needs a name, and
    :class:`VerificationFailed` when the record or the method does not hold; nothing is written then.
    """
    record = collect_record(folder)
    if problems := record.problems():
        raise VerificationFailed(f"{folder}: {problems[0]}")
    run = record.run
    if run is None:
        raise UsageError(f"{folder} is of an external network: add it to a board's file under [[loaded]]")
    name, board, setup = fitting_board(run, root, wanted)
    if run.seed not in board.seeds:
        raise UsageError(f"seed {run.seed} is not on board {name}: it has {', '.join(map(str, board.seeds))}")
    complete(record, board, setup, folder, data_dir)
    entry = entry_of(run, setup, label)
    check_label(entry, board, name)
    files: dict[Path, bytes] = {}
    if run.method.file is not None:
        files = method_file(run, root)
        shown = run.method.model_copy(update={"file": f"methods/{run.method.name}.py"})
        record = record.model_copy(update={"run": run.model_copy(update={"method": shown})})
    is_new = bool(files)
    files |= with_entry(root, name, entry, known=entry["label"] in {e.row for e in board.methods})
    path = record_path(board_folder(root, name), setup.name, entry["label"], run.seed)
    if path.exists() and of_other_weights(record, read_record(path)):
        raise UsageError(f"{path} holds the record of other weights, which stays: give another --label")
    files[path.relative_to(root)] = record_bytes(record)
    files |= rehearse(root, files, name, path.relative_to(root), run.method.name if is_new else None)
    write_together({root / file: content for file, content in files.items()})
    return Submission(name, entry["label"], run.seed, [root / file for file in files])


def check_label(entry: dict[str, Any], board: Board, name: str) -> None:
    """Raise :class:`UsageError` when the label of a new row is taken, also where letters' case makes no difference."""
    for other in board.rows:
        if other.row.casefold() != entry["label"].casefold():
            continue
        stated: tuple[str, str, dict[str, Any], dict[str, Any]] = (entry["label"], entry["name"], entry["set"], {})
        same = isinstance(other, Entry) and (other.row, other.name, other.set, other.overrides) == stated
        if not same:
            what = "is another row of" if other.row == entry["label"] else f"differs from {other.row} in case alone on"
            raise UsageError(f"{entry['label']} {what} board {name}: give another --label")


def of_other_weights(record: Record, known: Record) -> bool:
    """Return whether two records are of the same job of a board and of two trainings."""
    return job_digest(record) == job_digest(known) and record.checkpoint.get("sha256") != known.checkpoint.get("sha256")


def fitting_board(run: Run, root: Path, wanted: str | None) -> tuple[str, Board, Setup]:
    """Find the published board, and its set-up, that ``run`` was trained for."""
    if wanted is not None:
        pick("board", wanted, boards.available())  # no file: its name would lead out of the results
    published = [n for n in boards.available() if board_folder(root, n).is_dir()]
    fitting = []
    for name in [wanted] if wanted else published:
        board = boards.load(name)
        fitting += [(name, board, setup) for setup in board.setups if same_protocol(run, setup)]
    if not fitting:
        where = f"board {wanted}" if wanted else f"any published board: {', '.join(published)}"
        raise UsageError(f"{run.folder} is not of the dataset, fraction, model and recipe of {where}")
    if len(fitting) > 1:
        raise UsageError(f"{run.folder} fits several boards: choose with --board {', '.join(n for n, _, _ in fitting)}")
    return fitting[0]


def same_protocol(run: Run, setup: Setup) -> bool:
    """Return whether ``run`` has the dataset, fraction, model and recipe of ``setup``."""
    model = make_run(
        "baseline", setup.dataset, model=setup.model, width=setup.width, variant=setup.variant,
        recipe_name=setup.recipe, overrides=setup.overrides, fraction=setup.fraction,
    )  # fmt: skip
    return (run.dataset, run.model, run.recipe) == (model.dataset, model.model, model.recipe)


def complete(record: Record, board: Board, setup: Setup, folder: Path, data_dir: Path | None) -> None:
    """Raise :class:`UsageError` with the command to run when a condition of the board is missing."""
    suites = resolve_suites(make_suites(setup.suites, board.settings), setup.dataset, data_dir)
    lost = sum(map(len, lacking(record.outcomes, suites).values()))
    if lost:
        options = "".join(f" --suite {s}" for s in setup.suites) + "".join(f" --set {s}" for s in board.set)
        raise UsageError(f"{lost} conditions are missing: run catchup-bench evaluate {folder}{options}")


def entry_of(run: Run, setup: Setup, label: str | None) -> dict[str, Any]:
    """Return the row: name, label, and the options that are neither the set-up's nor the method's defaults there."""
    if label is not None and not (label and re.fullmatch(FOLDER_NAME, label) and len(label) <= 64):
        raise UsageError(
            f"--label {label!r}: it takes 1 to 64 letters, digits, _, . and -, and begins with neither . nor -"
        )
    if label is not None and is_file_name(label):
        raise UsageError(f"--label {label}: rows are folders beside cost.json, so it may not end like a file's name")
    method = run.method
    given = {method.name: options} if (options := setup.options_of(method.name)) else {}
    defaults = make_run(method.file or method.name, setup.dataset, settings=given).method.options
    changed = {k: v for k, v in as_json(method.options).items() if as_json(defaults)[k] != v}
    if changed and label is None:
        words = ", ".join(f"{k} = {v}" for k, v in changed.items())
        raise UsageError(f"this run has options other than the defaults ({words}): name its row with --label")
    return {"name": method.name, "label": label or method.name, "set": changed}


def method_file(run: Run, root: Path) -> dict[Path, bytes]:
    """Return where below ``root`` the file of an external method belongs, and its bytes; empty when it is there.

    Raises :class:`UsageError` for a file that is not the run's, and for a name that no method can have or that is
    another's, also where letters' case makes no difference.
    """
    spec = run.method
    source = Path(spec.file or "")
    if not source.is_file() or file_digest(source) != spec.sha256:
        raise UsageError(f"{source} is not the file that this run was made with: bring it back, or train again")
    if source.name.startswith("_"):
        raise UsageError(
            f"{source.name}: files in methods/ that begin with _ are no methods but shared by them: rename yours and "
            "train it under that name"
        )
    path = Path("methods", source.name)
    there = {p.name.casefold(): p for p in (root / "methods").glob("*")}.get(source.name.casefold())
    if there is not None and (there.name != source.name or file_digest(there) != spec.sha256):
        raise UsageError(f"there is another method {there}: rename yours and train it under that name")
    return {path: source.read_bytes()} if there is None else {}


def with_entry(root: Path, name: str, entry: dict[str, Any], known: bool = False) -> dict[Path, bytes]:
    """Return the board's file, by its path below ``root``, with the row as the last of its methods, unless it is
    ``known``; everything else there stays as it is.

    Raises :class:`UsageError` when the file is missing, or has no list of methods.
    """
    import tomlkit
    from tomlkit.items import Array

    path = root / "catchup_bench" / "boards" / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"{path} is missing: a submission is made in a checkout of the project; say which with --root")
    if known:
        return {}
    text = path.read_text(encoding="utf-8")
    document = tomlkit.parse(text)
    methods = document.get("methods")
    if not isinstance(methods, Array):
        raise UsageError(f"{path} has no list of methods: it is no board that a row can be added to")
    row: str | tomlkit.items.InlineTable = entry["name"]
    if entry["set"] or entry["label"] != entry["name"]:
        row = tomlkit.inline_table()
        row.update(entry)
        row["set"] = tomlkit.inline_table()
        row["set"].update(entry["set"])
    if "\n" in methods.as_string():
        methods.add_line(row, indent="  ", newline=True)
    else:
        methods.append(row)
    return {path.relative_to(root): tomlkit.dumps(document).encode()}
