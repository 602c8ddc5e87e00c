"""``catchup-bench verify`` and ``submit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..text import printable
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
    since: Annotated[
        str | None,
        typer.Option(
            metavar="COMMIT",
            help="With --all: refuse marks, maintainers and records that were changed since this commit of git, which "
            "a submission may not do.",
        ),
    ] = None,
    retrained: Annotated[
        Path | None,
        typer.Option(help="Folder of the record's run, trained and evaluated again by a maintainer, who signs it."),
    ] = None,
    maintainer: Annotated[
        str | None, typer.Option(help="With --retrained: name of the maintainer in leaderboards/verifiers.toml.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="With --retrained: file of the maintainer's private ssh key.")
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
    if (run is not None and record is None) or ((runs is not None or since is not None) and not all_):
        raise UsageError("--run FOLDER goes with a RECORD, and --runs FOLDER and --since COMMIT with --all")
    signing = [option is not None for option in (retrained, maintainer, key)]
    if any(signing) and (record is None or run is not None or not all(signing)):
        raise UsageError("a signed statement takes RECORD --retrained FOLDER --maintainer NAME --key FILE")
    if method is not None:
        return verify_method(method, as_json)
    from ..system.hardware import choose_device
    from ..verification.record import keep_level, verify_record

    if record is None:
        return verify_all(root, runs, keep, since, choose_device(device), data_dir, as_json)
    verdict = verify_record(record, run, choose_device(device), data_dir)
    if retrained is not None and maintainer is not None and key is not None:
        from ..records.results_folder import read_marks
        from ..verification.retraining import state

        statement = state(record, retrained, maintainer, key)
        level = read_marks(record).level
        if as_json:
            return show({"level": level, "statement": str(statement)})
        return typer.echo(f"{record}: level {level}, by {statement.name} and its signature")
    if keep:
        keep_level(record, verdict)
    if as_json:
        return show({"level": verdict.level, "conditions": verdict.conditions, "differing": verdict.differing})
    how = "evaluated again" if verdict.level == 2 else "agrees with its bits and digests"
    typer.echo(f"{record}: level {verdict.level}, {verdict.conditions} conditions, {how}")


def verify_all(
    root: Path | None,
    runs: Path | None,
    keep: bool,
    since: str | None,
    device: "torch.device",
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Check level 1 of every record, then level 2 of those whose run is in ``runs`` and that have not kept it."""
    from ..errors import VerificationFailed
    from ..records.record import Record
    from ..records.results_folder import find_root, record_files
    from ..verification.all_records import find_problems, reevaluate_all
    from ..verification.plausibility import remarks
    from ..verification.since import find_changes
    from .progress import Bar

    root_folder, kept = find_root(root), dict[Path, Record]()
    found = list(find_problems(root_folder, marks=not keep, kept=kept))
    found += find_changes(root_folder, since) if since is not None else []
    problems = [(str(path.relative_to(root_folder)), text) for path, text in found]
    marked = [(str(path.relative_to(root_folder)), text) for path, text in remarks(kept)]
    records = record_files(root_folder)
    if as_json:
        entries = {
            name: [{"record": path, name.removesuffix("s"): text} for path, text in said]
            for name, said in (("problems", problems), ("remarks", marked))
        }
        show({"records": len(records), **entries})
    for path, text in () if as_json else problems:
        typer.echo(f"{printable(path)}: {text}")
    for path, text in () if as_json else marked:
        typer.echo(f"to look at: {printable(path)}: {text}")
    if problems:
        bad = {path for path, _ in found}
        wrong = f"{len(bad.intersection(records))} of {len(records)} records do not hold"
        other = len(bad.difference(records))
        raise VerificationFailed(f"{wrong}{f', nor {other} other files' if other else ''}")
    if runs is not None:
        with Bar("verifying", quiet=as_json) as bar:
            for record, verdict in reevaluate_all(root_folder, runs, keep, device, data_dir):
                bar.say(f"{record.relative_to(root_folder)}: {sum(verdict.differing.values())} outcomes differ")
    if not as_json:
        typer.echo(f"{len(records)} records: each agrees with its bits and digests and is where its board has it")


def verify_method(method: str, as_json: bool) -> None:
    """Check the contract of a method and print each check. Raises :class:`VerificationFailed` when one fails."""
    from ..errors import VerificationFailed
    from ..verification.isolated import check_isolated
    from . import tables

    checks = check_isolated(method)
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

    Everything is checked first, as a maintainer would check it, in a copy of the checkout that has nothing beside it;
    nothing is written unless all of it holds.
    """
    from ..records.results_folder import find_root
    from ..verification.submission import submit

    root_folder = find_root(root).resolve()
    submitted = submit(run, root_folder, board, label, data_dir)
    files, commands = submitted.files, submitted.commands(root_folder)
    if as_json:
        return show(
            {"board": submitted.board, "row": submitted.label, "files": [str(p) for p in files], "commands": commands}
        )
    typer.echo("\n".join(["written:", *(f"  {p.relative_to(root_folder)}" for p in files), "now run:", *commands]))
    typer.echo("and open a pull request: it is verified by catchup-bench verify --all and leaderboard check")
