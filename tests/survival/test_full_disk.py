"""A full disk and many writers: one clear line, nothing half written, what was there stays whole."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from catchup_bench.errors import RunFailed
from catchup_bench.records.outcomes import read_stored, store_outcome
from catchup_bench.records.record import Outcome, Record, read_record, write_record
from catchup_bench.runs.make import make_run
from catchup_bench.system import cache, files
from catchup_bench.system.progress import NoProgress
from catchup_bench.training.loop import train
from tests.cli.test_cli import SMALL
from tests.conftest import Cli
from tests.survival.test_kill import CONTEXT


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From the call on, flushing a file whose path holds the given text finds the disk full."""

    def full(part: str) -> None:
        real = os.fsync

        def fsync(fd: int) -> None:
            if part in os.readlink(f"/proc/self/fd/{fd}"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)

    return full


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


@pytest.mark.parametrize("name", ["run.json", "state.pt", "best.safetensors", "training.json", "last.safetensors"])
def test_training_on_a_full_disk_is_one_line(cli: Cli, tmp_path: Path, fill: Callable[[str], None], name: str) -> None:
    fill(name)
    result = cli("train", "--method", "baseline", "--checkpoint-every", 0, *SMALL[:-1], 2)
    assert result.exit_code == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: cannot write") and name in last and "No space left on device" in last
    assert not unfinished(tmp_path) and not list(tmp_path.rglob(name))


class Fills(NoProgress):
    """The disk is full from the second epoch on."""

    def __init__(self, fill: Callable[[], None]) -> None:
        self.fill, self.epochs = fill, 0

    def epoch(self, line: dict[str, Any]) -> None:
        self.epochs += 1
        if self.epochs == 2:
            self.fill()


def test_the_state_before_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("baseline", width=4, fraction=0.25, overrides={"epochs": 3})
    whole = train(run, tmp_path / "whole", device=torch.device("cpu"))

    def fill() -> None:
        def full(path: Path, content: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(Path, "write_bytes", full)

    with monkeypatch.context() as patch, pytest.raises(RunFailed, match="No space left"):
        train(run, tmp_path, device=torch.device("cpu"), progress=Fills(fill), checkpoint_every=0)
    assert torch.load(tmp_path / run.folder / "state.pt", weights_only=True)["epoch"] == 1
    again = train(run, tmp_path, device=torch.device("cpu"))
    assert (again / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    files.append_line(path, "first")

    class Half:
        """A file that takes half of what is written."""

        def __enter__(self) -> "Half":
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, content: bytes) -> None:
            with path.open("ab") as f:
                f.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "open", lambda *_: Half(), raising=False)
    with pytest.raises(RunFailed, match=r"metrics\.jsonl: No space left"):
        files.append_line(path, "second")
    assert path.read_text() == "first\n"


def test_an_outcome_on_a_full_disk_is_one_line(
    cli: Cli, trained_run: Path, tmp_path: Path, fill: Callable[[str], None]
) -> None:
    fill("outcomes/")
    result = cli("evaluate", "--checkpoint", trained_run / "last.safetensors", "--suite", "clean")
    assert result.exit_code == 1 and "clean.json: No space left on device" in result.stderr.splitlines()[-1]
    assert not unfinished(tmp_path)


def test_corrupted_images_are_used_even_if_they_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[[str], None]
) -> None:
    monkeypatch.setenv("CATCHUP_BENCH_CACHE", str(tmp_path))
    fill(".npy")
    made = torch.arange(9, dtype=torch.uint8)
    assert torch.equal(cache.cached(("a",), lambda: made), made)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    def killed(path: Path) -> IO[str]:
        raise SystemExit

    files.write_text(tmp_path / "a.json", "{}")
    (tmp_path / ".a.json.x1y2.part").write_text("{")
    files.sweep(tmp_path, age=3600)
    assert len(unfinished(tmp_path)) == 1
    files.sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def write_many(folder: Path, record: Record, writer: int) -> None:
    for i in range(12):
        write_record(record, folder / f"own-{writer}-{i}.json")
        write_record(record, folder / "shared.json")
        outcome = record.outcomes["clean"]
        store_outcome(folder, f"own-{writer}-{i}", outcome, {"writer": writer})
        store_outcome(folder, "shared", outcome, {"writer": writer})
        assert read_record(folder / "shared.json") == record
        assert read_stored(folder)["shared"].outcome == outcome


def test_eight_processes_lose_and_tear_nothing(tmp_path: Path) -> None:
    run = make_run("baseline")
    outcome = Outcome.of(torch.arange(800).numpy() % 3 > 0, "clean", {"version": 1})
    record = Record(
        run=run, digest=run.digest, checkpoint={}, test_sha256="0", training={}, evaluated=[{}],
        outcomes={"clean": outcome},
    )  # fmt: skip
    writers = [CONTEXT.Process(target=write_many, args=(tmp_path, record, i)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [w.exitcode for w in writers] == [0] * 8
    assert {p.name for p in tmp_path.glob("*.json")} == {"shared.json"} | {
        f"own-{w}-{i}.json" for w in range(8) for i in range(12)
    }
    assert all(read_record(p) == record for p in tmp_path.glob("*.json"))
    assert len(read_stored(tmp_path)) == 97 and not unfinished(tmp_path)
