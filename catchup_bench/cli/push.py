"""``catchup-bench push``: a run to a repository of the hub."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, show


def push(
    run: Annotated[Path, typer.Argument(help="Folder of a finished and evaluated run.")],
    repo: Annotated[str, typer.Argument(help="Repository of the Hugging Face hub: OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private, where it is new.")] = False,
    licence: Annotated[str, typer.Option(help="Licence of the weights, as the hub writes it.")] = "mit",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the card; send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Send the weights of a run, its description, its record and a card made from the record to the hub.

    Whoever may read the repository then evaluates them by --checkpoint hf://OWNER/NAME.
    """
    from ..errors import UsageError, VerificationFailed
    from ..leaderboard.model_card import model_card
    from ..records.outcomes import collect_record
    from ..records.record import record_bytes
    from ..runs.folder import RunFolder, read_run
    from ..system.files import file_digest
    from ..system.hub import parse_repo, upload

    files, described = RunFolder(run), read_run(run)
    where = parse_repo(repo)
    if where.revision is not None:
        raise UsageError(f"{repo}: push takes OWNER/NAME, and adds to its main branch")
    if not files.finished:
        raise UsageError(f"{run} is not trained to its end: repeat its train command to finish it")
    if not files.evaluation.exists():
        raise UsageError(f"{run} is not evaluated, and a card shows errors: run catchup-bench evaluate {run}")
    record = collect_record(run)
    if problems := record.problems():
        raise VerificationFailed(f"{run}: {problems[0]}")
    if record.checkpoint.get("sha256") != file_digest(files.weights):
        raise VerificationFailed(f"{files.weights} is not what was evaluated: evaluate it again")
    if licence != " ".join(licence.split()) or not licence.replace("-", "").replace(".", "").isalnum():
        raise UsageError(f"--licence {licence!r}: it takes a name such as mit, apache-2.0 or cc-by-4.0")
    card = model_card(record, described, where.name, licence)
    if dry_run:
        return show({"card": card}) if as_json else typer.echo(card, nl=False)
    content: dict[str, bytes | Path] = {
        "README.md": card.encode(),
        "model.safetensors": files.weights,
        "run.json": files.description,
        "record.json": record_bytes(record),
    }
    message = f"{described.method.name} on {described.dataset.name}, run {record.digest}"
    url = upload(where, content, message, private)
    if as_json:
        return show({"url": url, "files": list(content), "sha256": record.checkpoint["sha256"]})
    typer.echo(
        f"{url}\nweights: SHA-256 {record.checkpoint['sha256']}; evaluate them by --checkpoint hf://{where.name}"
    )
