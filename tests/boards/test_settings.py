"""The settings of the rows that stand beside the paper's numbers, each with the place that it was read from."""

from functools import cache
from typing import Any

import pytest

from catchup_bench import boards
from catchup_bench.boards.grid import jobs_of
from catchup_bench.runs.run import Run

CUTMIX = "CutMix (arXiv 1905.04899), §4.1.2 and Table 5"
CUTMIX_IMAGENET = "CutMix (arXiv 1905.04899), §4.1.1"
CUTMIX_CODE = "clovaai/CutMix-PyTorch 2d8eb68, README.md and train.py"
MOEX_CODE = "Boyiliee/MoEx 016571c, CIFAR/run.sh and ImageNet"
OPENMIXUP_CIFAR = "Westlake-AI/openmixup 37e1372, configs/classification/cifar100/README.md"
OPENMIXUP_TINY = "Westlake-AI/openmixup 37e1372, docs/en/mixup_benchmarks/Mixup_imagenet.md"
OPENMIXUP_R18 = "Westlake-AI/openmixup 37e1372, tiny_imagenet/mixups/basic/r18_mixups_CE_none.py"
OPENMIXUP_DATA = "Westlake-AI/openmixup 37e1372, configs/classification/_base_/datasets"
OPENMIXUP_MIX = "Westlake-AI/openmixup 37e1372, openmixup/models: no probability, saliency in eval mode"
SALIENCYMIX = "afm-shahab-uddin/SaliencyMix 9ee02b8, README.md: one map per batch"
PUZZLEMIX = "snu-mllab/PuzzleMix e2dbf3a, README.md, first command of the dataset"
PUZZLEMIX_IMAGENET = "snu-mllab/PuzzleMix e2dbf3a, imagenet/"
PUZZLEMIX_BASELINES = "snu-mllab/PuzzleMix e2dbf3a, README.md, commands of its baselines"
COMIXUP = "snu-mllab/Co-Mixup 2a76816, README.md"
MANIFOLD = "vikasverma1077/manifold_mixup 870ef77, supervised/README.md"
RECURSIVE = "implus/RecursiveMix-pytorch ed381bf, README.md"
ALIGN = "shashankvkt/AlignMixup_CVPR22 ec01a68, cifar10_100 and tiny_imgnet"
FGVC = "3neutronstar/GuidedMixup 73494e1, FGVC/main.py and scripts"
CATCHUP = "Catch-up Mix (arXiv 2401.13193), Table 10"
ALL = ""
"""Every set-up of a board."""

