"""Made-up records of a board: whole, consistent, and of no training."""

from pathlib import Path

import numpy as np

from catchup_bench.boards import Board
from catchup_bench.boards.grid import jobs_of
from catchup_bench.records.record import Outcome, Record, write_record
from catchup_bench.records.results_folder import board_folder

SUITES = {"clean": "clean", "fgsm": "fgsm", "rotation": "deformation", "shear": "deformation", "zoom": "deformation"}
"""How conditions begin, and the suite that they are of; the others are corruptions."""


def write_records(root: Path, board: Board, images: int = 48) -> None:
    """Write a record of every job of ``board`` below ``root``; a later row of the board has a higher error."""
    conditions = sorted({c for column in board.columns for _, c in board.weights(column)})
    order = {entry.row: number for number, entry in enumerate(board.rows)}
    rng = np.random.default_rng(0)
    hard = rng.random(images, np.float32)
    for job in jobs_of(board):
        error = 0.2 + 0.01 * order[job.label] + 0.01 * rng.random()
        right = rng.random((len(conditions), images), np.float32) > 2 * error * hard
        outcomes = {
            name: Outcome.of(bits, SUITES.get(name.split("-")[0], "corruption"), {"version": 1})
            for name, bits in zip(conditions, right, strict=True)
        }
        training = {"device": "none", "threads": 1, "precision": "fp32", "versions": {"torch": "0"}}
        record = Record(
            run=job.run, digest=job.run.digest, checkpoint={}, test_sha256="0", training=training, evaluated=[{}],
            outcomes=outcomes,
        )  # fmt: skip
        write_record(record, board_folder(root, board.name) / job.path)
