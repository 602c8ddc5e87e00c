"""Write made-up records of a large board, and measure its page: ``python -m tests.support.large_board``.

By default 40 methods × 20 seeds × 106 conditions × 10,000 images, 150 MB of records in a temporary folder. Prints the
CPU seconds and the peak memory of reading, checking, testing and writing the page.
"""

import argparse
import platform
import resource
import tempfile
import time
from pathlib import Path

from catchup_bench import boards
from catchup_bench.records.results_folder import board_folder

from .made_up import write_records

BOARD = """
title = "Large"
question = "How long does its page take?"
methods = ["baseline", {methods}]
seeds = [{seeds}]
rank = "robust err"
set = ["fgsm.eps=4,16"]
[[setups]]
dataset = "digits"
model = "preactresnet10"
width = 4
recipe = "digits"
suites = ["robustness"]
[[columns]]
name = "robust err"
mean_of = ["FGSM err", "corruption err", "deformation err"]
[[columns]]
name = "clean err"
conditions = ["clean"]
paper = "T1.top1_err"
[[columns]]
name = "FGSM err"
conditions = ["fgsm-4", "fgsm-16"]
paper = "T1.fgsm_err"
[[columns]]
name = "corruption err"
conditions = ["corruption:all19"]
paper = "T1.mce"
[[columns]]
name = "deformation err"
conditions = ["deformation:all"]
"""


def write_board(root: Path, methods: int, seeds: int, images: int) -> str:
    """Write a board of ``methods`` settings of input mixup and its records below ``root``; return its path."""
    rows = [f'{{ name = "inputmixup", label = "m{i}", set = {{ alpha = {i}.0 }} }}' for i in range(1, methods)]
    path = root / "large.toml"
    path.write_text(BOARD.format(methods=", ".join(rows), seeds=", ".join(map(str, range(seeds)))), encoding="utf-8")
    write_records(root, boards.load(str(path)), images)
    return str(path)


def main() -> None:
    """Write the board and measure its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--root", type=Path, help="keep the records there, or read those that are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or Path(folder)
        if not (root / "large.toml").exists():
            write_board(root, options.methods, options.seeds, options.images)
            print("written; run again with --root to measure the page alone" if options.root else "written")
        from catchup_bench.leaderboard.markdown import board_page
        from catchup_bench.leaderboard.table import make_table

        start = time.process_time()
        page = board_page("large", make_table(boards.load(str(root / "large.toml")), board_folder(root, "large")))
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{len(page)} characters, {seconds:.1f} CPU seconds, at most {peak:.0f} MB, {platform.processor()}")


if __name__ == "__main__":
    main()