SETTINGS: list[tuple[str, str, str, str, Any, str]] = [
    ("table1", ALL, "inputmixup", "alpha", 0.2, FGVC),
    ("table1", ALL, "cutmix", "alpha", 1.0, CUTMIX_CODE),
    ("table1", ALL, "cutmix", "prob", 0.5, CUTMIX_CODE),
    ("table1", ALL, "puzzlemix", "clean_lam", 0.0, PUZZLEMIX),
    ("table1", ALL, "puzzlemix", "t_size", 4, PUZZLEMIX),
    ("table1", ALL, "puzzlemix", "alpha", 1.0, PUZZLEMIX),
    ("table1", ALL, "saliencymix", "official", True, SALIENCYMIX),
    ("table1", ALL, "saliencymix", "alpha", 1.0, SALIENCYMIX),
    ("table1", ALL, "saliencymix", "prob", 0.5, SALIENCYMIX),
    ("table1", ALL, "saliencymix-per-image", "official", False, "SaliencyMix (arXiv 2006.01791), §3"),
    ("table1", ALL, "comixup", "beta", 0.32, COMIXUP),
    ("table1", ALL, "comixup", "tau", 0.83, COMIXUP),
    ("table1", ALL, "comixup", "clean_lam", 1.0, COMIXUP),
    ("table1", ALL, "manifold", "alpha", 2.0, MANIFOLD),
    ("table1", ALL, "manifold", "layers", (0, 2, 3), MANIFOLD),
    ("table1", ALL, "moex", "lam", 0.5, MOEX_CODE),
    ("table1", ALL, "moex", "prob", 0.25, MOEX_CODE),
    ("table1", ALL, "recursivemix", "omega", 0.1, RECURSIVE),
    ("table1", ALL, "alignmixup", "alpha", 2.0, ALIGN),
    ("table1", ALL, "catchup", "alpha", 1.0, CATCHUP),
    ("table1", ALL, "baseline", "recipe.epochs", 2000, ALIGN),
    ("table1", ALL, "baseline", "recipe.batch_size", 128, ALIGN),
    ("table1", ALL, "baseline", "recipe.nesterov", False, ALIGN),
    ("table2", ALL, "inputmixup", "alpha", 0.2, PUZZLEMIX_BASELINES),
    ("table2", ALL, "cutmix", "prob", 1.0, "Catch-up Mix (arXiv 2401.13193), §B.3"),
    ("table2", ALL, "puzzlemix", "clean_lam", 1.0, PUZZLEMIX),
    ("table2", ALL, "puzzlemix", "t_size", 0, PUZZLEMIX),
    ("table2", ALL, "saliencymix", "official", True, SALIENCYMIX),
    ("table2", ALL, "manifold", "alpha", 0.2, PUZZLEMIX_BASELINES),
    ("table2", ALL, "catchup", "alpha", 10.0, CATCHUP),
    ("table2", ALL, "baseline", "recipe.normalise", "dataset", ALIGN),
    ("table2", ALL, "baseline", "recipe.batch_size", 256, ALIGN),
    ("table3", ALL, "cutmix", "prob", 1.0, FGVC),
    ("table3", ALL, "saliencymix", "official", True, FGVC),
    ("table3", ALL, "snapmix", "alpha", 5.0, FGVC),
    ("table3", ALL, "snapmix", "prob", 1.0, FGVC),
    ("table3", ALL, "puzzlemix", "clean_lam", 1.0, FGVC),
    ("table3", ALL, "catchup", "alpha", 10.0, CATCHUP),
    ("table3", ALL, "baseline", "recipe.weight_decay", 5e-4, FGVC),
    ("table4", ALL, "saliencymix", "official", True, SALIENCYMIX),
    ("table4", "cifar100-10", "cutmix", "prob", 0.5, CUTMIX_CODE),
    ("table4", "tinyimagenet-10", "manifold", "alpha", 0.2, PUZZLEMIX_BASELINES),
    ("table5", ALL, "inputmixup", "alpha", 1.0, CUTMIX_IMAGENET),
    ("table5", ALL, "manifold", "alpha", 1.0, CUTMIX_IMAGENET),
    ("table5", ALL, "cutmix", "alpha", 1.0, CUTMIX_IMAGENET),
    ("table5", ALL, "cutmix", "prob", 1.0, CUTMIX_CODE),
    ("table5", ALL, "puzzlemix", "clean_lam", 0.0, PUZZLEMIX_IMAGENET),
    ("table5", ALL, "puzzlemix", "neigh", 2, PUZZLEMIX_IMAGENET),
    ("table5", ALL, "moex", "lam", 0.9, MOEX_CODE),
    ("table5", ALL, "moex", "prob", 1.0, MOEX_CODE),
    ("table5", ALL, "recursivemix", "omega", 0.5, RECURSIVE),
    ("table5", ALL, "baseline", "recipe.color_jitter", 0.4, CUTMIX_CODE),
    ("table5", ALL, "baseline", "recipe.lighting", 0.1, CUTMIX_CODE),
    *(
        ("table6", setup, row, option, value, source)
        for setup in ("cifar100-r18", "cifar100-rx50")
        for row, option, value, source in (
            ("inputmixup", "alpha", 1.0, OPENMIXUP_CIFAR),
            ("cutmix", "alpha", 0.2, OPENMIXUP_CIFAR),
            ("cutmix", "prob", 1.0, OPENMIXUP_MIX),
            ("saliencymix", "alpha", 0.2, OPENMIXUP_CIFAR),
            ("saliencymix", "prob", 1.0, OPENMIXUP_MIX),
            ("manifold", "alpha", 2.0, OPENMIXUP_CIFAR),
            ("puzzlemix", "clean_lam", 0.0, OPENMIXUP_MIX),
            ("comixup", "alpha", 2.0, OPENMIXUP_CIFAR),
            ("baseline", "recipe.normalise", "dataset", OPENMIXUP_DATA),
        )
    ),
    ("table6", ALL, "saliencymix", "official", True, SALIENCYMIX),
    ("table6", "tiny-r18", "inputmixup", "alpha", 1.0, OPENMIXUP_TINY),
    ("table6", "tiny-r18", "cutmix", "alpha", 1.0, OPENMIXUP_TINY),
    ("table6", "tiny-r18", "cutmix", "prob", 1.0, OPENMIXUP_MIX),
    ("table6", "tiny-r18", "saliencymix", "alpha", 1.0, OPENMIXUP_TINY),
    ("table6", "tiny-r18", "manifold", "alpha", 0.2, OPENMIXUP_TINY),
    ("table6", "tiny-r18", "puzzlemix", "clean_lam", 0.0, OPENMIXUP_MIX),
    ("table6", "tiny-r18", "puzzlemix", "blocks", (2, 4, 8), OPENMIXUP_R18),
    ("table6", "tiny-r18", "puzzlemix", "t_size", 0, OPENMIXUP_R18),
    ("table6", "tiny-r18", "baseline", "recipe.lr", 0.2, OPENMIXUP_R18),
    ("table6", "tiny-r18", "baseline", "recipe.normalise", "imagenet", OPENMIXUP_DATA),
    ("table6", "tiny-pr50", "baseline", "recipe.normalise", "dataset", ALIGN),
    ("table13", ALL, "stochdepth", "rate", 0.25, CUTMIX),
    ("table13", ALL, "labelsmoothing", "eps", 0.1, CUTMIX),
    ("table13", ALL, "cutout", "length", 16, CUTMIX),
    ("table13", ALL, "dropblock", "keep", 0.9, CUTMIX),
    ("table13", ALL, "dropblock", "block", 4, CUTMIX),
    ("table13", ALL, "inputmixup", "alpha", 1.0, CUTMIX),
    ("table13", ALL, "manifold", "alpha", 1.0, CUTMIX),
    ("table13", ALL, "cutmix", "alpha", 1.0, CUTMIX),
    ("table13", ALL, "cutmix", "prob", 0.5, CUTMIX_CODE),
    ("table13", ALL, "moex", "lam", 0.5, MOEX_CODE),
    ("table13", ALL, "moex", "prob", 0.25, MOEX_CODE),
    ("table13", ALL, "baseline", "recipe.lr", 0.25, CUTMIX),
    ("table13", ALL, "baseline", "recipe.batch_size", 64, CUTMIX),
]


@cache
def runs_of(table: str) -> list[tuple[str, str, Run]]:
    """Return set-up, row and run of every job of a board."""
    return [(job.setup, job.label, job.run) for job in jobs_of(boards.load(table)) if isinstance(job.run, Run)]


@pytest.mark.parametrize(("table", "setup", "row", "option", "value", "source"), SETTINGS)
def test_a_row_has_the_setting_of_its_source(
    table: str, setup: str, row: str, option: str, value: Any, source: str
) -> None:
    runs = [run for place, label, run in runs_of(table) if label == row and setup in (ALL, place)]
    assert runs, f"{table} has no row {row} in {setup or 'any set-up'}"
    owner, _, key = option.rpartition(".")
    for run in runs:
        found = getattr(run.recipe, key) if owner == "recipe" else run.method.options[key]
        assert found == value and type(found) is type(value), f"{table}, {row}: {option} is {value} in {source}"


@pytest.mark.parametrize("name", boards.available())
def test_a_board_beside_the_paper_says_in_what_it_differs(name: str) -> None:
    board = boards.load(name)
    if any(column.paper for column in board.columns):
        assert "the last epoch" in board.differs and not board.differs.endswith((".", " ")), "a clause of a sentence"
