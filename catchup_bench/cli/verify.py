"""``catchup-bench verify`` and ``submit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import DataDir, Device, Json, Root, show

if TYPE_CHECKING:
    import torch


def verify(
    record: Annotated[
        Path | None, typer.Argument(help="Record to check: that it agrees with its bits and digests.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the record's run: evaluate its checkpoint again and compare.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="With --run or --runs: write beside the record that it was verified.")
    ] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Check every record of the leaderboards, and that it belongs to its board.")
    ] = False,
    runs: Annotated[
        Path | None, typer.Option(help="With --all: folder of runs; evaluate those again whose records are checked.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Check that a method, given by name or file, keeps the contract.")
    ] = None,
    root: Root = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check a record, all records, or a method; exit with 4 when something does not hold."""
    if [record is not None, method is not None, all_].count(True) != 1:
        raise UsageError("verify takes one of RECORD, --all and --method NAME")
    if keep and run is None and runs is None:
        raise UsageError(
            "--keep writes that a checkpoint was evaluated again: give --run FOLDER, or --all --runs FOLDER"
        )
    if (run is not None and record is None) or (runs is not None and not all_):
        raise UsageError("--run FOLDER goes with a RECORD, and --runs FOLDER with --all")
    if method is not None:
        return verify_method(method, as_json)
    from ..system.hardware import choose_device
    from ..verification.record import keep_level, verify_record

    if record is None:
        return verify_all(root, runs, keep, choose_device(device), data_dir, as_json)
    verdict = verify_record(record, run, choose_device(device), data_dir)
    if keep:
        keep_level(record, verdict)
    if as_json:
        return show({"level": verdict.level, "conditions": verdict.conditions, "differing": verdict.differing})
    how = "evaluated again" if verdict.level == 2 else "agrees with its bits and digests"
    typer.echo(f"{record}: level {verdict.level}, {verdict.conditions} conditions, {how}")


def verify_all(
    root: Path | None, runs: Path | None, keep: bool, device: "torch.device", data_dir: Path | None, as_json: bool
) -> None:
    """Check level 1 of every record, then level 2 of those whose run is in ``runs`` and that have not kept it."""
    from ..errors import VerificationFailed
    from ..records.results_folder import find_root, record_files
    from ..verification.all_records import find_problems, reevaluate_all
    from .progress import Bar

    root_folder = find_root(root)
    problems = [(str(path.relative_to(root_folder)), text) for path, text in find_problems(root_folder, marks=not keep)]
    checked = len(record_files(root_folder))
    if as_json:
        show({"records": checked, "problems": [{"record": path, "problem": text} for path, text in problems]})
    for path, text in () if as_json else problems:
        typer.echo(f"{path}: {text}")
    if problems:
        raise VerificationFailed(f"{len({path for path, _ in problems})} of {checked} records do not hold")
    if runs is not None:
        with Bar("verifying", quiet=as_json) as bar:
            for record, verdict in reevaluate_all(root_folder, runs, keep, device, data_dir):
                bar.say(f"{record.relative_to(root_folder)}: {sum(verdict.differing.values())} outcomes differ")
    if not as_json:
        typer.echo(f"{checked} records: each agrees with its bits and digests and is where its board has it")


def verify_method(method: str, as_json: bool) -> None:
    """Check the contract of a method and print each check. Raises :class:`VerificationFailed` when one fails."""
    from .. import registry
    from ..errors import VerificationFailed
    from ..verification.method import check_contract
    from . import tables

    checks = check_contract(registry.method_class(method))
    if as_json:
        show({c.name: {"ok": c.ok, "detail": c.detail} for c in checks})
    else:
        tables.print_checks(method, checks)
    if failed := [c.name for c in checks if not c.ok]:
        raise VerificationFailed(f"{method} breaks the contract: {', '.join(failed)}")


def submit(
    run: Annotated[Path, typer.Argument(help="Folder of a finished and evaluated run.")],
    board: Annotated[str | None, typer.Option(help="Name of the board, where several fit.")] = None,
    label: Annotated[
        str | None, typer.Option(help="Name of the row; needed for options other than the defaults.")
    ] = None,
    root: Root = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Add a run's record, and its method if it is new, to a board; print the git commands to run next.

    Everything is checked first, as a maintainer would check it; nothing is written unless all of it holds.
    """
    from .. import boards
    from ..leaderboard.pages import write_pages
    from ..records.results_folder import find_root
    from ..verification.submission import submit

    root_folder = find_root(root).resolve()
    submitted = submit(run, root_folder, board, label, data_dir)
    pages = [
        *submitted.files,
        *(path for path in write_pages(root_folder, boards.load(submitted.board)) if path not in submitted.files),
    ]
    commands = submitted.commands(root_folder, pages)
    if as_json:
        return show(
            {"board": submitted.board, "row": submitted.label, "files": [str(p) for p in pages], "commands": commands}
        )
    typer.echo("\n".join(["written:", *(f"  {p.relative_to(root_folder)}" for p in pages), "now run:", *commands]))
    typer.echo("and open a pull request: it is verified by catchup-bench verify --all and leaderboard check")
