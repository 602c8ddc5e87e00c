"""What a board's progress says: runs done, time left, and what each running job does."""

from typing import Any

import pytest

from catchup_bench import boards
from catchup_bench.boards.grid import jobs_of
from catchup_bench.cli.progress import BoardBar


def test_the_time_left_counts_work_and_not_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    cheap, dear, *_ = jobs = list(jobs_of(boards.load("demo")))
    sizes = {job.name: 1.0 for job in jobs[:3]} | {dear.name: 7.0}
    with BoardBar("Board", sizes, clock=lambda: now[0]) as bar:
        bar.start(3)
        assert bar.seconds_left() is None
        now[0] = 60.0
        bar.finished(cheap, 60.0)
        assert bar.seconds_left() == pytest.approx(60.0 * (7 + 1))
        now[0] = 120.0
        bar.running({dear.name: ("training", 0.25)})
        bar.advance(1.25)
        assert bar.seconds_left() == pytest.approx(120.0 * (7 * 0.75 + 1)), (
            "what it had done when first seen was before"
        )
        now[0] = 180.0
        bar.running({dear.name: ("training", 0.75)})
        bar.advance(1.75)
        assert bar.seconds_left() == pytest.approx(180.0 * (7 * 0.25 + 1) / (1 + 7 * 0.5))
        bar.running({})
        bar.finished(dear, 60.0)
        assert bar.seconds_left() == pytest.approx(180.0 * 1 / (1 + 7 * 0.75))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Board: 3 runs to do"
    assert lines[-2] == f"Board: 1.8 of 3 runs, about 2 min left; {dear.name} training 75%"


def test_a_job_is_called_by_its_setup_where_the_board_has_several(capsys: pytest.CaptureFixture[str]) -> None:
    one, several = boards.load("demo"), boards.load("table3")
    assert len(one.setups) == 1 < len(several.setups)
    assert next(jobs_of(one)).name == "baseline seed 0"
    job = next(jobs_of(several))
    assert job.name == f"{several.setups[0].name} {job.label} seed 0"
    names = [job.name for job in jobs_of(several)]
    assert len(set(names)) == len(names)
    BoardBar("Board").finished(job, 60.0)
    assert capsys.readouterr().err == f"  {job.name}: 60 s\n"


def test_a_board_on_this_machine_says_what_its_jobs_do() -> None:
    from catchup_bench.jobs.local import doing

    assert [doing(share) for share in (0.1, 0.89, 0.9, 1.0)] == ["training"] * 2 + ["evaluating"] * 2


def test_sizes_are_images_times_cost(tmp_path: Any) -> None:
    from catchup_bench.jobs.job import Workspace
    from catchup_bench.jobs.run_board import find_work, job_sizes
    from catchup_bench.records.results_folder import board_folder, cost_file
    from catchup_bench.system.files import write_json

    board = boards.load("demo")
    workspace = Workspace(tmp_path, tmp_path, None, "cpu")
    setup = board.setups[0].name
    write_json(cost_file(board_folder(tmp_path, board.name), setup), {"methods": {"catchup": {"ratio": 1.5}}})
    sizes = job_sizes(find_work(board, workspace))
    baseline = sizes["baseline seed 0"]
    assert sizes["catchup seed 0"] == pytest.approx(1.5 * baseline) and baseline > 0
